//! The self-attention of a layer, with the position bias if the family has one.

use mert_arch::Config;
use tch::{Kind, TchError, Tensor};

use super::position_bias::BiasGate;
use super::tensors::{Affine, BuildError, Loader};

/// The implementation of attention, named as transformers' `attn_implementation`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttentionKind {
    /// Attention operation by operation, as it is defined.
    Eager,
    /// libtorch's `scaled_dot_product_attention`, unless the model relaxes its attention.
    Sdpa,
}

pub(super) struct Attention {
    kind: AttentionKind,
    heads: i64,
    head_dim: i64,
    relax: f64,
    q_proj: Affine,
    k_proj: Affine,
    v_proj: Affine,
    out_proj: Affine,
    gate: Option<BiasGate>,
}

impl Attention {
    /// Loads the attention at `path`.
    pub(super) fn load(path: &str, config: &Config, kind: AttentionKind, loader: &Loader) -> Result<Self, BuildError> {
        let projection = |name: &str| loader.affine(&format!("{path}.{name}"), true);
        Ok(Attention {
            kind,
            heads: config.num_attention_heads as i64,
            head_dim: config.head_dim() as i64,
            relax: config.attention_relax,
            q_proj: projection("q_proj")?,
            k_proj: projection("k_proj")?,
            v_proj: projection("v_proj")?,
            out_proj: projection("out_proj")?,
            gate: config.position_bias().map(|_| BiasGate::load(path, loader)).transpose()?,
        })
    }

    /// Computes the attention of `x`, `(batch, frames, width)`, with the bias `(heads, query, key)` before its gate.
    pub(super) fn forward(&self, x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        let (batch, frames, width) = x.size3()?;
        let split = |x: Tensor| x.f_view([batch, frames, self.heads, self.head_dim])?.f_transpose(1, 2);
        let q = split(self.q_proj.linear(x)?)?;
        let k = split(self.k_proj.linear(x)?)?;
        let v = split(self.v_proj.linear(x)?)?;
        let bias = match (&self.gate, bias) {
            (Some(gate), Some(bias)) => Some(gate.of_input(x)?.f_mul(bias)?),
            _ => None,
        };
        let scale = (self.head_dim as f64).powf(-0.5);
        let y = if self.kind == AttentionKind::Sdpa && self.relax <= 0.0 {
            Tensor::f_scaled_dot_product_attention(&q, &k, &v, bias, 0.0, false, scale, false)?
        } else {
            let mut logits = q.f_matmul(&k.f_transpose(2, 3)?)?.f_mul_scalar(scale)?;
            if let Some(bias) = bias {
                logits = logits.f_add(&bias)?;
            }
            // Relaxed attention is the same function, written so that the logits stay in range.
            if self.relax > 0.0 {
                let relaxed = logits.f_div_scalar(self.relax)?;
                logits = relaxed.f_sub(&relaxed.f_amax(-1, true)?)?.f_mul_scalar(self.relax)?;
            }
            logits.f_softmax(-1, None::<Kind>)?.f_matmul(&v)?
        };
        self.out_proj.linear(&y.f_transpose(1, 2)?.f_reshape([batch, frames, width])?)
    }
}
