//! Quantized weights of the same input as one.

use super::{QuantizedEncoding, QuantizedWeight};

/// Weights of one encoding and one number of inputs, with their rows one after the other.
pub(crate) struct JoinedWeight {
    first: Option<(QuantizedEncoding, usize)>,
    outputs: usize,
    words: Vec<u8>,
    scales: Vec<u8>,
    biases: Vec<u8>,
}

impl JoinedWeight {
    /// Copies the rows of `weights`, which have the same encoding and inputs.
    pub(crate) fn new(weights: &[QuantizedWeight<'_>]) -> Self {
        let all = |bytes: fn(&QuantizedWeight<'_>) -> Vec<u8>| weights.iter().flat_map(bytes).collect();
        JoinedWeight {
            first: weights.first().map(|weight| (weight.encoding, weight.inputs)),
            outputs: weights.iter().map(|weight| weight.outputs).sum(),
            words: all(|weight| weight.words.to_vec()),
            scales: all(|weight| weight.scales.to_vec()),
            biases: all(|weight| weight.biases.to_vec()),
        }
    }

    /// The weight; `None` if it has no rows.
    pub(crate) fn weight(&self) -> Option<QuantizedWeight<'_>> {
        let (encoding, inputs) = self.first?;
        let JoinedWeight { outputs, words, scales, biases, .. } = self;
        Some(QuantizedWeight { encoding, outputs: *outputs, inputs, words, scales, biases })
    }
}
