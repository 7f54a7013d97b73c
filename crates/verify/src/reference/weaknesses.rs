use mert_spec::Config;

use super::Reference;
use crate::{Result, VerifyError};

impl Reference {
    /// What this reference's clip cannot show about a model, one sentence each.
    ///
    /// # Errors
    /// [`VerifyError::NothingToCompare`] for a clip of one frame: it attends to itself only, whatever the
    /// queries and keys are, so that a model with broken attention would pass.
    pub fn weaknesses(&self, config: &Config) -> Result<Vec<String>> {
        let mut notes = Vec::new();
        let (name, samples) = (&self.name, self.input_values.len());
        let frames = config.frames(samples).unwrap_or(0);
        if frames == 1 {
            return Err(VerifyError::NothingToCompare(format!(
                "{name}: its {samples} samples give one frame, over which attention cannot be judged; take at least a \
                 second"
            )));
        }
        // Tap k of the positional convolution meets the frame k − kernel / 2 away.
        let needed = config.num_conv_pos_embeddings / 2 + 1;
        if frames < needed {
            notes.push(format!(
                "{name}: its {frames} frames do not reach every tap of the positional convolution; take at least \
                 {needed} frames ({} samples)",
                (needed - 1) * config.hop() + config.receptive_field()
            ));
        }
        let n = samples as f64;
        let values = || self.input_values.iter().map(|&x| f64::from(x));
        let mean = values().sum::<f64>() / n;
        let variance = values().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        if mean.abs() > 0.05 || !(0.8..=1.25).contains(&variance) {
            notes.push(format!(
                "{name}: input_values has mean {mean:.2e} and variance {variance:.2e}, where the model's feature \
                 extractor gives 0 and 1: was the clip normalised?"
            ));
        }
        Ok(notes)
    }
}
