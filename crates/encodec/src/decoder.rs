//! SEANet's decoder: from a vector for each frame to rows of samples.

use candle_core::Tensor;
use mert_arch::EncodecConfig;

use crate::Result;
use crate::conv::{Conv1d, Upsample};
use crate::elu::elu;
use crate::lstm::Lstm;
use crate::residual::ResidualBlock;
use crate::segments::{Seen, Segments};
use crate::weights::Weights;

/// The decoder.
pub(crate) struct Decoder {
    first: Conv1d,
    lstm: Lstm,
    stages: Vec<Stage>,
    last: Conv1d,
    segments: Segments,
    hop: usize,
}

/// A convolution that raises the rate, and residual blocks.
struct Stage {
    up: Upsample,
    blocks: Vec<ResidualBlock>,
}

impl Decoder {
    pub(crate) fn new(config: &EncodecConfig, weights: &Weights<'_>) -> Result<Self> {
        let first = weights.conv1d("decoder.layers.0", 1)?;
        let lstm = weights.lstm(config, "decoder.layers.1")?;
        let mut layer = 3;
        let mut stages = Vec::with_capacity(config.upsampling_ratios.len());
        let mut seen = Seen::default();
        seen.convolution(config.last_kernel_size);
        for _ in &config.upsampling_ratios {
            let up = weights.upsample(&format!("decoder.layers.{layer}"))?;
            let blocks = (0..config.num_residual_layers)
                .map(|number| {
                    ResidualBlock::new(config, weights, &format!("decoder.layers.{}", layer + 1 + number), number)
                })
                .collect::<Result<_>>()?;
            stages.push(Stage { up, blocks });
            layer += config.num_residual_layers + 2;
        }
        // From the samples back to the frames, as they are seen.
        for &ratio in config.upsampling_ratios.iter().rev() {
            seen.residual_blocks(config);
            seen.change_of_rate(ratio);
        }
        let last = weights.conv1d(&format!("decoder.layers.{layer}"), 1)?;
        let hop = config.hop_length();
        Ok(Decoder { first, lstm, stages, last, segments: seen.segments(hop), hop })
    }

    /// The samples `(frames · hop, 1)` of vectors `(frames, hidden_size)`.
    pub(crate) fn forward(&self, vectors: &Tensor) -> Result<Tensor> {
        let frames = vectors.dim(0)?;
        let rows = self.lstm.forward(&self.first.forward(vectors)?)?;
        self.segments.map(frames, vectors.device(), |segment| {
            let rows = self.convolutions(&rows.narrow(0, segment.from, segment.to - segment.from)?)?;
            Ok(rows.narrow(0, segment.skip * self.hop, segment.keep * self.hop)?)
        })
    }

    fn convolutions(&self, rows: &Tensor) -> Result<Tensor> {
        let mut rows = rows.clone();
        for stage in &self.stages {
            rows = stage.up.forward(&elu(&rows)?)?;
            for block in &stage.blocks {
                rows = block.forward(&rows)?;
            }
        }
        self.last.forward(&elu(&rows)?)
    }
}
