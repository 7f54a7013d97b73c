//! The part of an adapter's change that the stored weights still have.

/// Sums for the projection of what is stored of a change onto the change: ⟨Δ, D − W⟩ / ⟨Δ, Δ⟩ with the weight W of the
/// checkpoint, the merged weight W + Δ and its stored form D.
///
/// It is 1 if the change is stored exactly, near 1 if it is among the errors of rounding but not biased by them, and 0 if the
/// rounding returns the weight from before.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct DeltaSums {
    along: f64,
    square: f64,
}

impl DeltaSums {
    /// Adds a piece: the weight before the merge, after it, and as it is stored.
    pub(super) fn add(&mut self, before: &[f32], merged: &[f32], stored: &[f32]) {
        for ((&before, &merged), &stored) in before.iter().zip(merged).zip(stored) {
            let delta = f64::from(merged) - f64::from(before);
            self.along += delta * (f64::from(stored) - f64::from(before));
            self.square += delta * delta;
        }
    }

    /// The projection; 1 for a change that is zero.
    pub(crate) fn kept(&self) -> f64 {
        if self.square > 0.0 { self.along / self.square } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_half_and_no_change() {
        let kept = |stored: [f32; 2]| {
            let mut sums = DeltaSums::default();
            sums.add(&[1.0, 2.0], &[1.5, 1.0], &stored);
            sums.kept()
        };
        assert_eq!(kept([1.5, 1.0]), 1.0);
        assert_eq!(kept([1.25, 1.5]), 0.5);
        assert_eq!(kept([1.0, 2.0]), 0.0);
        assert_eq!(kept([0.5, 3.0]), -1.0);
        assert_eq!(DeltaSums::default().kept(), 1.0);
    }
}
