//! A stage of HTSAT: blocks on one grid of patches, then the merging of each four patches into one of twice the width.

use candle_core::Tensor;

use super::block::Block;
use super::layers::{LayerNorm, Linear};
use super::{DEFAULT_EPS, TOWER};
use crate::Result;
use crate::config::AudioConfig;
use crate::weights::Weights;

/// A stage.
pub(super) struct Stage {
    blocks: Vec<Block>,
    merging: Option<Merging>,
}

impl Stage {
    /// Stage `stage`; the last one does not merge patches.
    pub(super) fn new(config: &AudioConfig, stage: usize, weights: &Weights<'_>) -> Result<Self> {
        let name = format!("{TOWER}.layers.{stage}");
        let block = |index: usize| Block::new(config, stage, index, &format!("{name}.blocks.{index}"), weights);
        let blocks = (0..config.depths[stage]).map(block).collect::<Result<_>>()?;
        let is_last = stage + 1 == config.depths.len();
        let merging = (!is_last).then(|| Merging::new(config, stage, &name, weights)).transpose()?;
        Ok(Stage { blocks, merging })
    }

    /// The patches after the stage, row by row.
    pub(super) fn forward(&self, patches: &Tensor) -> Result<Tensor> {
        let mut patches = patches.clone();
        for block in &self.blocks {
            patches = block.forward(&patches)?;
        }
        match &self.merging {
            Some(merging) => merging.forward(&patches),
            None => Ok(patches),
        }
    }
}

/// The merging of squares of two by two patches.
struct Merging {
    norm: LayerNorm,
    reduction: Linear,
    side: usize,
    width: usize,
}

impl Merging {
    fn new(config: &AudioConfig, stage: usize, name: &str, weights: &Weights<'_>) -> Result<Self> {
        let width = config.width(stage);
        Ok(Merging {
            norm: LayerNorm::new(weights, &format!("{name}.downsample.norm"), 4 * width, DEFAULT_EPS)?,
            reduction: Linear::new(weights, &format!("{name}.downsample.reduction"), 4 * width, 2 * width, false)?,
            side: config.grid(stage),
            width,
        })
    }

    fn forward(&self, patches: &Tensor) -> Result<Tensor> {
        let half = self.side / 2;
        // The four patches of a square lie column by column: upper left, lower left, upper right, lower right.
        let squares = patches.reshape((half, 2, half, 2, self.width))?.permute((0, 2, 3, 1, 4))?;
        let rows = squares.reshape((half * half, 4 * self.width))?;
        self.reduction.forward(&self.norm.forward(&rows)?)
    }
}
