//! What PyTorch returned for an input: read from a file, or computed by libtorch.

#[cfg(feature = "tch")]
pub mod libtorch;
// Only libtorch's reference reads pickles; the scan's own tests need no libtorch.
#[cfg(any(feature = "tch", test))]
mod negated_view;
mod npz;
mod weaknesses;

use std::collections::BTreeMap;

use mert_arch::Dtype;
use ndarray::Array3;

pub use self::npz::{HIDDEN_STATES_MARK, reference_files};

/// An input and the hidden states that PyTorch returned for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// The name that reports show.
    pub name: String,
    /// The samples exactly as they enter the model.
    pub input_values: Vec<f32>,
    /// `(hidden states, frames, width)`, computed with the original f32 weights.
    pub hidden_states: Array3<f32>,
    /// The same arithmetic (in f32) with every weight first rounded to a dtype. With it the structure of
    /// a 16-bit file can be judged as sharply as that of an f32 one.
    pub rounded: BTreeMap<Dtype, Array3<f32>>,
}
