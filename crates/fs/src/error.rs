//! Errors of writing outputs.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The reason why an output was not written. What was at its path is as it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FsError {
    /// The output could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The output.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The output exists and may not be replaced.
    #[error("{path} exists; give --force to replace it")]
    OutputExists {
        /// The output.
        path: PathBuf,
    },
    /// The output exists and is a device, a pipe or a folder.
    #[error("{path} is not a regular file, and the output cannot be streamed; give another output")]
    OutputNotAFile {
        /// The output.
        path: PathBuf,
    },
    /// A folder is in the output's place that this tool did not write.
    #[error(
        "{path} exists and is not {expected}; it is left alone even with --force. Give another output, or remove it yourself"
    )]
    OutputNotReplaceable {
        /// The output.
        path: PathBuf,
        /// The kind of folder that may be replaced.
        expected: &'static str,
    },
    /// The output would replace the input.
    #[error("{path} is an input; give another output")]
    OutputIsInput {
        /// The output.
        path: PathBuf,
    },
}

impl FsError {
    /// The operating system's `source` while `path` was written.
    pub fn write(path: &Path, source: io::Error) -> FsError {
        FsError::Write { path: path.to_path_buf(), source }
    }
}
