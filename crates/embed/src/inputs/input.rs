//! One file to embed: its path, its version, and the identity that finds other spellings of its path.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use mert_table::{FileVersion, escape, unescape};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of standard input.
pub const STDIN: &str = "-";

/// A file to embed, and its version when it was found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Input {
    /// The path as the user gave it, or as found in a folder that the user gave.
    #[serde(serialize_with = "write_path", deserialize_with = "read_path")]
    pub path: PathBuf,
    /// The file's size and time; `None` for an input without them, such as standard input, which every run embeds.
    pub version: Option<FileVersion>,
}

impl Input {
    /// The file at `path` in its current version.
    pub fn new(path: &Path) -> Self {
        let version = std::fs::metadata(path).ok().as_ref().and_then(version);
        Input { path: path.to_path_buf(), version }
    }

    /// Whether the input is a network address, as in playlists of radio stations.
    pub fn is_address(&self) -> bool {
        is_address(&self.path)
    }

    /// Whether the input is standard input.
    pub fn is_stdin(&self) -> bool {
        self.path == Path::new(STDIN)
    }
}

/// Whether `name` begins with a scheme such as `https://`. A one-letter scheme is a Windows drive.
pub(super) fn is_address(name: &Path) -> bool {
    let scheme = name.to_str().and_then(|name| name.split_once(":/")).map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| scheme.len() > 1 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn version(metadata: &Metadata) -> Option<FileVersion> {
    let modified = metadata.modified().ok()?;
    let micros = match modified.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).ok()?,
        Err(before) => -i64::try_from(before.duration().as_micros()).ok()?,
    };
    metadata.is_file().then_some(FileVersion { size: metadata.len(), modified: micros })
}

fn write_path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&escape(path))
}

fn read_path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    Ok(unescape(&String::deserialize(deserializer)?))
}

/// A canonical path, equal for all spellings of a file's path; links are followed.
pub(crate) fn identity(path: &Path) -> PathBuf {
    if path == Path::new(STDIN) {
        return path.to_path_buf();
    }
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}
