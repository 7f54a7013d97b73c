//! The verdict on one model, over all of its comparisons.

use std::path::PathBuf;

use mert_arch::{ComputeType, Dtype};
use serde::Serialize;

use super::comparison::{Comparison, Question};
use super::layer::LayerVerdict;
use super::path_text::path_as_text;
use super::weights::WeightsVerdict;
use crate::ModelEncoding;
use crate::candidate::{Candidate, Output};

/// The verdict on one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelVerdict {
    /// The converted file or package.
    #[serde(serialize_with = "path_as_text")]
    pub model: PathBuf,
    /// The format: `mlx`, `candle` or `mlpackage`.
    pub format: &'static str,
    /// The element type of the weights; of quantized ones that of their scales and biases.
    pub dtype: Dtype,
    /// The encoding of the weights: `f16`, `4-bit g64`, `mixed 4.6 bits`, or how a package compresses them.
    pub encoding: String,
    /// The SHA-256 of the checkpoint that the model was made from, according to its metadata.
    pub source_sha256: String,
    /// The device or engine that ran the model.
    pub device: String,
    /// The element type in which the model computed.
    pub compute: ComputeType,
    /// The comparison for each reference and question.
    pub comparisons: Vec<Comparison>,
    /// The verdict on the quantized weights themselves, where the original was there to compare them with.
    pub weights: Option<WeightsVerdict>,
    /// The duration of each forward pass.
    pub timings: Vec<ForwardTime>,
    /// The worst hidden state of each question that was asked of several clips.
    pub worst: Vec<WorstState>,
    /// Limitations and assumptions that a reader must know beside the verdict.
    pub notes: Vec<String>,
    /// The reasons why the model failed as a whole.
    pub failures: Vec<String>,
    /// The reasons why parts could not be compared, such as an unreadable reference beside readable ones.
    pub errors: Vec<String>,
}

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was compared and is within tolerance.
    Passed,
    /// Something that was compared is not within tolerance.
    Failed,
    /// Something could not be compared.
    Incomplete,
}

/// The hidden state that is furthest from its reference, of all clips that one question was asked of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorstState {
    /// The question.
    pub question: Question,
    /// The form of the hidden states that were compared.
    pub output: Output,
    /// The number of clips.
    pub clips: usize,
    /// The name of the clip's reference.
    pub reference: String,
    /// The index of the hidden state.
    pub hidden_state: usize,
    /// The NMSE; `None` if it could not be measured.
    pub nmse: Option<f64>,
    /// The lowest cosine similarity of two frames; `None` if it could not be measured.
    pub min_frame_cosine: Option<f64>,
    /// Whether the hidden state passed.
    pub passed: bool,
}

/// The duration of one forward pass, loading excluded. It is of a single cold run; `mert-verify bench` measures speed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ForwardTime {
    /// The name of the reference whose clip was run.
    pub reference: String,
    /// The length of the clip in samples.
    pub samples: usize,
    /// The wall-clock seconds.
    pub seconds: f64,
}

