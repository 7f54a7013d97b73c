use candle_core::Result;
use mert_arch::Config;

use super::gemm::Epilogue;
use super::isa::Isa;
use super::layer_norm::LayerNorm;
use super::linear::Linear;
use super::lists::Lists;
use super::packed::Packed;
use super::weights::Weights;

/// From the feature extractor's width to the encoder's.
#[derive(Debug)]
pub(crate) struct FeatureProjection {
    layer_norm: Option<LayerNorm>,
    projection: Linear,
}

impl FeatureProjection {
    pub(crate) fn load(isa: Isa, weights: &Weights<'_>, config: &Config) -> Result<Self> {
        let width = config.feature_size();
        let layer_norm = config.feat_proj_layer_norm;
        Ok(FeatureProjection {
            layer_norm: layer_norm
                .then(|| weights.layer_norm("layer_norm", width, config.layer_norm_eps))
                .transpose()?,
            projection: weights.linear(isa, "projection", width, config.hidden_size)?,
        })
    }

    /// `features` `(frames, conv_dim.last)` to `out` `(frames, hidden_size)`, by way of `packed`.
    pub(crate) fn forward(
        &self,
        isa: Isa,
        features: &mut [f32],
        packed: &mut Packed,
        out: &mut [f32],
        lists: &mut Lists,
    ) {
        packed.resize(isa, features.len() / self.projection.inputs(), self.projection.inputs());
        match &self.layer_norm {
            Some(norm) => norm.forward_packed(isa, features, packed),
            None => packed.copy_from(features),
        }
        self.projection.forward(isa, packed.all(), out, Epilogue::default(), lists);
    }
}
