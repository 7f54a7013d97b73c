//! What was found, for people and for machines.

mod json;
mod junit;
mod markdown;
mod table;
mod unique;

use std::path::{Path, PathBuf};

use mert_arch::Dtype;
use serde::Serialize;

use crate::Result;
use crate::candidate::{Candidate, Output};
use crate::gate::{Comparison, LayerResult, Question};
use crate::ioutil::write_atomically;

/// The result of one run of the gate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Name and version of the program.
    pub generator: &'static str,
    /// Whether every model was compared and passed; `false` if there is none.
    pub passed: bool,
    /// One for each model that was compared.
    pub models: Vec<ModelReport>,
    /// One for each model that could not be, and for each part of a compared model that could not be.
    pub errors: Vec<ModelError>,
}

/// A model that could not be compared, or not with one of its references, or a gate's file without a readable model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelError {
    /// The path of the converted file or the gate's file.
    #[serde(serialize_with = "json::path")]
    pub model: PathBuf,
    /// Why.
    pub error: String,
}

/// The result for one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelReport {
    /// The converted file or package.
    #[serde(serialize_with = "json::path")]
    pub model: PathBuf,
    /// Its format: `mlx`, `candle` or `mlpackage`.
    pub format: &'static str,
    /// Its element type.
    pub dtype: Dtype,
    /// SHA-256 of the checkpoint that it says it was made from.
    pub source_sha256: String,
    /// Where it ran.
    pub device: String,
    /// The element type in which it computed.
    pub compute: Dtype,
    /// One for each reference and question.
    pub comparisons: Vec<Comparison>,
    /// How long the forward passes took.
    pub timings: Vec<Timing>,
    /// For each question that was asked of several clips, the one that came out worst.
    pub worst: Vec<Worst>,
    /// What a reader must know beside the verdicts.
    pub notes: Vec<String>,
    /// What fails the model as a whole.
    pub failures: Vec<String>,
    /// Why the rest could not be compared, such as an unreadable reference beside the compared ones.
    pub errors: Vec<String>,
}

/// The clip and hidden state that came out worst of all that one question was asked of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Worst {
    /// What was asked.
    pub question: Question,
    /// What was compared.
    pub output: Output,
    /// How many clips there were.
    pub clips: usize,
    /// The clip's reference.
    pub reference: String,
    /// The hidden state.
    pub hidden_state: usize,
    /// Its NMSE; `None` if it could not be measured.
    pub nmse: Option<f64>,
    /// Its lowest frame cosine.
    pub min_frame_cosine: Option<f64>,
    /// Whether it passed.
    pub passed: bool,
}

/// How long one forward pass took, loading excluded. A single cold run: `mert-verify bench` measures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timing {
    /// The reference whose input was run.
    pub reference: String,
    /// Length of the input in samples.
    pub samples: usize,
    /// Wall-clock seconds.
    pub seconds: f64,
}

impl Report {
    /// Puts the models' results together.
    pub fn new(results: impl IntoIterator<Item = (PathBuf, Result<ModelReport>)>) -> Self {
        let (mut models, mut errors) = (Vec::new(), Vec::new());
        for (model, result) in results {
            match result {
                Ok(report) => {
                    let part = |error: &String| ModelError { model: model.clone(), error: error.clone() };
                    errors.extend(report.errors.iter().map(part));
                    models.push(report);
                }
                Err(error) => errors.push(ModelError { model, error: error.to_string() }),
            }
        }
        Report::of(models, errors)
    }

    /// The report of a run that ended before it opened a model; `subject` is the file that stopped it.
    pub fn not_started(subject: PathBuf, error: String) -> Self {
        Report::of(Vec::new(), vec![ModelError { model: subject, error }])
    }

    fn of(models: Vec<ModelReport>, errors: Vec<ModelError>) -> Self {
        let passed = errors.is_empty() && !models.is_empty() && models.iter().all(ModelReport::passed);
        Report { generator: concat!("mert-verify ", env!("CARGO_PKG_VERSION")), passed, models, errors }
    }
}

