//! Weaknesses of a reference: defects of a model that its clip cannot reveal. Reports name them beside the verdict.

use mert_arch::Config;

use super::Reference;
use crate::{Result, VerifyError};

impl Reference {
    /// Describes the weaknesses of this reference, one sentence each. `normalised` says whether clips are normalised
    /// before they enter the model.
    ///
    /// # Errors
    /// [`VerifyError::NothingToCompare`] for a clip of one frame: it attends to itself only, whatever the
    /// queries and keys are, so that a model with broken attention would pass.
    pub(crate) fn weaknesses(&self, config: &Config, normalised: bool) -> Result<Vec<String>> {
        let mut notes = Vec::new();
        let (name, samples) = (&self.name, self.input_values.len());
        let frames = config.frames(samples).unwrap_or(0);
        if frames == 1 {
            return Err(VerifyError::NothingToCompare(format!(
                "{name}: its {samples} samples give one frame, and attention over one frame cannot be judged; use at least \
                 one second"
            )));
        }
        // Tap k of the positional convolution meets the frame k − kernel / 2 away.
        let needed = config.num_conv_pos_embeddings / 2 + 1;
        if frames < needed {
            notes.push(format!(
                "{name}: its {frames} frames do not reach every tap of the positional convolution; use at least \
                 {needed} frames ({} samples)",
                (needed - 1) * config.hop() + config.receptive_field()
            ));
        }
        let n = samples as f64;
        let values = || self.input_values.iter().map(|&x| f64::from(x));
        let mean = values().sum::<f64>() / n;
        let variance = values().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        if normalised && (mean.abs() > 0.05 || !(0.8..=1.25).contains(&variance)) {
            notes.push(format!(
                "{name}: input_values has mean {mean:.2e} and variance {variance:.2e}, where the model's feature \
                 extractor gives 0 and 1: was the clip normalised?"
            ));
        }
        Ok(notes)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    #[test]
    fn a_clip_is_expected_to_be_normalised_only_where_the_model_requires_it() {
        let quiet = Reference {
            name: "quiet".into(),
            input_values: vec![0.01; 48_000],
            hidden_states: Array3::zeros((13, 149, 768)),
            rounded: Default::default(),
            quantized: Default::default(),
        };
        let config = Config::mert_v1_95m();
        assert!(quiet.weaknesses(&config, true).unwrap()[0].contains("was the clip normalised?"));
        assert_eq!(quiet.weaknesses(&config, false).unwrap(), Vec::<String>::new());
    }
}
