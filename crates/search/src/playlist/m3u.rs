//! Extended M3U in UTF-8: `#EXTM3U`, and for each entry an `#EXTINF` line and a path.

use std::path::{Component, Path, PathBuf};

use super::Entry;
use super::uri::{absolute, file_uri};
use crate::Result;

/// The playlist, with paths relative to `folder`.
pub(super) fn text(title: &str, entries: &[Entry], folder: &Path) -> Result<String> {
    let folder = absolute(folder)?;
    let mut text = format!("#EXTM3U\n#PLAYLIST:{}\n", line(title));
    for entry in entries {
        // -1 is an unknown length.
        let seconds = entry.duration.map_or(-1, |duration| duration.round() as i64);
        let artist = entry.artist.as_ref().map(|artist| format!("{artist} - ")).unwrap_or_default();
        text.push_str(&format!("#EXTINF:{seconds},{}\n", line(&format!("{artist}{}", entry.label()))));
        text.push_str(&location(&entry.path, &folder)?);
        text.push('\n');
    }
    Ok(text)
}

/// The path from `folder`, or a URI for a name that a line of UTF-8 cannot hold.
fn location(path: &Path, folder: &Path) -> Result<String> {
    let relative = relative(&absolute(path)?, folder);
    match relative.to_str() {
        Some(text) if !text.contains(['\n', '\r']) => {
            // A name that begins with `#` would be a comment, one with a colon could be a URI.
            let is_plain = !text.starts_with('#') && !text.contains(':') && text.trim() == text;
            Ok(if is_plain || text.starts_with(['/', '.']) { text.to_string() } else { format!("./{text}") })
        }
        _ => file_uri(path),
    }
}

/// The path from `folder` to `path`, both from the root; `path` itself if they have no folder in common.
fn relative(path: &Path, folder: &Path) -> PathBuf {
    let (mut to, mut from) = (path.components().peekable(), folder.components().peekable());
    let mut common = 0;
    while let (Some(a), Some(b)) = (to.peek(), from.peek())
        && a == b
    {
        common += usize::from(matches!(a, Component::Normal(_)));
        to.next();
        from.next();
    }
    if common == 0 && from.peek().is_some() {
        return path.to_path_buf();
    }
    from.map(|_| Component::ParentDir).chain(to).collect()
}

/// A text as a part of one line.
fn line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}
