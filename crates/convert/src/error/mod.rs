//! Errors of reading and converting checkpoints: what was found, what was expected, and what to do.
//!
//! - this file: the errors.
//! - `problem.rs`: the differences between a checkpoint and what its configuration implies, of which one error lists many.
//! - `overflow.rs`: the parts of the message about a value that overflows.
//! - `advice.rs`, `options.rs`: the advice about all of them together, and the options to paste.

mod advice;
mod options;
mod overflow;
mod problem;

use std::path::{Path, PathBuf};

use mert_arch::fairseq::FairseqError;
use mert_arch::{ConfigError, Dtype, InferError};
use mert_checkpoint::{CheckpointError, Source};
use mert_fs::FsError;
use thiserror::Error;

use self::advice::{advice, list};
use self::overflow::{decimal, overflow_advice};
pub use self::problem::Problem;
use crate::musicgen::MusicgenError;

/// The reason why a checkpoint was not converted. The output is then as it was before.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The checkpoint could not be opened or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The output could not be written.
    #[error(transparent)]
    Output(#[from] FsError),
    /// The files are not those of a MusicGen that can be converted.
    #[error(transparent)]
    Musicgen(#[from] MusicgenError),
    /// The configuration cannot be used.
    #[error("{path}: {source}")]
    Config {
        /// The `config.json`.
        path: PathBuf,
        /// The defect.
        source: ConfigError,
    },
    /// A field that the user set cannot be used.
    #[error("--set: {source}")]
    SetField {
        /// The defect.
        source: ConfigError,
    },
    /// The training configuration in the checkpoint cannot be used.
    #[error("{path}: {source}")]
    Cfg {
        /// The input.
        path: PathBuf,
        /// The defect.
        source: FairseqError,
    },
    /// The training configuration in the checkpoint and its tensors, or a `config.json`, contradict each other.
    #[error("{path}: the cfg in the checkpoint is contradicted:\n  - {}\n{advice}", .contradictions.join("\n  - "))]
    CfgContradiction {
        /// The input.
        path: PathBuf,
        /// Each contradiction, with both sides.
        contradictions: Vec<String>,
        /// What to do.
        advice: &'static str,
    },
    /// The training configuration in the checkpoint states a value that no model of these shapes can have.
    #[error(
        "{path}: the cfg in the checkpoint does not fit the tensors: {reason}; give the model's config.json with --config"
    )]
    CfgImpossible {
        /// The input.
        path: PathBuf,
        /// The field, its value and the values that are possible.
        reason: String,
    },
    /// A pre-LN model with speaker-conditional layers cannot be cut before them: no norm was trained to follow its layers.
    #[error(
        "{path}: the layers after layer {kept} are speaker-conditional, and so is the last LayerNorm of this pre-LN model: \
         cut after layer {kept} it would have none. Pre-LN models with conditional layers are not supported"
    )]
    ConditionalNorm {
        /// The input.
        path: PathBuf,
        /// The number of layers before the first conditional one.
        kept: usize,
    },
    /// Files that come with the checkpoint disagree about the model's audio input.
    #[error(
        "contradictory statements about the model's audio input: `{field}` is {}. A wrong value gives wrong embeddings \
         without an error: find out which is right and give it with {option}",
        .statements.join(" and ")
    )]
    Contradiction {
        /// The field of `preprocessor_config.json`.
        field: &'static str,
        /// The conflicting values, each with its origin.
        statements: Vec<String>,
        /// The command-line option that overrides them.
        option: &'static str,
    },
    /// There is no configuration, and the tensors' shapes do not imply one.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// A pattern of linear layers matches none.
    #[error(
        "{option} {pattern}: no linear layer of the model matches; give the path of a module, such as \
         encoder.layers.0.attention.q_proj, in which * stands for any characters"
    )]
    UnusedPattern {
        /// The option.
        option: &'static str,
        /// The pattern.
        pattern: String,
    },
    /// Entries of the encoder are not tensors.
    #[error("the checkpoint holds other objects in place of tensors:{}", list(.problems))]
    NotTensors {
        /// Every such object.
        problems: Vec<Problem>,
    },
    /// Tensors are missing, unexpected or malformed.
    #[error(
        "the checkpoint does not match what its configuration ({config}) implies:{}{}",
        list(.problems), advice(.problems)
    )]
    Mismatch {
        /// The origin of the configuration.
        config: String,
        /// Every problem found.
        problems: Vec<Problem>,
    },
    /// Tensors inside the encoder that no model of the family has.
    #[error("{path}: {reason}")]
    OtherEncoder {
        /// The input.
        path: PathBuf,
        /// The architecture or tool that they come from, and what to do.
        reason: String,
    },
    /// A `--drop` pattern matches a tensor of the encoder.
    #[error(
        "--drop `{pattern}` matches `{name}`, which is inside the encoder and takes part in what the model computes; --drop \
         is for tensors outside the encoder, such as heads and counters"
    )]
    DropInEncoder {
        /// The pattern.
        pattern: String,
        /// The first tensor that it matches.
        name: String,
    },
    /// The checkpoint has no head of the kind that `--keep` names.
    #[error("--keep final_proj: {reason}; leave --keep out, and take hidden states as they are")]
    Keep {
        /// What the checkpoint has instead.
        reason: String,
    },
    /// A `--drop` pattern matches no tensor.
    #[error("--drop `{pattern}` matches no tensor of the checkpoint; correct it or leave it out")]
    UnusedDrop {
        /// The pattern.
        pattern: String,
    },
    /// A tensor holds a NaN or an infinity.
    #[error(
        "tensor `{name}` holds {value} at index {index:?}, which spreads to the outputs of the model; save the checkpoint \
         again from a healthy model"
    )]
    NotFinite {
        /// The tensor.
        name: String,
        /// The value's index.
        index: Vec<usize>,
        /// The value.
        value: f32,
    },
    /// A finite value does not fit the output's type.
    #[error(
        "tensor `{name}` holds {} at index {index:?}, which overflows {dtype} (largest finite value {max:e}); \
         {}", decimal(*.value), overflow_advice(*.dtype)
    )]
    Overflow {
        /// The tensor.
        name: String,
        /// The value's index.
        index: Vec<usize>,
        /// The value.
        value: f64,
        /// The output's dtype.
        dtype: Dtype,
        /// The dtype's largest finite value.
        max: f32,
    },
    /// The values of a block of a weight are too large to be compressed.
    #[error(
        "tensor `{name}`: the values from index {index:?} on are too large for {codes}, whose scales and offsets are f16; leave \
         --compress out"
    )]
    CompressionRange {
        /// The tensor.
        name: String,
        /// The index of the block's first value.
        index: Vec<usize>,
        /// The type of the codes.
        codes: &'static str,
    },
    /// A kernel tap of the positional convolution's direction has norm zero.
    #[error(
        "tensor `{name}`: kernel tap {tap} has norm zero, so weight norm would divide by zero; the checkpoint's \
         positional convolution is broken. If its weights are all zeros, it was not saved or downloaded completely"
    )]
    ZeroNorm {
        /// The direction's name.
        name: String,
        /// The tap.
        tap: usize,
    },
    /// A norm's square is beyond the range in which f64 is exact.
    #[error(
        "tensor `{name}`: the values of kernel tap {tap} are too {size} for weight norm (their squares leave the range of \
         f64), as those of a healthy model never are: save the checkpoint again from one"
    )]
    NormRange {
        /// The direction's name.
        name: String,
        /// The tap.
        tap: usize,
        /// `small` or `large`.
        size: &'static str,
    },
    /// The weight norm's magnitude and direction do not fit each other.
    #[error("weight norm of `{name}`: {found} magnitudes, expected {expected}")]
    MagnitudeCount {
        /// The direction's name.
        name: String,
        /// The number of norms of the direction.
        expected: usize,
        /// The number of magnitudes.
        found: usize,
    },
    /// A group of values needs a scale that cannot be stored.
    #[error(
        "tensor `{name}` holds values from {} to {} in the group at index {index:?}, {reason}; weights of a healthy model \
         never are like that: save the checkpoint again from one, or leave this layer in the float type",
        decimal((*.min).into()), decimal((*.max).into())
    )]
    QuantizationRange {
        /// The tensor.
        name: String,
        /// The index of the group's first value.
        index: Vec<usize>,
        /// The group's smallest value.
        min: f32,
        /// The group's largest value.
        max: f32,
        /// The reason, as a clause.
        reason: &'static str,
    },
    /// Values to quantize are not whole rows of whole groups.
    #[error("tensor `{name}` cannot be quantized: {reason}")]
    QuantizationShape {
        /// The tensor.
        name: String,
        /// What was found and what was expected, as a clause.
        reason: String,
    },
    /// A program does not have the model or an option.
    #[error("--for {program}: `{field}` is {found}, but {reason}")]
    Program {
        /// The value of `--for`.
        program: &'static str,
        /// The field of the configuration, or the option.
        field: &'static str,
        /// Its value.
        found: String,
        /// What the program does, as a clause.
        reason: String,
    },
    /// An option is about an adapter, and there is none.
    #[error("{option} is about an adapter: give one with --adapter, or leave the option out")]
    NoAdapter {
        /// The option.
        option: &'static str,
    },
    /// The stored weights have lost a part of an adapter's change.
    #[error(
        "{below} of {layers} changed layers keep less than --min-delta-kept {floor} of the adapter's change, `{name}` the least: \
         {kept:.3}. Use more bits, or a float type with more precision; if the change is tiny, ask whether the adapter was trained"
    )]
    DeltaLost {
        /// The worst layer's weight.
        name: String,
        /// The part of its change that is stored.
        kept: f64,
        /// The required part.
        floor: f64,
        /// The number of layers below it.
        below: usize,
        /// The number of layers that the adapter changes.
        layers: usize,
    },
    /// Nothing states the audio input, which the output's files state.
    #[error(
        "{output} has a preprocessor_config.json, whose {fields} would be a guess here; a wrong value gives wrong \
         outputs without an error. Give {options}, or the model's own file with --preprocessor"
    )]
    UnknownInput {
        /// What states it.
        output: String,
        /// The fields without a value.
        fields: String,
        /// The command-line options that give them.
        options: String,
    },
    /// The output's name does not fit the program.
    #[error("--for {program} writes {expected}, not {path}")]
    ProgramOutput {
        /// The value of `--for`.
        program: &'static str,
        /// What it writes, and a name for it.
        expected: &'static str,
        /// The output.
        path: PathBuf,
    },
    /// An option that the form of the output does not have.
    #[error("{option} {reason}")]
    TargetOption {
        /// The option.
        option: &'static str,
        /// The forms that have it and what to do, as the rest of a sentence.
        reason: &'static str,
    },
    /// The written model did not pass a check.
    #[error("{path} was not written: {reason}")]
    Inspection {
        /// The output.
        path: PathBuf,
        /// The outcome of the check and what to do, as a clause.
        reason: String,
    },
    /// Core ML cannot express the model or the options.
    #[error("cannot make a Core ML package: {0}")]
    CoreMl(String),
    /// GGUF cannot hold the weights.
    #[error("cannot make a GGUF file: {0}")]
    Gguf(String),
    /// The output's name has the extension of no known format.
    #[error(
        "unknown output format of {path}: expected a name that ends in .safetensors, .gguf or .mlpackage, or a folder, whose \
         name has no other ending"
    )]
    OutputFormat {
        /// The output.
        path: PathBuf,
    },
    /// The output reads back differently from what was written, because of a fault of the disk or the memory.
    #[error("{path} reads back differently from what was written ({reason}); the output was discarded")]
    ReadBack {
        /// The output.
        path: PathBuf,
        /// The difference.
        reason: String,
    },
    /// A tensor of the checkpoint is a lazily negated view.
    #[error(
        "{path}: PyTorch saved `{name}` as a negated view, which would be read with the wrong sign; save it again after \
         tensor.resolve_neg()"
    )]
    NegatedView {
        /// The input.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
}

impl ConvertError {
    pub(crate) fn config(path: &Path, source: ConfigError) -> Self {
        ConvertError::Config { path: path.to_path_buf(), source }
    }

    pub(crate) fn cfg(input: &Source, source: FairseqError) -> Self {
        ConvertError::Cfg { path: input.path.clone(), source }
    }

    pub(crate) fn core_ml(reason: impl Into<String>) -> Self {
        ConvertError::CoreMl(reason.into())
    }

    pub(crate) fn gguf(reason: impl Into<String>) -> Self {
        ConvertError::Gguf(reason.into())
    }

    pub(crate) fn read_back(output: &Path, reason: impl Into<String>) -> Self {
        ConvertError::ReadBack { path: output.to_path_buf(), reason: reason.into() }
    }
}
