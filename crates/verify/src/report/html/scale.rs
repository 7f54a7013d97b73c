//! Logarithmic scales for errors, which may be zero, infinite or not a number: these have a place of their own below and above
//! the powers of ten.

/// The share of the height that zero, or what is no finite number, takes.
const EDGE: f64 = 0.2;

/// The most labels of powers of ten.
const MAX_LABELS: i32 = 6;

/// A scale from the top (0) to the bottom (1) of a plot.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LogScale {
    /// The powers of ten at the bottom and at the top.
    powers: (i32, i32),
    /// Whether zero has a place.
    zero: bool,
    /// Whether infinity and NaN have a place.
    not_finite: bool,
}

impl LogScale {
    /// A scale on which all `values` and `limits` have a place. Negative values count as zero: they are rounding errors of a
    /// distance.
    pub(super) fn of(values: impl IntoIterator<Item = f64>, limits: &[f64]) -> Self {
        let (mut least, mut largest) = (f64::INFINITY, 0f64);
        let (mut zero, mut not_finite) = (false, false);
        let mut include = |value: f64| {
            if value > 0.0 && value.is_finite() {
                (least, largest) = (least.min(value), largest.max(value));
            }
        };
        for value in values {
            zero |= value <= 0.0;
            not_finite |= !value.is_finite() && value != f64::NEG_INFINITY;
            include(value);
        }
        limits.iter().copied().for_each(&mut include);
        if largest == 0.0 {
            (least, largest) = (1e-12, 1.0);
        }
        // A limit or a value at the very edge would be hidden by the frame.
        let (low, high) = ((least.log10() - 0.2).floor() as i32, (largest.log10() + 0.2).ceil() as i32);
        LogScale { powers: (low, high.max(low + 1)), zero, not_finite }
    }

    /// The place of a value.
    pub(super) fn place(&self, value: f64) -> f64 {
        let (top, bottom) = self.edges();
        if value.is_nan() || value == f64::INFINITY {
            return EDGE / 2.0;
        }
        if value <= 0.0 {
            return 1.0 - EDGE / 2.0;
        }
        let (low, high) = (f64::from(self.powers.0), f64::from(self.powers.1));
        let part = (value.log10() - low) / (high - low);
        (bottom - part * (bottom - top)).clamp(top, bottom)
    }

    /// The places with their labels, from below.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let (low, high) = self.powers;
        let step = ((high - low) as f64 / f64::from(MAX_LABELS)).ceil().max(1.0) as i32;
        let mut ticks = Vec::new();
        if self.zero {
            ticks.push((self.place(0.0), "0".to_string()));
        }
        ticks.extend(
            (low..=high).step_by(step as usize).map(|power| (self.place(10f64.powi(power)), format!("1e{power}"))),
        );
        if self.not_finite {
            ticks.push((self.place(f64::NAN), "NaN, ∞".to_string()));
        }
        ticks
    }

    /// The places of the largest and of the smallest power.
    fn edges(&self) -> (f64, f64) {
        (if self.not_finite { EDGE } else { 0.0 }, if self.zero { 1.0 - EDGE } else { 1.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_ten_enclose_values_and_limits() {
        let scale = LogScale::of([3e-7, 2e-4], &[1e-9]);
        assert_eq!(scale, LogScale { powers: (-10, -3), zero: false, not_finite: false });
        assert_eq!((scale.place(1e-3), scale.place(1e-10)), (0.0, 1.0));
        assert!((scale.place(10f64.powf(-6.5)) - 0.5).abs() < 1e-12);
        let labels: Vec<String> = scale.ticks().into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["1e-10", "1e-8", "1e-6", "1e-4"]);
    }

    #[test]
    fn zero_and_what_is_not_finite_have_places_of_their_own() {
        let scale = LogScale::of([0.0, -1e-16, f64::NAN, f64::INFINITY, 1e-3], &[]);
        assert!(scale.zero && scale.not_finite);
        assert_eq!(scale.place(0.0), scale.place(-1e-16));
        assert_eq!(scale.place(f64::NAN), scale.place(f64::INFINITY));
        assert!(scale.place(f64::NAN) < scale.place(1e-3) && scale.place(1e-3) < scale.place(0.0));
        // Smaller than all that the scale has, but not zero.
        assert!(scale.place(1e-300) < scale.place(0.0));
        assert_eq!(scale.ticks().first().unwrap().1, "0");
        assert_eq!(scale.ticks().last().unwrap().1, "NaN, ∞");
    }

    #[test]
    fn a_scale_of_nothing_and_of_everything_has_few_ticks() {
        assert!(!LogScale::of([], &[]).ticks().is_empty());
        assert!(LogScale::of([0.0], &[0.0]).ticks().len() > 2);
        let wide = LogScale::of([f64::MIN_POSITIVE, f64::MAX], &[]);
        assert!(wide.ticks().len() <= 8, "{:?}", wide.ticks());
        let places = wide.ticks().into_iter().map(|(place, _)| place);
        assert!(places.is_sorted_by(|a, b| a > b));
        assert!(LogScale::of([5e-324], &[]).ticks().iter().all(|(place, _)| (0.0..=1.0).contains(place)));
    }
}
