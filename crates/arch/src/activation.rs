use serde::{Deserialize, Serialize};

/// The activation functions that the family's configurations name (`hidden_act`,
/// `feat_extract_activation`), under the spellings of transformers' `ACT2FN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Activation {
    /// x·Φ(x) with Φ from `erf`: what every published MERT and HuBERT uses.
    #[default]
    #[serde(rename = "gelu")]
    Gelu,
    /// The tanh approximation of GELU (Hendrycks & Gimpel 2016, arXiv:1606.08415).
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh")]
    GeluTanh,
    /// max(x, 0).
    #[serde(rename = "relu")]
    Relu,
}
