//! References: the hidden states that PyTorch returned for a clip, read from a file or computed by libtorch. Neither
//! uses the converter's readers or the runtime's arithmetic.

#[cfg(feature = "tch")]
pub mod libtorch;
// Only libtorch's reference reads pickles; the scan's own tests need no libtorch.
#[cfg(any(feature = "tch", test))]
mod negated_view;
mod npz;
#[cfg(feature = "tch")]
pub(crate) mod original_weights;
// Only libtorch's reference has a checkpoint beside it.
#[cfg(any(feature = "tch", test))]
pub(crate) mod stated_audio;
mod weaknesses;

use std::collections::BTreeMap;

use mert_arch::Dtype;
use ndarray::Array3;

use crate::ModelEncoding;

pub use self::npz::CANDIDATE_LAYERS;
pub(crate) use self::npz::reference_files;

/// A clip and the hidden states that PyTorch returned for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// The name shown in reports.
    pub name: String,
    /// The samples exactly as they enter the model.
    pub input_values: Vec<f32>,
    /// The hidden states `(layers + 1, frames, width)` of the model with its original f32 weights.
    pub hidden_states: Array3<f32>,
    /// The hidden states, computed in f32, of the model with every weight rounded to a dtype. With them the structure
    /// of a 16-bit file is judged as strictly as that of an f32 file.
    pub rounded: BTreeMap<Dtype, Array3<f32>>,
    /// The hidden states, computed in f32, of the model with quantized weights, by [`ModelEncoding::array_name`] or
    /// [`ModelEncoding::digest_name`].
    pub quantized: BTreeMap<String, Array3<f32>>,
}

impl Reference {
    /// The hidden states of the model with weights of this encoding, if the reference has them.
    pub fn with_weights(&self, encoding: &ModelEncoding) -> Option<&Array3<f32>> {
        match (encoding.is_quantized(), encoding.float()) {
            (true, _) => {
                let names = [encoding.array_name(), encoding.digest_name()];
                names.iter().find_map(|name| self.quantized.get(name))
            }
            (false, Dtype::F32) => Some(&self.hidden_states),
            (false, float) => self.rounded.get(&float),
        }
    }
}
