//! Music files to compare on.

#[cfg(feature = "tch")]
mod clips;

use std::path::PathBuf;

use mert_audio::WindowPolicy;

/// Music to compare on.
#[derive(Debug, Clone, Default)]
pub struct Tracks {
    /// Audio files.
    pub files: Vec<PathBuf>,
    /// Which parts of them; if none is given, 30 seconds from the middle, or for a Core ML package as much as it takes.
    pub window: Option<WindowPolicy>,
    /// Whether an installed ffmpeg decodes files that cannot be read otherwise.
    pub ffmpeg: bool,
}
