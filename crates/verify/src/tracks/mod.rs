//! Audio files to compare on: both sides get the same windows of them.

#[cfg(any(test, feature = "tch"))]
mod clips;

use std::path::PathBuf;

use mert_audio::WindowPolicy;

/// Audio files from which clips are cut.
#[derive(Debug, Clone, Default)]
pub struct Tracks {
    /// The audio files.
    pub files: Vec<PathBuf>,
    /// The windows to cut; by default 30 seconds from the middle, or for a Core ML package the longest clip that it
    /// accepts.
    pub window: Option<WindowPolicy>,
    /// Whether an installed ffmpeg decodes files that cannot be read otherwise.
    pub ffmpeg: bool,
}
