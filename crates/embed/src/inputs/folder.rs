//! Audio files in a folder and the folders in it.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::EmbedError;

/// Extensions of audio files, those of formats that are not read among them: a file that is left out is named.
pub(super) const EXTENSIONS: [&str; 13] =
    ["wav", "wave", "flac", "mp3", "ogg", "oga", "m4a", "m4b", "mp4", "aac", "aif", "aiff", "aifc"];

/// The audio files in `folder` and its folders, sorted by path. Hidden files are left out: macOS writes `._track.mp3`,
/// which holds no audio, beside `track.mp3` on other file systems.
///
/// # Errors
/// [`EmbedError::Input`] for a folder that cannot be read or has no audio in it.
pub(super) fn audio_files(folder: &Path) -> Result<Vec<PathBuf>, EmbedError> {
    let wrong = |reason: String| EmbedError::Input { path: folder.to_path_buf(), reason };
    let is_hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    let mut files = Vec::new();
    let entries = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
    for entry in entries.filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.file_name())) {
        match entry {
            Ok(entry) if entry.file_type().is_file() && is_audio(entry.path()) => files.push(entry.into_path()),
            Ok(_) => {}
            // A link to nothing or to a folder around it, or a folder that may not be read: reported in its turn.
            Err(error) if error.depth() > 0 => files.extend(error.path().map(Path::to_path_buf)),
            Err(error) => return Err(wrong(error.to_string())),
        }
    }
    if files.is_empty() {
        return Err(wrong(format!("no audio in this folder: no file that ends in {}", EXTENSIONS.join(", "))));
    }
    Ok(files)
}

fn is_audio(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}
