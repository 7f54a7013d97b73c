//! SEANet's encoder: from rows of samples to a vector for each frame.

use candle_core::Tensor;
use mert_arch::EncodecConfig;

use crate::Result;
use crate::conv::{Conv1d, Downsample};
use crate::elu::elu;
use crate::lstm::Lstm;
use crate::residual::ResidualBlock;
use crate::segments::{Seen, Segments};
use crate::weights::Weights;

/// The encoder.
pub(crate) struct Encoder {
    first: Conv1d,
    stages: Vec<Stage>,
    lstm: Lstm,
    last: Conv1d,
    segments: Segments,
    hop: usize,
}

/// Residual blocks, and a convolution that lowers the rate.
struct Stage {
    blocks: Vec<ResidualBlock>,
    down: Downsample,
}

impl Encoder {
    pub(crate) fn new(config: &EncodecConfig, weights: &Weights<'_>) -> Result<Self> {
        let first = weights.conv1d("encoder.layers.0", 1)?;
        let mut layer = 1;
        let mut stages = Vec::with_capacity(config.upsampling_ratios.len());
        let mut seen = Seen::default();
        seen.convolution(config.kernel_size);
        for &ratio in config.upsampling_ratios.iter().rev() {
            let blocks = (0..config.num_residual_layers)
                .map(|number| {
                    ResidualBlock::new(config, weights, &format!("encoder.layers.{}", layer + number), number)
                })
                .collect::<Result<_>>()?;
            seen.residual_blocks(config);
            layer += config.num_residual_layers + 1;
            stages.push(Stage { blocks, down: weights.downsample(&format!("encoder.layers.{layer}"))? });
            seen.change_of_rate(ratio);
            layer += 1;
        }
        let lstm = weights.lstm(config, &format!("encoder.layers.{layer}"))?;
        let last = weights.conv1d(&format!("encoder.layers.{}", layer + 2), 1)?;
        let hop = config.hop_length();
        Ok(Encoder { first, stages, lstm, last, segments: seen.segments(hop), hop })
    }

    /// The vectors of all frames `(frames, hidden_size)` of samples `(samples, 1)`.
    pub(crate) fn forward(&self, samples: &Tensor) -> Result<Tensor> {
        let length = samples.dim(0)?;
        let frames = length.div_ceil(self.hop);
        let rows = self.segments.map(frames, samples.device(), |segment| {
            let start = segment.from * self.hop;
            let end = (segment.to * self.hop).min(length);
            let rows = self.convolutions(&samples.narrow(0, start, end - start)?)?;
            Ok(rows.narrow(0, segment.skip, segment.keep)?)
        })?;
        let rows = elu(&self.lstm.forward(&rows)?)?;
        self.last.forward(&rows)
    }

    fn convolutions(&self, samples: &Tensor) -> Result<Tensor> {
        let mut rows = self.first.forward(samples)?;
        for stage in &self.stages {
            for block in &stage.blocks {
                rows = block.forward(&rows)?;
            }
            rows = stage.down.forward(&elu(&rows)?)?;
        }
        Ok(rows)
    }
}
