//! The projection of the features to the encoder's width.

use candle_core::Result;
use mert_arch::Config;

use super::super::kernels::output::Epilogue;
use super::super::kernels::pack::pack_tile;
use super::super::memory::HiddenState;
use super::context::Context;
use super::layer_norm::LayerNorm;
use super::linear::Linear;
use super::weight_loader::WeightLoader;

/// LayerNorm and a linear map from the feature extractor's width to the encoder's: transformers'
/// `HubertFeatureProjection`.
#[derive(Debug)]
pub(crate) struct FeatureProjection {
    layer_norm: Option<LayerNorm>,
    projection: Linear,
}

impl FeatureProjection {
    pub(crate) fn load(weights: &WeightLoader<'_>, config: &Config) -> Result<Self> {
        let width = config.feature_size();
        let layer_norm = config.feat_proj_layer_norm;
        Ok(FeatureProjection {
            layer_norm: layer_norm
                .then(|| weights.layer_norm("layer_norm", width, config.layer_norm_eps))
                .transpose()?,
            projection: weights.linear("projection", width, config.hidden_size)?,
        })
    }

    /// Maps `features` `(clips · frames, conv_dim.last)`, which are normalised in place, to the rows of `hidden_state`.
    pub(crate) fn forward(&self, context: &mut Context<'_>, features: &mut [f32], hidden_state: &mut HiddenState) {
        let executor = &mut context.executor;
        let (out, packed) = hidden_state.parts();
        match &self.layer_norm {
            Some(norm) => norm.forward_packed(executor, features, packed, &self.projection),
            None => {
                let (isa, width) = (executor.arithmetic.isa, self.projection.inputs());
                self.projection.resize_input(executor.arithmetic, packed, features.len() / width);
                packed.fill_from(features, |x, tile| pack_tile(isa, tile, x, width));
            }
        }
        self.projection.forward(executor, packed.all(), out, Epilogue::default());
    }
}
