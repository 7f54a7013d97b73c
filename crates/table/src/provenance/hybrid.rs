//! The further encoders of a table whose rows concatenate the vectors of several models.

use serde::{Deserialize, Serialize};

use super::arithmetic::Arithmetic;
use super::words::{Alignment, Pool};

/// The encoders of a table beside the one that the other settings describe. In each row their vectors follow those of the
/// first encoder, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hybrid {
    /// The name of the first encoder, such as `mert`. Letters and digits.
    pub first: String,
    /// The parts of a file that a row has of each encoder.
    pub alignment: Alignment,
    /// The further encoders.
    pub others: Vec<OtherEncoder>,
}

/// An encoder after the first. The fields mean what those of the same name in [`crate::Provenance`] do for the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherEncoder {
    /// The name, such as `wav2vec`. Letters and digits.
    pub name: String,
    /// SHA-256 of the model's file, in hexadecimal.
    pub model_sha256: String,
    /// The checkpoint's licence, where it is known.
    pub license: Option<String>,
    /// The hidden states, ascending.
    pub hidden_states: Vec<usize>,
    /// The pooling of the frames of a window.
    pub pool: Pool,
    /// Samples per second that the model takes, in hertz.
    pub sample_rate: u32,
    /// Whether windows were normalised before they entered the model.
    pub do_normalize: bool,
    /// What of `sample_rate` and `do_normalize` is an assumption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assumed: Option<String>,
    /// The length of a vector.
    pub dim: usize,
    /// Samples from the start of a frame to the start of the next.
    pub frame_hop: usize,
    /// Samples that a frame depends on before the transformer.
    pub frame_length: usize,
    /// Element type and device of the arithmetic.
    pub arithmetic: Arithmetic,
}

/// A vector of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vector<'a> {
    /// The name of the encoder, if there are several.
    pub encoder: Option<&'a str>,
    /// The hidden state.
    pub hidden_state: usize,
    /// The number of values.
    pub dim: usize,
}

impl Vector<'_> {
    /// The name of the vector's column: `hidden_state_6`, or `mert_hidden_state_6` among several encoders.
    pub fn column(&self) -> String {
        match self.encoder {
            Some(encoder) => format!("{encoder}_hidden_state_{}", self.hidden_state),
            None => format!("hidden_state_{}", self.hidden_state),
        }
    }

    /// The key of the vector in a line of JSON: `6`, or `mert_6` among several encoders.
    pub(crate) fn key(&self) -> String {
        match self.encoder {
            Some(encoder) => format!("{encoder}_{}", self.hidden_state),
            None => self.hidden_state.to_string(),
        }
    }
}
