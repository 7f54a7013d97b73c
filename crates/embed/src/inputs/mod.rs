//! The files to embed: named by the user, found in folders, or read from lists.

mod folder;
mod list;

use std::collections::HashSet;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::EmbedError;
use crate::file_name::{escape, unescape};

/// The name of standard input.
pub const STDIN: &str = "-";

/// A file to embed, and its version when it was found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Input {
    /// The path as the user gave it, or as found in a folder that the user gave.
    #[serde(serialize_with = "write_path", deserialize_with = "read_path")]
    pub path: PathBuf,
    /// `None` without a size and time, such as for standard input or a missing file, which every run embeds.
    pub version: Option<FileVersion>,
}

/// A file's size and time, which detect changes since it was embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileVersion {
    /// Size in bytes.
    pub size: u64,
    /// Modification time in microseconds since 1970 (UTC).
    pub modified: i64,
}

/// The files to embed, with notes.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// The files without duplicates.
    pub files: Vec<Input>,
    /// Notes for the user: duplicate names, lists in an assumed encoding.
    pub notes: Vec<String>,
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
fn is_address(name: &Path) -> bool {
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

/// The files named by `paths` (files, folders, `file://` URLs, `-`) and by the entries of `list`, without duplicates:
/// each under its first name, in the order given; those of a folder sorted by path.
///
/// A missing or unreadable file is kept, and is reported when its turn comes.
///
/// # Errors
/// [`EmbedError::Input`] for a list or folder that cannot be read, a folder without audio, or no input at all.
pub fn collect(paths: &[PathBuf], list: Option<&Path>) -> Result<Inputs, EmbedError> {
    let mut inputs = Inputs::default();
    let mut named: Vec<PathBuf> = Vec::new();
    for path in paths.iter().map(|path| list::local_path(path)) {
        if list::is_playlist(&path) && path.is_file() {
            named.extend(list::read(&path, &mut inputs.notes)?);
        } else {
            named.push(path);
        }
    }
    if let Some(list) = list {
        named.extend(list::read(list, &mut inputs.notes)?);
    }
    let mut seen = HashSet::new();
    let mut twice = 0;
    for path in &named {
        for file in if path.is_dir() { folder::audio_files(path)? } else { vec![path.clone()] } {
            if seen.insert(identity(&file)) {
                inputs.files.push(Input::new(&file));
            } else {
                twice += 1;
            }
        }
    }
    if twice > 0 {
        let names = if twice == 1 { "1 name leads" } else { &format!("{twice} names lead") };
        inputs.notes.push(format!("{names} to files that are named already: each file is embedded once"));
    }
    if inputs.files.is_empty() {
        let path = list.unwrap_or(Path::new(".")).to_path_buf();
        let reason = "there is no file to embed: name files, folders or --list".into();
        return Err(EmbedError::Input { path, reason });
    }
    Ok(inputs)
}

/// A canonical path, equal for all spellings of a file's path; links are followed.
pub(crate) fn identity(path: &Path) -> PathBuf {
    if path == Path::new(STDIN) {
        return path.to_path_buf();
    }
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(inputs: &Inputs) -> Vec<PathBuf> {
        inputs.files.iter().map(|input| input.path.clone()).collect()
    }

    #[test]
    fn folders_lists_and_files_each_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("music/b")).unwrap();
        for name in ["music/b/2.FLAC", "music/1.mp3", "music/notes.txt", "music/._1.mp3", "music/.cache.wav"] {
            std::fs::write(at(name), "x").unwrap();
        }
        std::fs::write(at("list"), format!("{}\n\n{}\n", at("music/1.mp3").display(), at("gone.wav").display()))
            .unwrap();
        let found = collect(&[at("music"), at("music/notes.txt")], Some(&at("list"))).unwrap();
        let expected = ["music/1.mp3", "music/b/2.FLAC", "music/notes.txt", "gone.wav"];
        assert_eq!(paths(&found), expected.map(at));
        assert_eq!(found.files[0].version.map(|version| version.size), Some(1));
        assert_eq!(found.files[3].version, None);
    }

    #[test]
    fn two_spellings_of_a_file_are_one() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("music")).unwrap();
        std::fs::write(at("music/1.mp3"), "x").unwrap();
        std::fs::write(at("music/2.mp3"), "x").unwrap();
        let address = format!("file://{}", at("music/1.mp3").display());
        #[cfg(unix)]
        std::os::unix::fs::symlink(at("music/1.mp3"), at("music/link.mp3")).unwrap();
        let found = collect(&[at("music/./1.mp3"), address.into(), at("music"), at("music/../music")], None).unwrap();
        assert_eq!(paths(&found), [at("music/./1.mp3"), at("music/2.mp3")]);
        assert!(found.notes.iter().any(|note| note.contains("named already")), "{:?}", found.notes);
    }

    #[test]
    fn nothing_to_embed_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(collect(&[folder.path().into()], None), Err(EmbedError::Input { .. })));
        assert!(matches!(collect(&[], None), Err(EmbedError::Input { .. })));
        assert!(matches!(collect(&[], Some(&folder.path().join("none"))), Err(EmbedError::Input { .. })));
    }
}
