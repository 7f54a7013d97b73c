//! The reasons why a model is not opened, a sound not embedded or a mode not chosen.

use std::path::PathBuf;

use mert_checkpoint::CheckpointError;
use thiserror::Error;

/// The reason why a model is not opened, a sound not embedded or a mode not chosen.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClapError {
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The model has no configuration file.
    #[error(
        "{path} has no config.json, which gives the model's sizes: give the folder of the model as transformers saved it"
    )]
    NoConfig {
        /// The checkpoint.
        path: PathBuf,
    },
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A JSON file is not as expected.
    #[error("{path}: {problem}")]
    Json {
        /// The file.
        path: PathBuf,
        /// The field, what was expected and what was found.
        problem: String,
    },
    /// A field of a configuration has a value that is not computed here.
    #[error("{file}: {field} is {found}, expected {expected}")]
    Field {
        /// The name of the configuration file.
        file: &'static str,
        /// The field.
        field: &'static str,
        /// The value.
        found: String,
        /// The value that this crate computes.
        expected: String,
    },
    /// A tensor is missing.
    #[error(
        "tensor `{name}` is not in the checkpoint{hint}: give a checkpoint of transformers' ClapModel or \
             ClapAudioModelWithProjection"
    )]
    MissingTensor {
        /// The name.
        name: String,
        /// The nearest name, as a clause.
        hint: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error("tensor `{name}` has shape {found:?}, expected {expected:?} from config.json")]
    Shape {
        /// The tensor.
        name: String,
        /// The shape in the checkpoint.
        found: Vec<usize>,
        /// The shape by the configuration.
        expected: Vec<usize>,
    },
    /// A tensor has a value that is not a finite number in f32.
    #[error("tensor `{name}` has the value {value} at {index}, expected finite numbers: the checkpoint is damaged")]
    NotFinite {
        /// The tensor.
        name: String,
        /// The index of the value, row by row.
        index: usize,
        /// The value.
        value: f32,
    },
    /// The audio tower has tensors that are not computed here.
    #[error(
        "the checkpoint has {count} tensors of an audio tower that config.json does not describe, such as `{first}`"
    )]
    UnknownTensors {
        /// Their number.
        count: usize,
        /// The first of them.
        first: String,
    },
    /// A sound has no samples.
    #[error("the sound has no samples")]
    Empty,
    /// A sound is longer than the model's window.
    #[error(
        "the sound has {found} samples, expected at most {limit}: transformers would take a random part of it; pass the \
         part that is meant"
    )]
    TooLong {
        /// Its length in samples.
        found: usize,
        /// The model's window in samples.
        limit: usize,
    },
    /// A sample is not a finite number.
    #[error("sample {index} is {value}, expected a finite number")]
    Sample {
        /// The index of the sample.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// The model returned a vector with values that are not finite, or of length 0.
    #[error(
        "the model's vector of the sound has no direction (NaN, infinite or zero): its weights are too \
             large for f32"
    )]
    NoDirection,
    /// A setting is outside its range.
    #[error("invalid {name} {found}: expected {expected}")]
    Setting {
        /// The name of the setting.
        name: &'static str,
        /// The value.
        found: f64,
        /// The range.
        expected: &'static str,
    },
    /// The vectors of the modes are of another checkpoint.
    #[error(
        "the modes' vectors are of checkpoint {expected}, and this is {found}: write the modes file again from this \
             checkpoint"
    )]
    OtherCheckpoint {
        /// The SHA-256 in the modes file.
        expected: String,
        /// The SHA-256 of the checkpoint.
        found: String,
    },
    /// A vector of a sound has another width than the modes' vectors.
    #[error("the vector of the sound has {found} values, expected {expected} as in the modes file")]
    Width {
        /// The width of the modes' vectors.
        expected: usize,
        /// The width of the sound's vector.
        found: usize,
    },
    /// The time of a sound lies before that of the one before.
    #[error("the sound ends at {found} s, after one that ended at {before} s: give sounds in the order of time")]
    Order {
        /// The time in seconds.
        found: f64,
        /// The time of the sound before.
        before: f64,
    },
    /// An operation of candle failed, for want of memory or by a defect.
    #[error("the forward pass failed: {0}")]
    Compute(#[from] candle_core::Error),
}
