//! The part of an adapter's changes that an output still has, for the result and for a floor.

use serde::Serialize;

use crate::{ConvertError, Result};

/// The part of an adapter's change of one layer that the stored weight has: its projection onto the change, 1 for all of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerDelta {
    /// The weight's name in the output.
    pub name: String,
    /// The projection ⟨Δ, D − W⟩ / ⟨Δ, Δ⟩ of the checkpoint's weight W, the change Δ and the stored weight D.
    pub kept: f64,
}

/// The part of an adapter's changes that an output has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeltaKept {
    /// The smallest part of all layers.
    pub minimum: f64,
    /// The median over the layers.
    pub median: f64,
    /// The layers, the worst first.
    pub layers: Vec<LayerDelta>,
}

impl DeltaKept {
    /// The summary of the layers' parts; `None` without any.
    pub(super) fn new(mut layers: Vec<LayerDelta>) -> Option<Self> {
        layers.sort_by(|a, b| a.kept.total_cmp(&b.kept).then_with(|| a.name.cmp(&b.name)));
        let minimum = layers.first()?.kept;
        let median = (layers[(layers.len() - 1) / 2].kept + layers[layers.len() / 2].kept) / 2.0;
        Some(DeltaKept { minimum, median, layers })
    }

    /// Refuses changes of which a layer kept less than `floor` of its change.
    ///
    /// # Errors
    /// [`ConvertError::DeltaLost`].
    fn check(&self, floor: f64) -> Result<()> {
        let below = self.layers.iter().filter(|layer| layer.kept < floor).count();
        match self.layers.first() {
            Some(LayerDelta { name, kept }) if below > 0 => {
                let (name, kept, layers) = (name.clone(), *kept, self.layers.len());
                Err(ConvertError::DeltaLost { name, kept, floor, below, layers })
            }
            _ => Ok(()),
        }
    }
}

/// Refuses an output that keeps less of an adapter's changes than a plan requires.
///
/// # Errors
/// [`ConvertError::DeltaLost`].
pub(crate) fn check_delta_kept(min_delta_kept: Option<f64>, delta_kept: Option<&DeltaKept>) -> Result<()> {
    match (min_delta_kept, delta_kept) {
        (Some(floor), Some(delta_kept)) => delta_kept.check(floor),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(values: &[f64]) -> Option<DeltaKept> {
        DeltaKept::new(values.iter().map(|&kept| LayerDelta { name: format!("l{kept}"), kept }).collect())
    }

    #[test]
    fn minimum_median_and_floor() {
        assert_eq!(kept(&[]), None);
        let three = kept(&[1.0, 0.25, 0.75]).unwrap();
        assert_eq!((three.minimum, three.median, three.layers[0].name.as_str()), (0.25, 0.75, "l0.25"));
        assert_eq!(kept(&[1.0, 0.5]).unwrap().median, 0.75);
        three.check(0.25).unwrap();
        let error = three.check(0.8).unwrap_err();
        assert!(matches!(&error, ConvertError::DeltaLost { below: 2, layers: 3, .. }), "{error}");
        assert!(error.to_string().contains("`l0.25`"), "{error}");
    }
}
