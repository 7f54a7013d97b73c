//! The verdict of one run of the gate, over all of its models. Reports are made from it.

use std::path::PathBuf;

use serde::Serialize;

use super::model::{ModelVerdict, Outcome};
use super::path_text::path_as_text;
use crate::Result;

/// The verdict of one run of the gate.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The verdict on each model that was compared.
    pub models: Vec<ModelVerdict>,
    /// The error of each model that could not be compared, and of each part of a compared model that could not be.
    pub errors: Vec<ModelError>,
}

/// The error of a model that could not be compared, or not with one of its references, or of a gate's configuration that
/// lists no readable model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelError {
    /// The path of the model or of the gate's configuration.
    #[serde(serialize_with = "path_as_text")]
    pub model: PathBuf,
    /// The reason.
    pub error: String,
}

impl Verdict {
    /// Collects the results for models, each with the path that the user gave.
    pub fn new(results: impl IntoIterator<Item = (PathBuf, Result<ModelVerdict>)>) -> Self {
        let mut verdict = Verdict { models: Vec::new(), errors: Vec::new() };
        for (model, result) in results {
            match result {
                Ok(compared) => {
                    let part = |error: &String| ModelError { model: model.clone(), error: error.clone() };
                    verdict.errors.extend(compared.errors.iter().map(part));
                    verdict.models.push(compared);
                }
                Err(error) => verdict.errors.push(ModelError { model, error: error.to_string() }),
            }
        }
        verdict
    }

    /// The verdict of a run that ended before it opened a model; `subject` is the file that stopped it.
    pub fn not_started(subject: PathBuf, error: String) -> Self {
        Verdict { models: Vec::new(), errors: vec![ModelError { model: subject, error }] }
    }

    /// The outcome of the run. An error outweighs a failure, because a run with errors is to be repeated.
    pub fn outcome(&self) -> Outcome {
        if !self.errors.is_empty() {
            return Outcome::Incomplete;
        }
        let passed = !self.models.is_empty() && self.models.iter().all(ModelVerdict::passed);
        if passed { Outcome::Passed } else { Outcome::Failed }
    }

    /// Whether every model was compared and passed; `false` if there is none.
    pub fn passed(&self) -> bool {
        self.outcome() == Outcome::Passed
    }
}
