//! The forward pass in libtorch's operations, after transformers' `modeling_hubert.py`
//! (<https://github.com/huggingface/transformers/blob/main/src/transformers/models/hubert/modeling_hubert.py>) and the files of
//! its relatives. It is independent of the runtime's two implementations, so that it can judge them.

use mert_arch::{Activation, Config};
use ndarray::Array3;
use tch::{TchError, Tensor};

use super::attention::{Attention, AttentionKind};
use super::feature_extractor::FeatureExtractor;
use super::position_bias::BiasTable;
use super::positional_conv::PositionalEmbedding;
use super::tensors::{Affine, BuildError, Loader, activate};

/// The encoder in libtorch. Activations are channels-last, except inside the convolutions.
pub(crate) struct Encoder {
    pre_norm: bool,
    residual_scale: f64,
    layer_norm_eps: f64,
    hidden_act: Activation,
    feature_extractor: FeatureExtractor,
    projection_norm: Option<Affine>,
    projection: Option<Affine>,
    positional_embedding: PositionalEmbedding,
    encoder_norm: Affine,
    bias_table: Option<BiasTable>,
    layers: Vec<Layer>,
}

struct Layer {
    attention: Attention,
    layer_norm: Affine,
    intermediate_dense: Affine,
    output_dense: Affine,
    final_layer_norm: Affine,
}

impl Encoder {
    /// Builds the model.
    pub(crate) fn new(config: &Config, loader: &Loader, attention: AttentionKind) -> Result<Self, BuildError> {
        let layers = (0..config.num_hidden_layers).map(|i| {
            let path = format!("encoder.layers.{i}");
            let affine = |name: &str| loader.affine(&format!("{path}.{name}"), true);
            Ok::<_, BuildError>(Layer {
                attention: Attention::load(&format!("{path}.attention"), config, attention, loader)?,
                layer_norm: affine("layer_norm")?,
                intermediate_dense: affine("feed_forward.intermediate_dense")?,
                output_dense: affine("feed_forward.output_dense")?,
                final_layer_norm: affine("final_layer_norm")?,
            })
        });
        Ok(Encoder {
            pre_norm: config.do_stable_layer_norm,
            residual_scale: config.residual_scale(),
            layer_norm_eps: config.layer_norm_eps,
            hidden_act: config.hidden_act,
            feature_extractor: FeatureExtractor::load(config, loader)?,
            projection_norm: if config.feat_proj_layer_norm {
                Some(loader.affine("feature_projection.layer_norm", true)?)
            } else {
                None
            },
            projection: if loader.weights.lacks_projection() {
                loader.identity("feature_projection.projection", config.hidden_size)?
            } else {
                Some(loader.affine("feature_projection.projection", true)?)
            },
            positional_embedding: PositionalEmbedding::load(config, loader)?,
            encoder_norm: loader.affine("encoder.layer_norm", true)?,
            bias_table: config.position_bias().map(|bias| BiasTable::load(bias, loader)).transpose()?,
            layers: layers.collect::<Result<_, _>>()?,
        })
    }

    /// Computes all hidden states of one clip, `(layers + 1, frames, width)`.
    pub(super) fn hidden_states(&self, input_values: &[f32]) -> Result<Array3<f32>, TchError> {
        let _no_grad = tch::no_grad_guard();
        let clip = Tensor::from_slice(input_values).f_view([1, -1])?;
        let stacked = Tensor::f_cat(&self.states(&clip, self.layers.len())?, 0)?;
        let (count, frames, width) = stacked.size3()?;
        let values: Vec<f32> = Vec::try_from(stacked.f_reshape([-1])?)?;
        Array3::from_shape_vec((count as usize, frames as usize, width as usize), values)
            .map_err(|e| TchError::Shape(e.to_string()))
    }

    /// Computes hidden states 0 to `last` of a batch `(batch, samples)`, each `(batch, frames, width)`.
    pub(crate) fn states(&self, input_values: &Tensor, last: usize) -> Result<Vec<Tensor>, TchError> {
        let mut x = self.first_hidden_state(input_values)?;
        let frames = x.size3()?.1;
        let bias = self.bias_table.as_ref().map(|table| table.of_frames(frames)).transpose()?;
        let mut states = vec![x.shallow_clone()];
        for layer in self.layers.iter().take(last) {
            x = self.layer(layer, &x, bias.as_ref())?;
            states.push(x.shallow_clone());
        }
        if self.pre_norm
            && states.len() > self.layers.len()
            && let Some(last) = states.last_mut()
        {
            *last = self.norm(&self.encoder_norm, last)?;
        }
        Ok(states)
    }

    fn first_hidden_state(&self, input_values: &Tensor) -> Result<Tensor, TchError> {
        let mut x = self.feature_extractor.forward(input_values)?;
        if let Some(norm) = &self.projection_norm {
            x = self.norm(norm, &x)?;
        }
        if let Some(projection) = &self.projection {
            x = projection.linear(&x)?;
        }
        let x = x.f_add(&self.positional_embedding.forward(&x)?)?;
        if self.pre_norm { Ok(x) } else { self.norm(&self.encoder_norm, &x) }
    }

    fn layer(&self, layer: &Layer, x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        if self.pre_norm {
            let x = x.f_add(&layer.attention.forward(&self.norm(&layer.layer_norm, x)?, bias)?)?;
            let inner = self.feed_forward(layer, &self.norm(&layer.final_layer_norm, &x)?)?;
            return x.f_add(&inner);
        }
        let scale = self.residual_scale;
        let scaled = |x: &Tensor| if scale == 1.0 { Ok(x.shallow_clone()) } else { x.f_mul_scalar(scale) };
        let x = scaled(x)?.f_add(&layer.attention.forward(x, bias)?)?;
        let x = self.norm(&layer.layer_norm, &x)?;
        let x = scaled(&x)?.f_add(&self.feed_forward(layer, &x)?)?;
        self.norm(&layer.final_layer_norm, &x)
    }

    fn feed_forward(&self, layer: &Layer, x: &Tensor) -> Result<Tensor, TchError> {
        layer.output_dense.linear(&activate(self.hidden_act, &layer.intermediate_dense.linear(x)?)?)
    }

    fn norm(&self, norm: &Affine, x: &Tensor) -> Result<Tensor, TchError> {
        norm.layer_norm(x, self.layer_norm_eps)
    }
}
