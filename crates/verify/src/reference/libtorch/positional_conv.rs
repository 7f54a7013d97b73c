//! The convolutional position embedding, in the three forms that the families have: after
//! [`HubertPositionalConvEmbedding`](https://github.com/huggingface/transformers/blob/main/src/transformers/models/hubert/modeling_hubert.py)
//! and
//! [`Data2VecAudioPositionalConvEmbedding`](https://github.com/huggingface/transformers/blob/main/src/transformers/models/data2vec/modeling_data2vec_audio.py).

use mert_arch::{Activation, Config, PositionalConv, weight_norm};
use tch::{Kind, TchError, Tensor};

use super::tensors::{Affine, BuildError, Loader, activate};

/// The epsilon of torch's `BatchNorm1d` and of the `LayerNorm`s of data2vec's stack.
const EPS: f64 = 1e-5;

pub(super) struct PositionalEmbedding {
    form: Form,
    groups: usize,
    activation: Activation,
}

enum Form {
    /// A convolution, whose weight norm is fused here.
    Conv(Affine),
    /// A BatchNorm with running statistics, and a convolution.
    BatchNormConv(BatchNorm, Affine),
    /// Convolutions in a chain, each with a LayerNorm without weights.
    Stack(Vec<Affine>),
}

struct BatchNorm {
    affine: Affine,
    running_mean: Tensor,
    running_var: Tensor,
}

impl PositionalEmbedding {
    pub(super) fn load(config: &Config, loader: &Loader) -> Result<Self, BuildError> {
        let path = "encoder.pos_conv_embed";
        let form = match config.positional_conv() {
            PositionalConv::WeightNorm { .. } => Form::Conv(fused_conv(loader)?),
            PositionalConv::BatchNorm { .. } => {
                let norm = BatchNorm {
                    affine: loader.affine(&format!("{path}.batch_norm"), true)?,
                    running_mean: loader.rounded(&format!("{path}.batch_norm.running_mean"))?,
                    running_var: loader.rounded(&format!("{path}.batch_norm.running_var"))?,
                };
                Form::BatchNormConv(norm, loader.affine(&format!("{path}.conv"), true)?)
            }
            PositionalConv::Stack { layers, .. } => {
                let layers = (0..layers).map(|i| loader.affine(&format!("{path}.layers.{i}.conv"), true));
                Form::Stack(layers.collect::<Result<_, _>>()?)
            }
        };
        let groups = config.num_conv_pos_embedding_groups;
        Ok(PositionalEmbedding { form, groups, activation: config.feat_extract_activation })
    }

    /// Computes the embedding of the projected features, both `(batch, frames, width)`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let width = x.size3()?.2;
        let mut y = x.f_transpose(1, 2)?;
        match &self.form {
            Form::Conv(conv) => y = activate(self.activation, &conv.same_length_conv(&y, self.groups)?)?,
            Form::BatchNormConv(norm, conv) => {
                let y_norm = norm.forward(&y)?;
                y = activate(self.activation, &conv.same_length_conv(&y_norm, self.groups)?)?;
            }
            Form::Stack(layers) => {
                for conv in layers {
                    let z = conv.same_length_conv(&y, self.groups)?.f_transpose(1, 2)?;
                    let z = z.f_layer_norm([width], None::<Tensor>, None::<Tensor>, EPS, false)?;
                    y = activate(self.activation, &z.f_transpose(1, 2)?)?;
                }
            }
        }
        y.f_transpose(1, 2)
    }
}

impl BatchNorm {
    /// Normalises `(batch, channels, frames)` by the running statistics, as torch does in evaluation.
    fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let (weight, bias) = (Some(&self.affine.weight), self.affine.bias.as_ref());
        x.f_batch_norm(weight, bias, Some(&self.running_mean), Some(&self.running_var), false, 0.1, EPS, false)
    }
}

/// Loads the convolution with its weight norm computed by libtorch, in f64, so that rounding the result to 16 bits gives
/// the correctly rounded weight.
fn fused_conv(loader: &Loader) -> Result<Affine, BuildError> {
    let spelling = weight_norm::SPELLINGS.iter().find(|spelling| loader.weights.get(spelling.v).is_some());
    let weight = match spelling {
        None => loader.rounded(weight_norm::FUSED)?,
        Some(spelling) => {
            let g = loader.exact(spelling.g)?.f_to_kind(Kind::Double)?;
            let v = loader.exact(spelling.v)?.f_to_kind(Kind::Double)?;
            let fused = Tensor::f_internal_weight_norm(&v, &g, weight_norm::DIM as i64)?;
            loader.round(&fused.f_to_kind(Kind::Float)?)?
        }
    };
    let bias = loader.rounded(&format!("{}.bias", weight_norm::MODULE))?;
    Ok(Affine { weight, bias: Some(bias) })
}
