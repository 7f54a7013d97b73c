//! The files to embed: named by the user, found in folders, or read from lists.

mod folder;
mod input;
mod list;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

pub(crate) use self::input::identity;
pub use self::input::{Input, STDIN};
use crate::EmbedError;

/// The files to embed, and notes about them.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// The files without duplicates.
    pub files: Vec<Input>,
    /// Notes for the user: duplicate names, lists in an assumed encoding.
    pub notes: Vec<String>,
}

/// The files named by `paths` (files, folders, `file://` URLs, `-`) and by the entries of `list`, without duplicates:
/// each under its first name, in the order given; those of a folder sorted by path.
///
/// A missing or unreadable file is kept, and reported when it is read.
///
/// # Errors
/// [`EmbedError::Read`] or [`EmbedError::Input`] for a list or folder that cannot be read or used, or a folder without
/// audio; [`EmbedError::NoInputs`].
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
    let mut duplicates = 0;
    for path in &named {
        for file in if path.is_dir() { folder::audio_files(path)? } else { vec![path.clone()] } {
            if seen.insert(identity(&file)) {
                inputs.files.push(Input::new(&file));
            } else {
                duplicates += 1;
            }
        }
    }
    if duplicates > 0 {
        let names = if duplicates == 1 { "1 name leads" } else { &format!("{duplicates} names lead") };
        inputs.notes.push(format!("{names} to files that are named already: each file is embedded once"));
    }
    if inputs.files.is_empty() {
        return Err(EmbedError::NoInputs);
    }
    Ok(inputs)
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
        assert!(matches!(collect(&[], None), Err(EmbedError::NoInputs)));
        let list = folder.path().join("none");
        let error = collect(&[], Some(&list)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot read {}: ", list.display())), "{error}");
        std::fs::write(&list, "\n").unwrap();
        assert!(matches!(collect(&[], Some(&list)), Err(EmbedError::NoInputs)));
    }
}
