use candle_core::Result;
use mert_spec::Config;

use super::gemm::{self, Epilogue, Rows};
use super::isa::Isa;
use super::layer_norm::LayerNorm;
use super::linear::Linear;
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

    /// `features` `(frames, conv_dim.last)`, which are normalised in place, to `out` `(frames, hidden_size)`.
    pub(crate) fn forward(&self, isa: Isa, features: &mut [f32], out: &mut [f32]) {
        if let Some(norm) = &self.layer_norm {
            norm.forward(isa, features);
        }
        let x = Rows { values: features, row_stride: self.projection.inputs() };
        gemm::linear(isa, x, &self.projection, out, Epilogue::default());
    }
}
