//! Finding audio files in a folder and its subfolders.

use std::path::{Path, PathBuf};

use mert_audio::{SUPPORTED_EXTENSIONS, has_audio_extension, identify};
use walkdir::WalkDir;

use crate::EmbedError;

/// The audio files in `folder` and its subfolders, sorted by path: files with the extension of an audio format, and
/// files with another extension or none whose first bytes identify one. Unsupported formats are included, so that they
/// are reported. Hidden files are skipped: macOS writes `._track.mp3`, which holds no audio, beside `track.mp3` on
/// other file systems.
///
/// # Errors
/// [`EmbedError::Read`] for a folder that cannot be read, [`EmbedError::Input`] for one without audio.
pub(super) fn audio_files(folder: &Path) -> Result<Vec<PathBuf>, EmbedError> {
    let is_hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    let mut files = Vec::new();
    let entries = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
    for entry in entries.filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.file_name())) {
        match entry {
            Ok(entry) if entry.file_type().is_file() && is_audio(entry.path()) => files.push(entry.into_path()),
            Ok(_) => {}
            // A dangling link, a link cycle or an unreadable folder is reported when it is read.
            Err(error) if error.depth() > 0 => files.extend(error.path().map(Path::to_path_buf)),
            Err(error) => return Err(EmbedError::read(folder, error.into())),
        }
    }
    if files.is_empty() {
        let extensions = SUPPORTED_EXTENSIONS.join(", ");
        let reason = format!("no audio in this folder: neither by extension ({extensions}) nor by its first bytes");
        return Err(EmbedError::input(folder, reason));
    }
    Ok(files)
}

fn is_audio(path: &Path) -> bool {
    has_audio_extension(path) || identify(path).is_ok_and(|format| format.is_some_and(|format| format.is_audio()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_is_found_by_extension_or_by_its_first_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let flac = std::fs::read(mert_testkit::fixture("audio/16-24k-stereo.flac")).unwrap();
        for (name, bytes) in [
            ("a.WMA", b"x".as_slice()),
            ("b.bin", &flac),
            ("c", &flac),
            ("d.jpg", b"\xff\xd8\xff\xe0 an image"),
            ("e.txt", b"words that are not music"),
            (".f.flac", &flac),
        ] {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let found = audio_files(folder.path()).unwrap();
        assert_eq!(found, ["a.WMA", "b.bin", "c"].map(|name| folder.path().join(name)));
    }
}
