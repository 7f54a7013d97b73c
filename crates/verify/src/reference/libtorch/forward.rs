//! The HuBERT forward pass in libtorch's operations, after transformers' `modeling_hubert.py`
//! (<https://github.com/huggingface/transformers/blob/main/src/transformers/models/hubert/modeling_hubert.py>). It is
//! independent of the runtime's two implementations, so that it can judge them.

use std::path::Path;

use mert_arch::{Activation, Config, Dtype, FeatureExtractorNorm, weight_norm};
use ndarray::Array3;
use tch::{Kind, TchError, Tensor};

use super::weights::Weights;
use crate::VerifyError;

/// The HuBERT encoder in libtorch. Activations are channels-last, except inside the convolutions.
pub(crate) struct Hubert {
    config: Config,
    attention: Attention,
    conv_layers: Vec<ConvLayer>,
    projection_norm: Option<Affine>,
    projection: Affine,
    pos_conv: Affine,
    encoder_norm: Affine,
    layers: Vec<Layer>,
}

/// The implementation of attention, named as transformers' `attn_implementation`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attention {
    /// Attention operation by operation, as it is defined.
    Eager,
    /// libtorch's `scaled_dot_product_attention`, unless the model relaxes its attention.
    Sdpa,
}

/// A weight and its optional bias.
struct Affine {
    weight: Tensor,
    bias: Option<Tensor>,
}

struct ConvLayer {
    conv: Affine,
    norm: Option<Affine>,
    stride: i64,
}

struct Layer {
    q_proj: Affine,
    k_proj: Affine,
    v_proj: Affine,
    out_proj: Affine,
    layer_norm: Affine,
    intermediate_dense: Affine,
    output_dense: Affine,
    final_layer_norm: Affine,
}

/// The reason why the model could not be built from a checkpoint's tensors.
pub(crate) enum BuildError {
    Missing(String),
    Torch(TchError),
}

impl BuildError {
    pub(crate) fn into_verify_error(self, path: &Path) -> VerifyError {
        match self {
            BuildError::Missing(name) => {
                VerifyError::Checkpoint { path: path.to_path_buf(), reason: format!("tensor `{name}` is missing") }
            }
            BuildError::Torch(error) => VerifyError::Libtorch(error.to_string()),
        }
    }
}

impl From<TchError> for BuildError {
    fn from(error: TchError) -> Self {
        BuildError::Torch(error)
    }
}