impl ModelVerdict {
    /// A verdict without comparisons.
    pub(super) fn new(candidate: &dyn Candidate) -> Self {
        let metadata = candidate.metadata();
        let encoding = ModelEncoding::of(metadata);
        let int8 = (candidate.arithmetic() == ComputeType::Int8).then(|| metadata.int8_note());
        ModelVerdict {
            model: candidate.path().to_path_buf(),
            format: candidate.format(),
            dtype: metadata.dtype,
            encoding: candidate.compression().map_or_else(|| encoding.to_string(), |weights| weights.to_string()),
            source_sha256: metadata.source_sha256.clone(),
            device: candidate.runs_on(),
            compute: candidate.arithmetic(),
            comparisons: Vec::new(),
            weights: None,
            timings: Vec::new(),
            worst: Vec::new(),
            notes: int8.into_iter().collect(),
            failures: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// The outcome of what was compared: a model that failed is failed even if parts could not be compared.
    pub fn outcome(&self) -> Outcome {
        let failed = !self.failures.is_empty() || !self.comparisons.iter().all(Comparison::passed);
        match (failed, self.errors.is_empty()) {
            (false, false) => Outcome::Incomplete,
            (false, true) if !self.comparisons.is_empty() => Outcome::Passed,
            _ => Outcome::Failed,
        }
    }

    /// Whether everything was compared and passed; `false` if nothing was compared.
    pub fn passed(&self) -> bool {
        self.outcome() == Outcome::Passed
    }

    /// The first hidden state that failed, over all comparisons.
    pub fn first_bad_layer(&self) -> Option<usize> {
        self.comparisons.iter().filter_map(Comparison::first_bad_layer).min()
    }

    /// Whether the structure was judged for every reference, not only the rounding.
    pub fn structure_judged(&self) -> bool {
        self.comparisons.iter().all(|comparison| self.structure_judged_for(&comparison.reference))
    }

    fn structure_judged_for(&self, reference: &str) -> bool {
        let judges = |c: &Comparison| c.reference == reference && c.question == Question::Structure;
        self.comparisons.iter().any(judges)
    }

    /// Finds the worst hidden state of each question that was asked of several clips: a failed one before one that
    /// passed, then the one with the largest NMSE.
    pub(super) fn find_worst(&mut self) {
        let mut kinds: Vec<(Question, Output)> = Vec::new();
        for comparison in &self.comparisons {
            let kind = (comparison.question, comparison.output);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        self.worst = kinds.into_iter().filter_map(|(question, output)| self.worst_of(question, output)).collect();
    }

    fn worst_of(&self, question: Question, output: Output) -> Option<WorstState> {
        let of_kind = || self.comparisons.iter().filter(move |c| (c.question, c.output) == (question, output));
        let clips = of_kind().count();
        let layers = of_kind().flat_map(|c| c.layers.iter().map(move |layer| (&c.reference, layer)));
        let badness = |layer: &LayerVerdict| {
            // A state that could not be measured is worse than any number.
            let nmse = layer.metrics.as_ref().map(|metrics| metrics.nmse).filter(|nmse| !nmse.is_nan());
            (!layer.passed(), nmse.unwrap_or(f64::INFINITY))
        };
        let (reference, layer) = layers.max_by(|(_, a), (_, b)| {
            let (a, b) = (badness(a), badness(b));
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
        })?;
        (clips > 1).then(|| WorstState {
            question,
            output,
            clips,
            reference: reference.clone(),
            hidden_state: layer.layer,
            nmse: layer.metrics.as_ref().map(|metrics| metrics.nmse),
            min_frame_cosine: layer.metrics.as_ref().map(|metrics| metrics.min_frame_cosine),
            passed: layer.passed(),
        })
    }

    /// Notes the references for which only the rounding was judged, and fails the model for them if `required`.
    pub(super) fn judge_structure_coverage(&mut self, candidate: &dyn Candidate, required: bool) {
        let mut unjudged: Vec<String> = Vec::new();
        for comparison in &self.comparisons {
            if !self.structure_judged_for(&comparison.reference) && !unjudged.contains(&comparison.reference) {
                unjudged.push(comparison.reference.clone());
            }
        }
        if unjudged.is_empty() {
            return;
        }
        let names = unjudged.join(", ");
        let array = ModelEncoding::of(candidate.metadata()).array_name();
        let todo = match candidate.compression() {
            _ if self.compute != Dtype::F32 => {
                format!("structure shows in f32 arithmetic only, not in {}; verify in f32 as well", self.compute)
            }
            Some(weights) => format!(
                "it has {weights} weights, of which the judge has no rule of its own: verify a conversion without them as well, or \
                 for a package give --checkpoint, or a reference that has {} (docs/core-ml.md)",
                weights.array_name(candidate.metadata().dtype)
            ),
            None => format!(
                "give a reference that has {array} (`mert-verify reference --like MODEL` and the Python examples in the documents write \
                 it), or verify an f32 conversion as well"
            ),
        };
        let text = format!("structure was not judged against {names}, only rounding: {todo}");
        if required { self.failures.push(text) } else { self.notes.push(text) }
    }
}
