//! Playlists that other programs play: M3U8, XSPF and JSPF.

mod jspf;
mod m3u;
mod spread;
mod uri;
mod xspf;

use std::path::{Path, PathBuf};

pub use self::spread::spread;
pub use self::uri::file_uri;
use crate::{Catalogue, Result, SearchError};

/// The format of a playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaylistFormat {
    /// Extended M3U in UTF-8: `.m3u8` and `.m3u`.
    M3u,
    /// XSPF 1, XML: <https://xspf.org/spec>.
    Xspf,
    /// JSPF, the same in JSON: <https://xspf.org/jspf>.
    Jspf,
}

/// An entry of a playlist.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Entry {
    /// The path of the file.
    pub path: PathBuf,
    /// The title, if it is known.
    pub title: Option<String>,
    /// The artist, if it is known.
    pub artist: Option<String>,
    /// The album, if it is known.
    pub album: Option<String>,
    /// The length in seconds, if it is known.
    pub duration: Option<f64>,
    /// The identifier of the recording in MusicBrainz, if it is known.
    pub recording: Option<String>,
    /// What the entry was found by, such as `cosine`: names with numbers.
    pub scores: Vec<(&'static str, f64)>,
}

impl PlaylistFormat {
    /// The format of a path's extension.
    ///
    /// # Errors
    /// [`SearchError::Query`] for another extension.
    pub fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("m3u8" | "m3u") => Ok(PlaylistFormat::M3u),
            Some("xspf") => Ok(PlaylistFormat::Xspf),
            Some("jspf") => Ok(PlaylistFormat::Jspf),
            _ => {
                let path = mert_table::printable_path(path);
                Err(SearchError::Query(format!("{path}: expected a file name that ends in .m3u8, .xspf or .jspf")))
            }
        }
    }

    /// The playlist as text. Paths in M3U are relative to `folder`, which is where the playlist will be.
    ///
    /// # Errors
    /// [`SearchError::Io`] if the current folder is not known, which relative paths are from.
    pub fn text(self, title: &str, entries: &[Entry], folder: &Path) -> Result<String> {
        match self {
            PlaylistFormat::M3u => m3u::text(title, entries, folder),
            PlaylistFormat::Xspf => xspf::text(title, entries),
            PlaylistFormat::Jspf => jspf::text(title, entries),
        }
    }
}

impl Entry {
    /// The entry of a track.
    pub fn of(catalogue: &Catalogue, track: usize, scores: Vec<(&'static str, f64)>) -> Self {
        let text = |name: &str| catalogue.column(name).ok()?.text(track).map(ToString::to_string);
        let about = catalogue.track(track);
        Entry {
            path: about.path(),
            title: text("title"),
            artist: text("artist").or_else(|| text("album_artist")),
            album: text("album"),
            duration: Some(about.duration),
            recording: text("mb_recording_id"),
            scores,
        }
    }

    /// The title, or the file's name.
    fn label(&self) -> String {
        let name = || self.path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        self.title.clone().unwrap_or_else(name)
    }
}

#[cfg(test)]
mod tests;
