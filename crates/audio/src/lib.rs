//! Decoding, resampling, windows and normalisation: from an audio file to the input of a MERT or HuBERT model.
//!
//! ```
//! use mert_audio::{Damage, Tail, Track, WindowPolicy, normalize};
//!
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/audio/24k-mono.ogg");
//! let track = Track::open(path.as_ref(), 24_000, Damage::Refuse)?; // decoded, mixed to mono, resampled to 24 kHz
//! let policy: WindowPolicy = "sliding:1s/0.5s".parse()?;
//! let mut windows = track.windows(&policy, Tail::Align, 400)?;
//! let mut starts = Vec::new();
//! while let Some(mut window) = windows.next_window()? {
//!     normalize(&mut window.samples)?; // zero mean, unit variance: the model's `input_values`
//!     starts.push((window.start, window.samples.len()));
//! }
//! // The track has 2.3 s; the last window ends with it.
//! assert_eq!(starts, [(0, 24_000), (12_000, 24_000), (24_000, 24_000), (31_200, 24_000)]);
//! # Ok::<(), mert_audio::AudioError>(())
//! ```
//!
//! Data flows one way, in blocks: a [`Source`] ([`AudioFile`] or [`RawPcm`]: mono, at the source's rate), then
//! [`Resampler`], then [`Windows`], then [`normalize()`]. Memory does not grow with the length of a file.
//!
//! | | |
//! |---|---|
//! | `decode/` | audio files: containers, codecs, and what symphonia does not do |
//! | `signature/` | the format of a file by its first bytes; it shares `id3v2.rs` and `mpeg.rs` with `decode/` |
//! | `raw.rs`, `source.rs`, `shared.rs` | raw samples, the interface of everything that yields samples, and one source for several readers |
//! | `resample.rs`, `window/`, `normalize.rs` | the other steps; `track.rs` combines them for a file |
//! | `generated.rs` | clips for when no recording is available |

mod decode;
mod duration;
mod error;
mod generated;
mod id3v2;
mod mpeg;
mod normalize;
mod rate;
mod raw;
mod resample;
mod shared;
mod signature;
mod source;
mod track;
mod window;

pub use decode::{AudioFile, AudioInfo, Damage, ReadOptions, ffmpeg_version};
pub use duration::Seconds;
pub use error::AudioError;
pub use generated::{music_like, music_piece};
pub use normalize::normalize;
pub use raw::RawPcm;
pub use resample::Resampler;
pub use shared::SharedSource;
pub use signature::{Format, SUPPORTED_EXTENSIONS, has_audio_extension, identify};
pub use source::Source;
pub use track::Track;
pub use window::{MAX_WINDOW_SECONDS, Tail, Window, WindowPolicy, Windows};

/// The result of reading audio.
pub type Result<T, E = AudioError> = std::result::Result<T, E>;
