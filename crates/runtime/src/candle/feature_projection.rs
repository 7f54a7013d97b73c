//! The projection of the features to the encoder's width.

use candle_core::{Result, Tensor};
use candle_nn::{Linear, Module, VarBuilder};
use mert_arch::Config;

use super::ops::LayerNorm;

/// LayerNorm and a linear map from the feature extractor's width to the encoder's: transformers'
/// `HubertFeatureProjection`.
#[derive(Debug, Clone)]
pub(crate) struct FeatureProjection {
    layer_norm: Option<LayerNorm>,
    projection: Linear,
}

impl FeatureProjection {
    pub(crate) fn load(vb: VarBuilder, config: &Config) -> Result<Self> {
        let width = config.feature_size();
        let layer_norm = if config.feat_proj_layer_norm {
            let (weight, bias) = (vb.get(width, "layer_norm.weight")?, vb.get(width, "layer_norm.bias")?);
            Some(LayerNorm::new(weight, bias, config.layer_norm_eps)?)
        } else {
            None
        };
        let projection = candle_nn::linear(width, config.hidden_size, vb.pp("projection"))?;
        Ok(FeatureProjection { layer_norm, projection })
    }

    /// Maps `(batch, frames, conv_dim.last)` to `(batch, frames, hidden_size)`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match &self.layer_norm {
            Some(norm) => self.projection.forward(&norm.forward(x)?),
            None => self.projection.forward(x),
        }
    }
}
