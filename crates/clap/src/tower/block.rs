//! A block of HTSAT: attention in windows and a hidden layer, each after a layer norm and beside a residual.

use candle_core::{Device, Tensor};

use super::attention::Attention;
use super::layers::{LayerNorm, Linear};
use super::windows::Windows;
use crate::Result;
use crate::config::AudioConfig;
use crate::weights::Weights;

/// A block.
pub(super) struct Block {
    before: LayerNorm,
    after: LayerNorm,
    attention: Attention,
    intermediate: Linear,
    output: Linear,
    /// The patches in the order of windows, and back.
    order: Tensor,
    inverse: Tensor,
}

impl Block {
    /// Block `index` of a stage; every second one has shifted windows.
    pub(super) fn new(
        config: &AudioConfig,
        stage: usize,
        index: usize,
        name: &str,
        weights: &Weights<'_>,
    ) -> Result<Self> {
        let (width, hidden, eps) = (config.width(stage), config.hidden_width(stage), config.layer_norm_eps);
        let windows = Windows::new(config.grid(stage), config.window_size, index % 2 == 1);
        let indices = |patches: Vec<u32>| Tensor::new(patches, &Device::Cpu);
        Ok(Block {
            before: LayerNorm::new(weights, &format!("{name}.layernorm_before"), width, eps)?,
            after: LayerNorm::new(weights, &format!("{name}.layernorm_after"), width, eps)?,
            attention: Attention::new(config, stage, &windows, &format!("{name}.attention"), weights)?,
            intermediate: Linear::new(weights, &format!("{name}.intermediate.dense"), width, hidden, true)?,
            output: Linear::new(weights, &format!("{name}.output.dense"), hidden, width, true)?,
            order: indices(windows.order())?,
            inverse: indices(windows.inverse())?,
        })
    }

    /// The outputs of the patches of a grid, row by row.
    pub(super) fn forward(&self, patches: &Tensor) -> Result<Tensor> {
        let in_windows = self.before.forward(patches)?.index_select(&self.order, 0)?;
        let attended = self.attention.forward(&in_windows)?.index_select(&self.inverse, 0)?;
        let patches = (patches + attended)?;
        let hidden = self.intermediate.forward(&self.after.forward(&patches)?)?.gelu_erf()?;
        Ok((&patches + self.output.forward(&hidden)?)?)
    }
}
