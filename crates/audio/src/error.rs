//! The error enum of this crate. Messages state the time of damage and the command or option that helps; the caller
//! adds the file's name.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::rate::RATES;

/// The reason why a file or stream yields no audio, or only a part of it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AudioError {
    /// The file cannot be opened or read.
    #[error("cannot read {path}: {source}")]
    Open {
        /// The path of the file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The stream cannot be read.
    #[error("cannot read the samples: {0}")]
    Read(#[from] io::Error),
    /// The file has no bytes.
    #[error("the file is empty")]
    EmptyFile,
    /// The container must be read more than once, and a pipe allows only one pass.
    #[error("{container} cannot be read from a pipe: write it to a file first")]
    NotSeekable {
        /// The name of the container.
        container: &'static str,
    },
    /// The first bytes match no known format, or the header is invalid.
    #[error("not an audio file, or a damaged one: {reason}")]
    UnknownFormat {
        /// The bytes or the header field that were found.
        reason: String,
    },
    /// The file holds no audio, such as an HTML page or an image.
    #[error("not an audio file: this is {what}")]
    NotAudio {
        /// The kind of file, and what to do.
        what: &'static str,
    },
    /// A known container holds nothing that can be decoded.
    #[error("no audio that can be decoded: {reason}")]
    UnknownCodec {
        /// The codec or the feature that was found.
        reason: String,
    },
    /// The audio has a known format or codec that is not supported.
    #[error("{what} is not supported: convert the file with `{command}`{}", if *.ffmpeg { ", or use --ffmpeg" } else { "" })]
    Unsupported {
        /// The common name of the format or codec.
        what: String,
        /// The command that converts the file to FLAC.
        command: String,
        /// Whether ffmpeg could decode the file but is not enabled.
        ffmpeg: bool,
    },
    /// The program ffmpeg cannot be run, or failed.
    #[error("ffmpeg: {reason}")]
    Ffmpeg {
        /// The operating system's error, or the first lines that ffmpeg printed.
        reason: String,
    },
    /// The sample rate is outside the supported range.
    #[error("invalid sample rate {rate} Hz: expected {min} to {max} Hz", min = RATES.start(), max = RATES.end())]
    InvalidRate {
        /// The stated rate in hertz.
        rate: u32,
    },
    /// The data is damaged.
    #[error("damaged at {seconds:.2} s: {reason}. Repair the file, or use what can be decoded (--damaged keep)")]
    Damaged {
        /// The time in seconds from the start.
        seconds: f64,
        /// The decoder's reason.
        reason: String,
    },
    /// The file ends before the length that it states.
    #[error(
        "truncated: it ends after {found:.2} s{}. Download it again, or use what is there (--damaged keep)",
        .announced.map_or(String::new(), |announced| format!(" of {announced:.2} s"))
    )]
    Truncated {
        /// The decoded length in seconds.
        found: f64,
        /// The stated length in seconds, if there is one.
        announced: Option<f64>,
    },
    /// The file ends before a part without which nothing can be decoded.
    #[error("truncated: {reason}. Download it again")]
    Incomplete {
        /// The part that is missing.
        reason: String,
    },
    /// The file changes its sample rate or channels, or consists of several streams in a row.
    #[error("the stream changes at {seconds:.2} s ({what}): split the file there")]
    StreamChanged {
        /// The time in seconds from the start.
        seconds: f64,
        /// The property that changes.
        what: String,
    },
    /// A sample is NaN, infinite or out of all proportion.
    #[error("sample {index} (at {seconds:.2} s) is {value:e}: the file's floats are invalid")]
    NotFinite {
        /// The index of the sample, at the source's rate.
        index: u64,
        /// The time in seconds from the start.
        seconds: f64,
        /// The value of the sample.
        value: f32,
    },
    /// Raw bytes do not look like f32 samples.
    #[error(
        "raw sample {index} is {value:e}: expected 32-bit little-endian floats of about -1 to 1 (16-bit integers look \
         like this)"
    )]
    NotFloatPcm {
        /// The index of the sample.
        index: u64,
        /// The value of the sample.
        value: f32,
    },
    /// A raw stream ends within a sample.
    #[error("the stream ends within a sample: {bytes} bytes, expected a multiple of 4")]
    PartialSample {
        /// The length of the stream in bytes.
        bytes: u64,
    },
    /// Samples have another rate than the model's, where nothing resamples them.
    #[error("the samples are at {found} Hz and the model takes {expected} Hz: resample them, as `Track` does")]
    RateMismatch {
        /// The rate of the samples in hertz.
        found: u32,
        /// The rate of the model in hertz.
        expected: u32,
    },
    /// The audio is shorter than the shortest window.
    #[error("too short for an embedding: {samples} samples at the model's rate, expected at least {needed}")]
    TooShort {
        /// The number of samples at the model's rate.
        samples: u64,
        /// The smallest number that the model takes; a whole window if the tail is dropped.
        needed: usize,
    },
    /// All samples have one value.
    #[error("silent: every sample is {value}, which cannot be normalised")]
    Silent {
        /// The value of all samples.
        value: f32,
    },
    /// The channels are inverses of each other.
    #[error(
        "the channels cancel each other: their mean is silent although they are not. Invert one of them, or use only one"
    )]
    ChannelsCancel,
    /// The track is too long for one window.
    #[error(
        "longer than {limit} s, the most that one window may have: use `middle:30s` or `sliding:30s/30s` instead of `whole`"
    )]
    TooLong {
        /// The limit in seconds.
        limit: u32,
    },
    /// The window policy is invalid, or does not apply to the source.
    #[error("invalid window `{found}`: {reason}")]
    InvalidWindow {
        /// The policy as it was given.
        found: String,
        /// The problem, and what was expected.
        reason: String,
    },
    /// The decoder panicked, which was caught.
    #[error("the decoder panicked ({reason}): the file is damaged in a way that the decoder does not expect")]
    DecoderPanicked {
        /// The message of the panic.
        reason: String,
    },
}

impl AudioError {
    /// An error of the operating system about the file at `path`.
    pub(crate) fn open(path: &Path) -> impl Fn(io::Error) -> Self + Copy {
        move |source| AudioError::Open { path: path.to_path_buf(), source }
    }

    pub(crate) fn unknown_format(reason: impl Into<String>) -> Self {
        AudioError::UnknownFormat { reason: reason.into() }
    }

    pub(crate) fn unknown_codec(reason: impl Into<String>) -> Self {
        AudioError::UnknownCodec { reason: reason.into() }
    }

    pub(crate) fn ffmpeg(reason: impl Into<String>) -> Self {
        AudioError::Ffmpeg { reason: reason.into() }
    }

    pub(crate) fn incomplete(reason: impl Into<String>) -> Self {
        AudioError::Incomplete { reason: reason.into() }
    }

    pub(crate) fn stream_changed(seconds: f64, what: impl Into<String>) -> Self {
        AudioError::StreamChanged { seconds, what: what.into() }
    }

    pub(crate) fn invalid_window(found: impl Display, reason: impl Into<String>) -> Self {
        AudioError::InvalidWindow { found: found.to_string(), reason: reason.into() }
    }
}