impl Hubert {
    /// Builds the model from weights that are rounded to `dtype` and widened again.
    pub(crate) fn new(
        config: &Config,
        weights: &Weights,
        dtype: Dtype,
        attention: Attention,
    ) -> Result<Self, BuildError> {
        let loader = Loader { weights, dtype };
        let conv_layers = (0..config.conv_dim.len()).map(|i| {
            let path = format!("feature_extractor.conv_layers.{i}");
            let normalised = i == 0 || config.feat_extract_norm == FeatureExtractorNorm::Layer;
            Ok::<_, BuildError>(ConvLayer {
                conv: loader.affine(&format!("{path}.conv"), config.conv_bias)?,
                norm: if normalised { Some(loader.affine(&format!("{path}.layer_norm"), true)?) } else { None },
                stride: config.conv_stride[i] as i64,
            })
        });
        let layers = (0..config.num_hidden_layers).map(|i| {
            let affine = |name: &str| loader.affine(&format!("encoder.layers.{i}.{name}"), true);
            Ok::<_, BuildError>(Layer {
                q_proj: affine("attention.q_proj")?,
                k_proj: affine("attention.k_proj")?,
                v_proj: affine("attention.v_proj")?,
                out_proj: affine("attention.out_proj")?,
                layer_norm: affine("layer_norm")?,
                intermediate_dense: affine("feed_forward.intermediate_dense")?,
                output_dense: affine("feed_forward.output_dense")?,
                final_layer_norm: affine("final_layer_norm")?,
            })
        });
        Ok(Hubert {
            config: config.clone(),
            attention,
            conv_layers: conv_layers.collect::<Result<_, _>>()?,
            projection_norm: if config.feat_proj_layer_norm {
                Some(loader.affine("feature_projection.layer_norm", true)?)
            } else {
                None
            },
            projection: loader.affine("feature_projection.projection", true)?,
            pos_conv: loader.pos_conv()?,
            encoder_norm: loader.affine("encoder.layer_norm", true)?,
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
        let mut states = vec![x.shallow_clone()];
        for layer in self.layers.iter().take(last) {
            x = self.layer(layer, &x)?;
            states.push(x.shallow_clone());
        }
        if self.config.do_stable_layer_norm
            && states.len() > self.layers.len()
            && let Some(last) = states.last_mut()
        {
            *last = self.norm(&self.encoder_norm, last)?;
        }
        Ok(states)
    }

    fn first_hidden_state(&self, input_values: &Tensor) -> Result<Tensor, TchError> {
        let eps = Config::FEATURE_EXTRACTOR_NORM_EPS;
        let mut x = input_values.f_unsqueeze(1)?;
        for layer in &self.conv_layers {
            x = x.f_conv1d(&layer.conv.weight, layer.conv.bias.as_ref(), layer.stride, 0, 1, 1)?;
            if let Some(norm) = &layer.norm {
                let channels = norm.weight.size1()?;
                let (weight, bias) = (Some(&norm.weight), norm.bias.as_ref());
                x = match self.config.feat_extract_norm {
                    FeatureExtractorNorm::Group => x.f_group_norm(channels, weight, bias, eps, false)?,
                    FeatureExtractorNorm::Layer => {
                        x.f_transpose(1, 2)?.f_layer_norm([channels], weight, bias, eps, false)?.f_transpose(1, 2)?
                    }
                };
            }
            x = activate(self.config.feat_extract_activation, &x)?;
        }
        let mut x = x.f_transpose(1, 2)?;
        if let Some(norm) = &self.projection_norm {
            x = self.norm(norm, &x)?;
        }
        let x = linear(&self.projection, &x)?;

        let (kernel, groups) = (self.config.num_conv_pos_embeddings, self.config.num_conv_pos_embedding_groups);
        let frames = x.size3()?.1;
        let positions = x.f_transpose(1, 2)?.f_conv1d(
            &self.pos_conv.weight,
            self.pos_conv.bias.as_ref(),
            1,
            (kernel / 2) as i64,
            1,
            groups as i64,
        )?;
        let positions = activate(self.config.feat_extract_activation, &positions.f_narrow(2, 0, frames)?)?;
        let x = x.f_add(&positions.f_transpose(1, 2)?)?;
        if self.config.do_stable_layer_norm { Ok(x) } else { self.norm(&self.encoder_norm, &x) }
    }

    fn layer(&self, layer: &Layer, x: &Tensor) -> Result<Tensor, TchError> {
        if self.config.do_stable_layer_norm {
            let x = x.f_add(&self.attention(layer, &self.norm(&layer.layer_norm, x)?)?)?;
            let inner = self.feed_forward(layer, &self.norm(&layer.final_layer_norm, &x)?)?;
            return x.f_add(&inner);
        }
        let scale = self.config.residual_scale();
        let scaled = |x: &Tensor| if scale == 1.0 { Ok(x.shallow_clone()) } else { x.f_mul_scalar(scale) };
        let x = scaled(x)?.f_add(&self.attention(layer, x)?)?;
        let x = self.norm(&layer.layer_norm, &x)?;
        let x = scaled(&x)?.f_add(&self.feed_forward(layer, &x)?)?;
        self.norm(&layer.final_layer_norm, &x)
    }

    fn attention(&self, layer: &Layer, x: &Tensor) -> Result<Tensor, TchError> {
        let (batch, frames, width) = x.size3()?;
        let (heads, head_dim) = (self.config.num_attention_heads as i64, self.config.head_dim() as i64);
        let split = |x: Tensor| x.f_view([batch, frames, heads, head_dim])?.f_transpose(1, 2);
        let q = split(linear(&layer.q_proj, x)?)?;
        let k = split(linear(&layer.k_proj, x)?)?;
        let v = split(linear(&layer.v_proj, x)?)?;
        let scale = (head_dim as f64).powf(-0.5);
        let relax = self.config.attention_relax;
        // Relaxed attention is the same function, written so that the logits stay in range.
        let y = if self.attention == Attention::Sdpa && relax <= 0.0 {
            Tensor::f_scaled_dot_product_attention(&q, &k, &v, None::<Tensor>, 0.0, false, scale, false)?
        } else {
            let mut logits = q.f_matmul(&k.f_transpose(2, 3)?)?.f_mul_scalar(scale)?;
            if relax > 0.0 {
                let relaxed = logits.f_div_scalar(relax)?;
                logits = relaxed.f_sub(&relaxed.f_amax(-1, true)?)?.f_mul_scalar(relax)?;
            }
            logits.f_softmax(-1, None::<Kind>)?.f_matmul(&v)?
        };
        linear(&layer.out_proj, &y.f_transpose(1, 2)?.f_reshape([batch, frames, width])?)
    }

    fn feed_forward(&self, layer: &Layer, x: &Tensor) -> Result<Tensor, TchError> {
        let inner = activate(self.config.hidden_act, &linear(&layer.intermediate_dense, x)?)?;
        linear(&layer.output_dense, &inner)
    }

    fn norm(&self, norm: &Affine, x: &Tensor) -> Result<Tensor, TchError> {
        let channels = norm.weight.size1()?;
        x.f_layer_norm([channels], Some(&norm.weight), norm.bias.as_ref(), self.config.layer_norm_eps, false)
    }
}

fn linear(affine: &Affine, x: &Tensor) -> Result<Tensor, TchError> {
    x.f_linear(&affine.weight, affine.bias.as_ref())
}

fn activate(activation: Activation, x: &Tensor) -> Result<Tensor, TchError> {
    match activation {
        Activation::Gelu => x.f_gelu("none"),
        Activation::GeluTanh => x.f_gelu("tanh"),
        Activation::Relu => x.f_relu(),
    }
}

struct Loader<'a> {
    weights: &'a Weights,
    dtype: Dtype,
}

impl Loader<'_> {
    fn affine(&self, path: &str, with_bias: bool) -> Result<Affine, BuildError> {
        let weight = self.round(self.tensor(&format!("{path}.weight"))?)?;
        let bias = if with_bias { Some(self.round(self.tensor(&format!("{path}.bias"))?)?) } else { None };
        Ok(Affine { weight, bias })
    }

