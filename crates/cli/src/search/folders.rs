//! The audio files in the folders of a catalogue's tracks and below them: moved files, and new ones.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use mert_audio::has_audio_extension;
use mert_embed::inputs::Input;

/// The audio files in the folders of `files` and below, by extension and sorted, but `files` themselves. Hidden files, and
/// folders behind links, are not among them, nor are those of a folder that cannot be read.
pub(super) fn other_files(files: &[Input]) -> Vec<PathBuf> {
    let known: HashSet<&Path> = files.iter().map(|input| input.path.as_path()).collect();
    let folders: BTreeSet<&Path> = files.iter().filter_map(|input| input.path.parent()).collect();
    let mut found = Vec::new();
    let mut last: Option<&Path> = None;
    // A folder comes before those in it.
    for folder in folders {
        if last.is_none_or(|last| !folder.starts_with(last)) {
            collect(folder, &known, &mut found);
            last = Some(folder);
        }
    }
    found.sort();
    found
}

fn collect(folder: &Path, known: &HashSet<&Path>, found: &mut Vec<PathBuf>) {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type());
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            match kind {
                _ if is_hidden => {}
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(_) if has_audio_extension(&path) && path.is_file() && !known.contains(path.as_path()) => {
                    found.push(path);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_below_the_folders_of_tracks() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("a/b/c")).unwrap();
        std::fs::create_dir_all(at("a b")).unwrap();
        for name in ["a/1.mp3", "a/b/2.mp3", "a/b/c/3.flac", "a/b/.4.mp3", "a/notes.txt", "a b/5.mp3", "6.mp3"] {
            std::fs::write(at(name), "x").unwrap();
        }
        let known = ["a/1.mp3", "a/b/2.mp3", "a b/gone.mp3"].map(|name| Input::new(&at(name)));
        // Paths are compared by their parts: `a` comes before `a b`.
        assert_eq!(other_files(&known), ["a/b/c/3.flac", "a b/5.mp3"].map(at));
    }
}
