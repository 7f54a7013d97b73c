//! Errors of opening and reading checkpoints: what was found, what was expected, and what to do.

use std::path::PathBuf;

use thiserror::Error;

use crate::shown_key;

/// The reason why a checkpoint was not read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file or folder could not be opened or read.
    #[error("cannot read {path}: {source}")]
    Open {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The input is not a checkpoint in a supported format, or a damaged one.
    #[error("{path} is not a checkpoint that can be read: {reason}")]
    NotACheckpoint {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it and what was expected.
        reason: String,
    },
    /// What was given as a SHA-256 is not one.
    #[error("`{found}` is not a SHA-256: give the checkpoint's as 64 hexadecimal digits, as sha256sum does")]
    NotASha256 {
        /// What was given.
        found: String,
    },
    /// The input is the output of a conversion.
    #[error(
        "{path} is already converted ({evidence}); converting it again would transpose its weights twice. Give the \
         original PyTorch checkpoint"
    )]
    AlreadyConverted {
        /// The file.
        path: PathBuf,
        /// How that is known.
        evidence: String,
    },
    /// More than one dictionary of the checkpoint, or more than one key prefix, holds a model.
    #[error("the checkpoint holds more than one model: {}. Choose one with {option}", quoted(.candidates))]
    Ambiguous {
        /// The dictionaries' paths or the prefixes, as `option` takes them; an empty one is the root.
        candidates: Vec<String>,
        /// The command-line option that chooses.
        option: &'static str,
    },
    /// No tensor that every model of the family has.
    #[error("{path} holds no MERT or HuBERT encoder: none of its {count} tensors is named `…{expected}`{hint}")]
    NoEncoder {
        /// The checkpoint.
        path: PathBuf,
        /// How many tensors it has.
        count: usize,
        /// The name that was looked for.
        expected: &'static str,
        /// The nearest name, or what the names look like instead.
        hint: String,
    },
    /// A configuration file is not text.
    #[error("{path}: {reason}")]
    NotText {
        /// The file.
        path: PathBuf,
        /// What is wrong with its bytes.
        reason: String,
    },
    /// Two entries of the checkpoint have the same name after wrapper names are removed.
    #[error(
        "{path}: `{first}` and `{second}` are both `{name}` without the names of wrappers in them (torch.compile, FSDP, \
         DistributedDataParallel), so it is not known which is meant; save the state_dict() of the module inside the \
         wrapper"
    )]
    SameName {
        /// The input.
        path: PathBuf,
        /// The name without wrapper names.
        name: String,
        /// The first entry's name in the file.
        first: String,
        /// The second entry's name in the file.
        second: String,
    },
    /// The checkpoint holds modified weights, or keeps them elsewhere.
    #[error("{path}: {reason}")]
    NotPlainWeights {
        /// The input.
        path: PathBuf,
        /// The modification and what to do.
        reason: String,
    },
    /// `--key` was given for a file that has no dictionaries.
    #[error("{path} is a safetensors file or sharded, and nests nothing; leave --key out")]
    KeyWithoutDictionaries {
        /// The input.
        path: PathBuf,
    },
}

fn quoted(candidates: &[String]) -> String {
    candidates.iter().map(|candidate| shown_key(candidate)).collect::<Vec<_>>().join(", ")
}
