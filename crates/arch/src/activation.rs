//! The activation functions that configurations name.

use serde::{Deserialize, Serialize};

/// An activation function (`hidden_act`, `feat_extract_activation`), under the spellings of transformers'
/// [`ACT2FN`](https://github.com/huggingface/transformers/blob/main/src/transformers/activations.py).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Activation {
    /// GELU, x·Φ(x) with Φ from `erf`, which every published MERT and HuBERT uses.
    #[default]
    #[serde(rename = "gelu")]
    Gelu,
    /// The tanh approximation of GELU ([Hendrycks and Gimpel 2016](https://arxiv.org/abs/1606.08415)).
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh")]
    GeluTanh,
    /// ReLU, max(x, 0).
    #[serde(rename = "relu")]
    Relu,
}
