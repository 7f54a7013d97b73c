//! What was found, for people and for machines.

mod json;
mod junit;
mod markdown;
mod table;

use std::path::{Path, PathBuf};

use mert_runtime::{ConvertedFile, DeviceKind};
use mert_spec::{Dtype, Layout};
use serde::Serialize;

use crate::Result;
use crate::gate::{Comparison, Question};
use crate::ioutil::write_atomically;

/// The result of one run of the gate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Name and version of the program.
    pub generator: &'static str,
    /// Whether every model passed; `false` if there is none.
    pub passed: bool,
    /// One for each model.
    pub models: Vec<ModelReport>,
}

/// The result for one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelReport {
    /// The converted file.
    pub model: PathBuf,
    /// Its layout.
    pub layout: Layout,
    /// Its element type.
    pub dtype: Dtype,
    /// SHA-256 of the checkpoint that it says it was made from.
    pub source_sha256: String,
    /// Where it ran.
    pub device: &'static str,
    /// The element type in which it computed.
    pub compute: Dtype,
    /// One for each reference and question.
    pub comparisons: Vec<Comparison>,
    /// How long the forward passes took.
    pub timings: Vec<Timing>,
    /// What a reader must know beside the verdicts.
    pub notes: Vec<String>,
    /// What fails the model as a whole.
    pub failures: Vec<String>,
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
    /// Puts the models' reports together.
    pub fn new(models: Vec<ModelReport>) -> Self {
        let passed = !models.is_empty() && models.iter().all(ModelReport::passed);
        Report { generator: concat!("mert-verify ", env!("CARGO_PKG_VERSION")), passed, models }
    }
}

/// Writes a report; all of it or nothing. An earlier one is replaced.
///
/// # Errors
/// [`VerifyError::Write`](crate::VerifyError::Write).
pub fn write(path: &Path, text: &str) -> Result<()> {
    write_atomically(path, text.as_bytes())
}

impl ModelReport {
    pub(crate) fn new(file: &ConvertedFile, device: DeviceKind, compute: Dtype) -> Self {
        let metadata = file.metadata();
        ModelReport {
            model: file.path().to_path_buf(),
            layout: metadata.layout,
            dtype: metadata.dtype,
            source_sha256: metadata.source_sha256.clone(),
            device: device.name(),
            compute,
            comparisons: Vec::new(),
            timings: Vec::new(),
            notes: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Whether every comparison passed; `false` if there is none.
    pub fn passed(&self) -> bool {
        self.failures.is_empty() && !self.comparisons.is_empty() && self.comparisons.iter().all(Comparison::passed)
    }

    /// The first hidden state that failed, over all comparisons.
    pub fn first_bad_layer(&self) -> Option<usize> {
        self.comparisons.iter().filter_map(Comparison::first_bad_layer).min()
    }

    /// Says where only the rounding was judged, and fails the model for it if `required`.
    pub(crate) fn judge_structure_coverage(&mut self, required: bool) {
        let mut unjudged: Vec<String> = Vec::new();
        for comparison in &self.comparisons {
            let judged = self
                .comparisons
                .iter()
                .any(|other| other.reference == comparison.reference && other.question == Question::Structure);
            if !judged && !unjudged.contains(&comparison.reference) {
                unjudged.push(comparison.reference.clone());
            }
        }
        if unjudged.is_empty() {
            return;
        }
        let (names, dtype) = (unjudged.join(", "), self.dtype);
        let todo = if self.compute == Dtype::F32 {
            format!(
                "give a reference that has hidden_states_{dtype} (`mert-verify reference` writes it), or verify an f32 \
                 conversion as well"
            )
        } else {
            format!("structure shows in f32 arithmetic only, not in {}; verify with --dtype f32 as well", self.compute)
        };
        let text = format!("structure was not judged against {names}, only rounding: {todo}");
        if required { self.failures.push(text) } else { self.notes.push(text) }
    }
}
