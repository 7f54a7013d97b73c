//! From an audio file to what a MERT or HuBERT model takes.
//!
//! ```no_run
//! use mert_audio::{Damage, Tail, Track, WindowPolicy, normalize};
//!
//! let track = Track::open("track.flac".as_ref(), 24_000, Damage::Refuse)?; // decoded, mono, at 24 kHz
//! let mut windows = track.windows(&"sliding:5s/2.5s".parse::<WindowPolicy>()?, Tail::Align, 400)?;
//! while let Some(mut window) = windows.next_window()? {
//!     normalize(&mut window.samples)?; // zero mean, unit variance: the model's `input_values`
//! }
//! # Ok::<(), mert_audio::AudioError>(())
//! ```
//!
//! Data flows one way, in blocks: [`AudioFile`] or [`RawPcm`] (mono, at the source's rate), then
//! [`Resampler`], then [`Windows`], then [`normalize`]. Memory does not grow with the length of a file.

mod decode;
mod duration;
mod error;
mod normalize;
mod raw;
mod resample;
mod signature;
mod track;
mod window;

pub use decode::{AudioFile, AudioInfo, Damage, ReadOptions, ffmpeg_version};
pub use duration::Seconds;
pub use error::AudioError;
pub use normalize::{EPSILON, normalize};
pub use raw::RawPcm;
pub use resample::Resampler;
pub use signature::{Format, READ_EXTENSIONS, UNREAD_EXTENSIONS, identify};
pub use track::{Source, Track};
pub use window::{MAX_WHOLE_SECONDS, Tail, Window, WindowPolicy, Windows};

/// The result of reading audio.
pub type Result<T, E = AudioError> = std::result::Result<T, E>;
