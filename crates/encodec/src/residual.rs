//! SEANet's residual block.

use candle_core::Tensor;
use mert_arch::EncodecConfig;

use crate::Result;
use crate::conv::Conv1d;
use crate::elu::elu;
use crate::weights::Weights;

/// `shortcut(x) + conv(elu(conv(elu(x))))`, where the shortcut is the identity or a convolution.
pub(crate) struct ResidualBlock {
    first: Conv1d,
    second: Conv1d,
    shortcut: Option<Conv1d>,
}

impl ResidualBlock {
    /// The block number `number` beside a change of the rate.
    pub(crate) fn new(config: &EncodecConfig, weights: &Weights<'_>, path: &str, number: usize) -> Result<Self> {
        let shortcut = format!("{path}.shortcut");
        Ok(ResidualBlock {
            first: weights.conv1d(&format!("{path}.block.1"), config.dilation(number))?,
            second: weights.conv1d(&format!("{path}.block.3"), 1)?,
            shortcut: config.use_conv_shortcut.then(|| weights.conv1d(&shortcut, 1)).transpose()?,
        })
    }

    pub(crate) fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        let within = self.first.forward(&elu(rows)?)?;
        let within = self.second.forward(&elu(&within)?)?;
        match &self.shortcut {
            Some(shortcut) => Ok((shortcut.forward(rows)? + within)?),
            None => Ok((rows + within)?),
        }
    }
}
