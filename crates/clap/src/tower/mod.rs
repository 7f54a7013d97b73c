//! HTSAT, a Swin transformer on a folded spectrogram
//! ([Chen et al. 2022](https://arxiv.org/abs/2202.00874)), as transformers'
//! [`ClapAudioEncoder`](https://github.com/huggingface/transformers/blob/main/src/transformers/models/clap/modeling_clap.py)
//! computes it, and the projection.
//!
//! - `image.rs`: batch norm, stretching in time, folding, patches.
//! - `layers.rs`: linear layers and layer norms.
//! - `windows.rs`: the order of patches in (shifted) windows, positions and masks.
//! - `attention.rs`, `block.rs`, `stage.rs`: attention in windows, a block, blocks and the merging of patches.

mod attention;
mod block;
mod image;
mod layers;
mod stage;
mod windows;

use candle_core::Tensor;

use self::image::Image;
use self::layers::{LayerNorm, Linear};
use self::stage::Stage;
use crate::Result;
use crate::config::AudioConfig;
use crate::weights::Weights;

/// The prefix of the tower's tensors.
const TOWER: &str = "audio_model.audio_encoder";

/// The epsilon of the layer norms outside the blocks, PyTorch's default.
const DEFAULT_EPS: f64 = 1e-5;

/// The audio tower with its projection.
pub(crate) struct AudioTower {
    image: Image,
    patches: Linear,
    patch_norm: Option<LayerNorm>,
    stages: Vec<Stage>,
    norm: LayerNorm,
    projection: [Linear; 2],
}

impl AudioTower {
    /// The tower of a configuration, with weights in f32.
    pub(crate) fn new(config: &AudioConfig, weights: &Weights<'_>) -> Result<Self> {
        let (width, side) = (config.patch_embeds_hidden_size, config.patch_size());
        let patches = Linear::of_convolution(weights, &format!("{TOWER}.patch_embed.proj"), side, width)?;
        let patch_norm = config
            .enable_patch_layer_norm
            .then(|| LayerNorm::new(weights, &format!("{TOWER}.patch_embed.norm"), width, DEFAULT_EPS))
            .transpose()?;
        let stages = (0..config.depths.len()).map(|stage| Stage::new(config, stage, weights)).collect::<Result<_>>()?;
        let (hidden, projected) = (config.hidden_size, config.projection_dim);
        Ok(AudioTower {
            image: Image::new(config, weights)?,
            patches,
            patch_norm,
            stages,
            norm: LayerNorm::new(weights, &format!("{TOWER}.norm"), hidden, DEFAULT_EPS)?,
            projection: [
                Linear::new(weights, "audio_projection.linear1", hidden, projected, true)?,
                Linear::new(weights, "audio_projection.linear2", projected, projected, true)?,
            ],
        })
    }

    /// The pooled vector of a spectrogram of `frames` frames: the mean over the patches of the last stage.
    pub(crate) fn pooled(&self, mel: &[f32]) -> Result<Tensor> {
        let mut hidden = self.patches.forward(&self.image.patches(mel)?)?;
        if let Some(norm) = &self.patch_norm {
            hidden = norm.forward(&hidden)?;
        }
        for stage in &self.stages {
            hidden = stage.forward(&hidden)?;
        }
        Ok(self.norm.forward(&hidden)?.mean_keepdim(0)?)
    }

    /// The projection of a pooled vector, before it is normalised.
    pub(crate) fn project(&self, pooled: &Tensor) -> Result<Tensor> {
        let [first, second] = &self.projection;
        second.forward(&first.forward(pooled)?.relu()?)
    }
}
