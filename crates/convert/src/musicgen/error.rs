//! Errors of conversions of MusicGen: what was found in which file, what was expected, and what to do.

use std::path::PathBuf;

use mert_arch::{ConfigError, printable_line};
use thiserror::Error;

use crate::Problem;

/// The reason why a MusicGen was not converted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MusicgenError {
    /// A configuration in or beside a file cannot be used.
    #[error("{path}: {what}: {source}")]
    Config {
        /// The file.
        path: PathBuf,
        /// The configuration: `config.json`, `xp.cfg`.
        what: &'static str,
        /// The defect.
        source: ConfigError,
    },
    /// A text in a file is not YAML.
    #[error("{path}: its `xp.cfg` is not YAML: {reason}")]
    Yaml {
        /// The file.
        path: PathBuf,
        /// The defect.
        reason: String,
    },
    /// A file beside a model is missing.
    #[error("{folder} has no {name}, {purpose}")]
    MissingFile {
        /// The folder.
        folder: PathBuf,
        /// The name of the file.
        name: &'static str,
        /// Its purpose and what to do, as a clause.
        purpose: &'static str,
    },
    /// A file is a model of another kind than the option takes.
    #[error("{option} {path}: {found}; {advice}")]
    OtherModel {
        /// The option, or `INPUT`.
        option: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What it holds.
        found: String,
        /// What to give.
        advice: &'static str,
    },
    /// A file only names the model whose weights it stands for.
    #[error(
        "{path} holds no weights, only the name of a model (`pretrained: {0}`): give that model in place of this file, by its name \
         (`--codec {0}`, which downloads it) or its folder", printable_line(.pretrained)
    )]
    Pointer {
        /// The file.
        path: PathBuf,
        /// The name.
        pretrained: String,
    },
    /// A file beside the input is of another model than the input.
    #[error("{option} {path} is of another model:{}\n{advice}", .differences.iter().map(|one| format!("\n  - {one}")).collect::<String>())]
    Unfit {
        /// The option, or `INPUT`.
        option: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Every field that differs.
        differences: Vec<SizeDifference>,
        /// What to give.
        advice: &'static str,
    },
    /// An option has no meaning for the input.
    #[error("{option} {reason}")]
    Option {
        /// The option.
        option: &'static str,
        /// The reason and what to do, as the rest of a sentence.
        reason: String,
    },
    /// A `--drop` pattern matches a tensor of the language model or of the condition transformer.
    #[error(
        "--drop `{pattern}` matches `{name}`, which takes part in what the model computes; --drop is for tensors that the model does \
         not have"
    )]
    DropInModel {
        /// The pattern.
        pattern: String,
        /// The first tensor that it matches.
        name: String,
    },
    /// A pattern of linear layers matches none.
    #[error(
        "{option} {pattern}: no linear layer of the model matches; give the path of a module, such as {example}, in which * stands for \
         any characters"
    )]
    UnusedPattern {
        /// The option.
        option: &'static str,
        /// The pattern.
        pattern: String,
        /// The nearest path of a module, or the first.
        example: String,
    },
    /// The tensors are not those of the model.
    #[error("{path} and the files beside it do not hold the tensors of the model ({config}):{}", list(.problems))]
    Mismatch {
        /// The input.
        path: PathBuf,
        /// The origin of the configuration.
        config: String,
        /// Every problem found.
        problems: Vec<MusicgenProblem>,
    },
}

/// A field of which two files state different values.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{field}` is {found} by {found_by}, but {expected} by {expected_by}")]
pub struct SizeDifference {
    /// The field.
    pub field: &'static str,
    /// The value in the file at fault.
    pub found: String,
    /// The file at fault.
    pub found_by: String,
    /// The value of the model.
    pub expected: String,
    /// The file that states it.
    pub expected_by: String,
}

/// A difference between the tensors of the files and those of the model.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum MusicgenProblem {
    /// A tensor has another shape or type than the model's, or is missing.
    #[error(transparent)]
    Tensor(#[from] Problem),
    /// A tensor that no model of the kind has.
    #[error(
        "unexpected tensor `{}` {found:?}{}; if it is not part of the model, leave it out with --drop", printable_line(.name),
        .nearest.as_ref().map(|name| format!(" (the nearest expected name is `{name}`)")).unwrap_or_default()
    )]
    Unexpected {
        /// The key in the file.
        name: String,
        /// The shape.
        found: Vec<usize>,
        /// The nearest expected name, as the file would have it.
        nearest: Option<String>,
    },
    /// Two keys of a file mean the same tensor.
    #[error("`{}` and `{}` are the same tensor; save the state dict of one model", printable_line(.first), printable_line(.second))]
    Twice {
        /// The first key.
        first: String,
        /// The second key.
        second: String,
    },
    /// A layer of the language model has other values where the condition transformer refers to it.
    #[error(
        "`{}` and `{}` are one tensor in the model that was trained, and differ here: the file was changed after training",
        printable_line(.alias), printable_line(.name)
    )]
    AliasDiffers {
        /// The key under the condition transformer.
        alias: String,
        /// The key in the language model.
        name: String,
    },
    /// The frozen projections of the cross-attention are not in the checkpoint.
    #[error(
        "missing tensor `{name}` {expected:?}: the cross-attention's q, k and v were trained with the .ckpt's own frozen copies, which \
         need not be the base model's, so that --base cannot supply them; save the whole state dict of the trained model"
    )]
    MissingCrossAttention {
        /// The name, as the file would have it.
        name: String,
        /// The shape.
        expected: Vec<usize>,
    },
    /// A low-rank change that cannot be merged.
    #[error("`{}`: {reason}", printable_line(.name))]
    Lora {
        /// The key of a factor.
        name: String,
        /// The defect and what was expected.
        reason: String,
    },
}

/// The problems as lines of a message.
fn list(problems: &[MusicgenProblem]) -> String {
    const LISTED: usize = 12;
    let mut text: String = problems.iter().take(LISTED).map(|problem| format!("\n  - {problem}")).collect();
    if problems.len() > LISTED {
        text += &format!("\n  - … and {} more", problems.len() - LISTED);
    }
    text
}
