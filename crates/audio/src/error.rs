//! Errors of reading audio, with the time of damage and the command or option that helps.

use std::path::PathBuf;

use thiserror::Error;

/// Why a file or stream gave no audio, or not all of it. The file is named by whoever opened it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AudioError {
    /// The file could not be opened or read.
    #[error("cannot read {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The stream could not be read.
    #[error("cannot read the samples: {0}")]
    Read(#[from] std::io::Error),
    /// The file has no bytes.
    #[error("the file is empty")]
    EmptyFile,
    /// A container that is read more than once, where it can be only once.
    #[error("{container} cannot be read from a pipe: write it to a file first")]
    Pipe {
        /// The container's name.
        container: &'static str,
    },
    /// The first bytes match no known format, or the header cannot be read.
    #[error("not an audio file that can be read: {reason}")]
    UnknownFormat {
        /// The bytes or header field found.
        reason: String,
    },
    /// A file without audio, such as an HTML page or an image.
    #[error("not an audio file: this is {what}")]
    NotAudio {
        /// The kind of file, and what to do.
        what: &'static str,
    },
    /// A known container with nothing in it that can be decoded.
    #[error("no audio that can be decoded: {reason}")]
    UnknownCodec {
        /// What was found.
        reason: String,
    },
    /// Audio in a known format or codec that is not supported.
    #[error("{what} is not read: convert the file, `{command}`{}", if *.ffmpeg { ", or give --ffmpeg" } else { "" })]
    NotRead {
        /// The common name of the format or codec.
        what: String,
        /// The command that converts the file to FLAC.
        command: String,
        /// Whether ffmpeg could decode the file but was not enabled.
        ffmpeg: bool,
    },
    /// ffmpeg could not be run, or failed.
    #[error("ffmpeg: {reason}")]
    Ffmpeg {
        /// The system's reason, or the first lines that ffmpeg printed.
        reason: String,
    },
    /// A sample rate that no music has.
    #[error("a sample rate of {rate} Hz: between {min} and {max} Hz are taken", min = crate::resample::RATES.start(), max = crate::resample::RATES.end())]
    Rate {
        /// What was stated.
        rate: u32,
    },
    /// Damaged data.
    #[error("damaged at {seconds:.2} s: {reason}. Repair it, or take what can be decoded (--damaged keep)")]
    Damaged {
        /// Where, in seconds from the start.
        seconds: f64,
        /// The decoder's reason.
        reason: String,
    },
    /// The file ends before what it announces.
    #[error(
        "truncated: it ends after {found:.2} s{}. Fetch it again, or take what is there (--damaged keep)",
        .announced.map_or(String::new(), |announced| format!(" of {announced:.2} s"))
    )]
    Truncated {
        /// Seconds that were decoded.
        found: f64,
        /// Seconds that the file announces, where it does.
        announced: Option<f64>,
    },
    /// The file ends before what is needed to decode anything of it.
    #[error("truncated: {reason}. Fetch it again")]
    Incomplete {
        /// What is missing.
        reason: String,
    },
    /// The file changes its rate or channels, or is several streams one after another.
    #[error("the stream changes at {seconds:.2} s ({what}): split it into one file for each part")]
    Changes {
        /// Where, in seconds from the start.
        seconds: f64,
        /// What changes.
        what: String,
    },
    /// NaN, infinity or a number out of all proportion among the samples.
    #[error("sample {index} (at {seconds:.2} s) is {value:e}: a file of floats that some program wrote wrongly")]
    NotFinite {
        /// Which sample, at the source's rate.
        index: u64,
        /// Where, in seconds from the start.
        seconds: f64,
        /// What it is.
        value: f32,
    },
    /// Raw bytes that are not f32 samples.
    #[error(
        "raw sample {index} is {value:e}: these are not 32-bit little-endian floats of about -1 to 1 (16-bit integers \
         look like this)"
    )]
    NotFloatPcm {
        /// Which sample.
        index: u64,
        /// What it would be.
        value: f32,
    },
    /// A stream of f32 that ends within a sample.
    #[error("the stream ends within a sample: {bytes} bytes are no multiple of 4")]
    PartialSample {
        /// How many bytes there were.
        bytes: u64,
    },
    /// Samples at another rate than the model's were given where nothing resamples.
    #[error("these samples are at {found} Hz and the model takes {expected} Hz: resample them, as `Track` does")]
    WrongRate {
        /// The rate of the samples.
        found: u32,
        /// The rate that is needed.
        expected: u32,
    },
    /// Nothing is left to embed.
    #[error("{samples} samples at the model's rate, of which at least {needed} are needed: too short for an embedding")]
    TooShort {
        /// How many there are.
        samples: u64,
        /// How many the model needs, or a window where the tail is dropped.
        needed: usize,
    },
    /// Nothing but one value.
    #[error("silent: every sample is {value}, and there is nothing to normalise")]
    Silent {
        /// The value.
        value: f32,
    },
    /// Channels that are inverses of each other.
    #[error(
        "the channels cancel each other: every sample of their mean is 0, although they are not silent. Invert one of \
         them, or take one of them"
    )]
    ChannelsCancel,
    /// A whole track that is out of proportion.
    #[error(
        "longer than {limit} s, which is too much for one window: take `middle:30s` or `sliding:30s/30s` instead of `whole`"
    )]
    TooLong {
        /// The limit in seconds.
        limit: u32,
    },
    /// A window policy that cannot be read.
    #[error("`{found}` is no window: write `whole`, `middle:30s` or `sliding:5s/2.5s` (length/hop); {reason}")]
    Window {
        /// What was given.
        found: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A bug of a decoder, which was stopped.
    #[error("the decoder failed on it ({reason}): the file is damaged in a way that it does not expect")]
    DecoderPanicked {
        /// Its message.
        reason: String,
    },
}
