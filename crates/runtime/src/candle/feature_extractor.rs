//! The strided convolutions that turn samples into frames.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use mert_arch::{Activation, Config, FeatureExtractorNorm};

use super::ops::{Conv1d, GroupNorm, LayerNorm, activate};

/// The convolutions, each with its norm and activation: transformers' `HubertFeatureEncoder`.
#[derive(Debug, Clone)]
pub(crate) struct FeatureExtractor {
    conv_layers: Vec<ConvLayer>,
    activation: Activation,
}

#[derive(Debug, Clone)]
struct ConvLayer {
    conv: Conv1d,
    norm: Norm,
}

#[derive(Debug, Clone)]
enum Norm {
    None,
    Group(GroupNorm),
    Layer(LayerNorm),
}

impl FeatureExtractor {
    pub(crate) fn load(vb: VarBuilder, config: &Config) -> Result<Self> {
        let vb = vb.pp("conv_layers");
        let conv_layers = (0..config.conv_dim.len()).map(|i| ConvLayer::load(vb.pp(i), config, i));
        Ok(FeatureExtractor {
            conv_layers: conv_layers.collect::<Result<_>>()?,
            activation: config.feat_extract_activation,
        })
    }

    /// Maps `(batch, samples)` to `(batch, frames, conv_dim.last)`.
    pub(crate) fn forward(&self, input_values: &Tensor) -> Result<Tensor> {
        let mut x = input_values.unsqueeze(2)?;
        for (i, layer) in self.conv_layers.iter().enumerate() {
            let _span = tracing::trace_span!("conv_layer", i).entered();
            x = layer.forward(&x, self.activation)?;
        }
        Ok(x)
    }
}

impl ConvLayer {
    fn load(vb: VarBuilder, config: &Config, i: usize) -> Result<Self> {
        let input = if i == 0 { 1 } else { config.conv_dim[i - 1] };
        let (output, kernel) = (config.conv_dim[i], config.conv_kernel[i]);
        let weight = vb.get((output, input, kernel), "conv.weight")?;
        let bias = if config.conv_bias { Some(vb.get(output, "conv.bias")?) } else { None };
        let affine =
            || Ok::<_, candle_core::Error>((vb.get(output, "layer_norm.weight")?, vb.get(output, "layer_norm.bias")?));
        let eps = Config::FEATURE_EXTRACTOR_NORM_EPS;
        let norm = match config.feat_extract_norm {
            FeatureExtractorNorm::Layer => {
                let (weight, bias) = affine()?;
                Norm::Layer(LayerNorm::new(weight, bias, eps)?)
            }
            FeatureExtractorNorm::Group if i == 0 => {
                let (weight, bias) = affine()?;
                Norm::Group(GroupNorm::new(weight, bias, eps)?)
            }
            FeatureExtractorNorm::Group => Norm::None,
        };
        Ok(ConvLayer { conv: Conv1d::new(weight, bias, config.conv_stride[i], 0, 1)?, norm })
    }

    fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        let x = self.conv.forward(x)?;
        let x = match &self.norm {
            Norm::None => x,
            Norm::Group(norm) => norm.forward(&x)?,
            Norm::Layer(norm) => norm.forward(&x)?,
        };
        activate(activation, &x)
    }
}
