//! Which files are embedded.

use std::collections::HashSet;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use crate::EmbedError;

/// Files that are looked for in folders, by their extension.
pub const EXTENSIONS: &[&str] = mert_audio::READ_EXTENSIONS;

/// The name that stands for standard input.
pub const STDIN: &str = "-";

/// A file to embed, with what tells whether it has changed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Input {
    /// Its path, as the user gave it or found in a folder that the user gave.
    pub path: PathBuf,
    /// Its size in bytes and the time of its last change in nanoseconds since 1970. `None` where there is no
    /// such thing, as on standard input, or no such file, and for a name that is no Unicode, which a journal cannot hold:
    /// what has none is embedded anew in each run.
    pub version: Option<(u64, u128)>,
}

impl Input {
    fn new(path: &Path) -> Self {
        let metadata = std::fs::metadata(path).ok().filter(|_| path.to_str().is_some());
        Input { path: path.to_path_buf(), version: metadata.as_ref().and_then(version) }
    }

    /// Whether this is standard input.
    pub fn is_stdin(&self) -> bool {
        self.path == Path::new(STDIN)
    }
}

fn version(metadata: &Metadata) -> Option<(u64, u128)> {
    let changed = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    metadata.is_file().then_some((metadata.len(), changed.as_nanos()))
}

/// The files that `paths` (files, folders, `-`) and the lines of `list` name: each once, in the order given,
/// those of a folder and its folders sorted by path.
///
/// A file that cannot be read is no error here: it is one among others, and is reported when its turn comes.
///
/// # Errors
/// [`EmbedError::Input`] for a list or folder that cannot be read, a folder without audio, or nothing at all.
pub fn collect(paths: &[PathBuf], list: Option<&Path>) -> Result<Vec<Input>, EmbedError> {
    let mut named = paths.to_vec();
    if let Some(list) = list {
        let wrong = |reason: String| EmbedError::Input { path: list.to_path_buf(), reason };
        let text = std::fs::read_to_string(list).map_err(|error| wrong(format!("cannot read the list: {error}")))?;
        // A playlist has comments, and its names start from its own folder.
        let is_playlist = list
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("m3u") || extension.eq_ignore_ascii_case("m3u8"));
        let base = list.parent().filter(|_| is_playlist).unwrap_or(Path::new(""));
        let is_comment = |line: &str| is_playlist && line.starts_with('#');
        // Some editors begin a file with a mark of its encoding.
        let lines =
            text.trim_start_matches('\u{feff}').lines().filter(|line| !line.trim().is_empty() && !is_comment(line));
        named.extend(lines.map(|line| base.join(line)));
    }
    let mut inputs = Vec::new();
    let mut seen = HashSet::new();
    for path in &named {
        let files = if path.is_dir() { in_folder(path)? } else { vec![path.clone()] };
        inputs.extend(files.iter().filter(|file| seen.insert((*file).clone())).map(|file| Input::new(file)));
    }
    if inputs.is_empty() {
        let path = list.unwrap_or(Path::new(".")).to_path_buf();
        return Err(EmbedError::Input {
            path,
            reason: "there is no file to embed: name files, folders or --list".into(),
        });
    }
    Ok(inputs)
}

/// Audio files in a folder and its folders. Hidden ones are left out: macOS writes `._track.mp3` beside
/// `track.mp3` on other file systems, which is no audio.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, EmbedError> {
    let wrong = |path: &Path, reason: String| EmbedError::Input { path: path.to_path_buf(), reason };
    let is_hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    let mut files = Vec::new();
    let entries = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
    for entry in entries.filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.file_name())) {
        let entry = match entry {
            Ok(entry) => entry,
            // A link to nothing or to a folder around it, a folder that may not be read: reported in its turn, as a file.
            Err(error) if error.depth() > 0 => {
                files.extend(error.path().map(Path::to_path_buf));
                continue;
            }
            Err(error) => return Err(wrong(folder, error.to_string())),
        };
        let extension = entry.path().extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        if entry.file_type().is_file() && extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str())) {
            files.push(entry.into_path());
        }
    }
    if files.is_empty() {
        return Err(wrong(folder, format!("no audio in this folder: no file that ends in {}", EXTENSIONS.join(", "))));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let names: Vec<PathBuf> = found.iter().map(|input| input.path.clone()).collect();
        let expected = ["music/1.mp3", "music/b/2.FLAC", "music/notes.txt", "gone.wav"];
        assert_eq!(names, expected.map(at));
        assert_eq!(found[0].version.map(|(size, _)| size), Some(1));
        assert_eq!(found[3].version, None);
        let lines = "#EXTM3U\n#EXTINF:123,Someone - Something\nsong.mp3\n";
        for name in ["a.m3u8", "a.M3U", "a.txt"] {
            std::fs::write(at(name), lines).unwrap();
            let found: Vec<_> = collect(&[], Some(&at(name))).unwrap().into_iter().map(|input| input.path).collect();
            let expected =
                if name == "a.txt" { lines.lines().map(PathBuf::from).collect() } else { vec![at("song.mp3")] };
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn nothing_to_embed_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(collect(&[folder.path().into()], None), Err(EmbedError::Input { .. })));
        assert!(matches!(collect(&[], None), Err(EmbedError::Input { .. })));
        assert!(matches!(collect(&[], Some(&folder.path().join("none"))), Err(EmbedError::Input { .. })));
    }
}