    /// Loads the positional convolution with its weight norm computed by libtorch, in f64, so that rounding the result
    /// to 16 bits gives the correctly rounded weight.
    fn pos_conv(&self) -> Result<Affine, BuildError> {
        let spelling = weight_norm::SPELLINGS.iter().find(|spelling| self.weights.get(spelling.v).is_some());
        let weight = match spelling {
            None => self.round(self.tensor(weight_norm::FUSED)?)?,
            Some(spelling) => {
                let g = self.tensor(spelling.g)?.f_to_kind(Kind::Double)?;
                let v = self.tensor(spelling.v)?.f_to_kind(Kind::Double)?;
                let fused = Tensor::f_internal_weight_norm(&v, &g, weight_norm::DIM as i64)?;
                self.round(&fused.f_to_kind(Kind::Float)?)?
            }
        };
        let bias = self.round(self.tensor(&format!("{}.bias", weight_norm::MODULE))?)?;
        Ok(Affine { weight, bias: Some(bias) })
    }

    fn tensor(&self, name: &str) -> Result<&Tensor, BuildError> {
        self.weights.get(name).ok_or_else(|| BuildError::Missing(name.to_string()))
    }

    fn round(&self, tensor: &Tensor) -> Result<Tensor, TchError> {
        let kind = match self.dtype {
            Dtype::F32 => return Ok(tensor.shallow_clone()),
            Dtype::F16 => Kind::Half,
            Dtype::Bf16 => Kind::BFloat16,
        };
        tensor.f_to_kind(kind)?.f_to_kind(Kind::Float)
    }
}
