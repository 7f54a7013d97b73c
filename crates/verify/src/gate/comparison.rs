//! The verdict of comparing one candidate with one reference, under one of the gate's two questions.

use serde::Serialize;

use super::frames::FrameRecord;
use super::layer::LayerVerdict;
use crate::candidate::Output;
use crate::{ModelEncoding, Tolerance};

/// The question that a comparison answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Whether both sides compute the same function: they have the same weights, the original's in the candidate's encoding,
    /// and compute in f32.
    Structure,
    /// Whether rounding cost no more than it must: the reference has the original f32 weights.
    Rounding,
}

impl Question {
    /// The name shown in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Question::Structure => "structure",
            Question::Rounding => "rounding",
        }
    }
}

/// The comparison of a candidate with a reference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The name of the reference.
    pub reference: String,
    /// The question that the comparison answers.
    pub question: Question,
    /// The form of the hidden states that were compared.
    pub output: Output,
    /// The encoding of the reference's weights.
    pub reference_weights: ModelEncoding,
    /// Whether each layer was run on the reference's own hidden state instead of the candidate's.
    pub isolated: bool,
    /// The tolerance that applied.
    pub tolerance: Tolerance,
    /// The verdict on each selected hidden state.
    pub layers: Vec<LayerVerdict>,
    /// The distances of single frames, if they were to be kept ([`CompareOptions::keep_frames`](super::CompareOptions)).
    #[serde(skip)]
    pub frames: Option<FrameRecord>,
}

impl Comparison {
    /// Whether every hidden state passed; `false` if there is none.
    pub fn passed(&self) -> bool {
        !self.layers.is_empty() && self.layers.iter().all(LayerVerdict::passed)
    }

    /// The first hidden state that failed.
    pub fn first_bad_layer(&self) -> Option<usize> {
        self.layers.iter().find(|layer| !layer.passed()).map(|layer| layer.layer)
    }
}

#[cfg(test)]
mod tests {
    use mert_arch::Dtype;

    use super::*;

    #[test]
    fn a_comparison_of_nothing_does_not_pass() {
        let comparison = Comparison {
            reference: "r".into(),
            question: Question::Structure,
            output: Output::Frames,
            reference_weights: ModelEncoding::of_floats(Dtype::F32),
            isolated: false,
            tolerance: Tolerance::structure(),
            layers: Vec::new(),
            frames: None,
        };
        assert!(!comparison.passed());
    }
}
