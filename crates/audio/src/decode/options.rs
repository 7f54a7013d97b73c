//! The options for reading a file, and the information about an open one.

/// The treatment of a file that is damaged or truncated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Damage {
    /// Return an error.
    #[default]
    Refuse,
    /// Decode what can be decoded, with a note, and replace the rest with silence of the same length where the format
    /// states the length (Ogg does not: a lost page is left out).
    Keep,
}

/// The options for reading a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadOptions {
    /// The treatment of files that are damaged or truncated.
    pub damage: Damage,
    /// Whether an installed `ffmpeg` decodes files that are not supported otherwise.
    pub ffmpeg: bool,
}

impl From<Damage> for ReadOptions {
    fn from(damage: Damage) -> Self {
        ReadOptions { damage, ffmpeg: false }
    }
}

/// The format and length that a file states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioInfo {
    /// The name of the container, such as `wave` or `isomp4`.
    pub container: &'static str,
    /// The name of the codec, such as `flac`.
    pub codec: &'static str,
    /// The sample rate in hertz.
    pub sample_rate: u32,
    /// The number of channels, which are mixed to one.
    pub channels: usize,
    /// The number of samples per channel, if the file states it reliably.
    pub frames: Option<u64>,
}