/// Writes a report, all of it or nothing, over an earlier one; a pipe or a device is written to directly.
///
/// # Errors
/// [`VerifyError::Write`](crate::VerifyError::Write).
pub fn write(path: &Path, text: &str) -> Result<()> {
    write_atomically(path, text.as_bytes())
}

impl ModelReport {
    pub(crate) fn new(candidate: &dyn Candidate) -> Self {
        let metadata = candidate.metadata();
        ModelReport {
            model: candidate.path().to_path_buf(),
            format: candidate.format(),
            dtype: metadata.dtype,
            source_sha256: metadata.source_sha256.clone(),
            device: candidate.runs_on(),
            compute: candidate.arithmetic(),
            comparisons: Vec::new(),
            timings: Vec::new(),
            worst: Vec::new(),
            notes: Vec::new(),
            failures: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// Whether everything was compared and passed; `false` if nothing was.
    pub fn passed(&self) -> bool {
        self.errors.is_empty() && !self.failed() && !self.comparisons.is_empty()
    }

    /// Whether what was compared failed, whatever could not be.
    pub fn failed(&self) -> bool {
        !self.failures.is_empty() || !self.comparisons.iter().all(Comparison::passed)
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

    /// Finds the worst clip of each question that was asked of several: one that failed before one that did not, then
    /// the one with the largest NMSE.
    pub(crate) fn find_worst(&mut self) {
        let mut kinds: Vec<(Question, Output)> = Vec::new();
        for comparison in &self.comparisons {
            let kind = (comparison.question, comparison.output);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        let worst = kinds.into_iter().filter_map(|(question, output)| {
            let of_kind = || self.comparisons.iter().filter(move |c| (c.question, c.output) == (question, output));
            let clips = of_kind().count();
            let layers = of_kind().flat_map(|c| c.layers.iter().map(move |layer| (&c.reference, layer)));
            let badness = |layer: &LayerResult| {
                // What could not be measured is worse than any number.
                let nmse = layer.metrics.as_ref().map(|metrics| metrics.nmse).filter(|nmse| !nmse.is_nan());
                (!layer.passed(), nmse.unwrap_or(f64::INFINITY))
            };
            let (reference, layer) = layers.max_by(|(_, a), (_, b)| {
                let (a, b) = (badness(a), badness(b));
                a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
            })?;
            (clips > 1).then(|| Worst {
                question,
                output,
                clips,
                reference: reference.clone(),
                hidden_state: layer.layer,
                nmse: layer.metrics.as_ref().map(|metrics| metrics.nmse),
                min_frame_cosine: layer.metrics.as_ref().map(|metrics| metrics.min_frame_cosine),
                passed: layer.passed(),
            })
        });
        self.worst = worst.collect();
    }

    /// Says where only the rounding was judged, and fails the model for it if `required`.
    pub(crate) fn judge_structure_coverage(&mut self, required: bool) {
        let mut unjudged: Vec<String> = Vec::new();
        for comparison in &self.comparisons {
            if !self.structure_judged_for(&comparison.reference) && !unjudged.contains(&comparison.reference) {
                unjudged.push(comparison.reference.clone());
            }
        }
        if unjudged.is_empty() {
            return;
        }
        let (names, dtype) = (unjudged.join(", "), self.dtype);
        let todo = if self.compute == Dtype::F32 {
            format!(
                "give a reference that has hidden_states_{dtype} (`mert-verify reference` and the README's Python example \
                 write it), or verify an f32 conversion as well"
            )
        } else {
            format!("structure shows in f32 arithmetic only, not in {}; verify in f32 as well", self.compute)
        };
        let text = format!("structure was not judged against {names}, only rounding: {todo}");
        if required { self.failures.push(text) } else { self.notes.push(text) }
    }
}
