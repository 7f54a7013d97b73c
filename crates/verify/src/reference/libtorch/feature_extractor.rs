//! The feature extractor: convolutions over samples, and their norms.

use mert_arch::{Activation, Config, FeatureExtractorNorm};
use tch::{TchError, Tensor};

use super::tensors::{Affine, BuildError, Loader, activate};

pub(super) struct FeatureExtractor {
    layers: Vec<ConvLayer>,
    norm: FeatureExtractorNorm,
    activation: Activation,
}

struct ConvLayer {
    conv: Affine,
    norm: Option<Affine>,
    stride: i64,
}

impl FeatureExtractor {
    pub(super) fn load(config: &Config, loader: &Loader) -> Result<Self, BuildError> {
        let layers = (0..config.conv_dim.len()).map(|i| {
            let path = format!("feature_extractor.conv_layers.{i}");
            let normalised = i == 0 || config.feat_extract_norm == FeatureExtractorNorm::Layer;
            Ok::<_, BuildError>(ConvLayer {
                conv: loader.affine(&format!("{path}.conv"), config.conv_bias)?,
                norm: if normalised { Some(loader.affine(&format!("{path}.layer_norm"), true)?) } else { None },
                stride: config.conv_stride[i] as i64,
            })
        });
        Ok(FeatureExtractor {
            layers: layers.collect::<Result<_, _>>()?,
            norm: config.feat_extract_norm,
            activation: config.feat_extract_activation,
        })
    }

    /// Computes the features `(batch, frames, channels)` of samples `(batch, samples)`.
    pub(super) fn forward(&self, input_values: &Tensor) -> Result<Tensor, TchError> {
        let mut x = input_values.f_unsqueeze(1)?;
        for layer in &self.layers {
            x = x.f_conv1d(&layer.conv.weight, layer.conv.bias.as_ref(), layer.stride, 0, 1, 1)?;
            if let Some(norm) = &layer.norm {
                x = self.normalise(norm, &x)?;
            }
            x = activate(self.activation, &x)?;
        }
        x.f_transpose(1, 2)
    }

    fn normalise(&self, norm: &Affine, x: &Tensor) -> Result<Tensor, TchError> {
        let eps = Config::FEATURE_EXTRACTOR_NORM_EPS;
        match self.norm {
            FeatureExtractorNorm::Group => {
                x.f_group_norm(norm.weight.size1()?, Some(&norm.weight), norm.bias.as_ref(), eps, false)
            }
            FeatureExtractorNorm::Layer => norm.layer_norm(&x.f_transpose(1, 2)?, eps)?.f_transpose(1, 2),
        }
    }
}
