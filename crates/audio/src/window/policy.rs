//! The window policy and the tail policy, as users write them and as metadata records them.

use std::fmt;
use std::str::FromStr;

use crate::duration::Seconds;
use crate::{AudioError, Result};

/// The length in seconds of the longest window, and of the longest track that fits into one window: time and memory of
/// a forward pass grow with its square.
pub const MAX_WINDOW_SECONDS: u32 = 600;

/// The parts of a track that are embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowPolicy {
    /// The whole track as one window.
    Whole,
    /// One window of this length from the middle of the track; all of a shorter track.
    Middle(Seconds),
    /// A window of `length` at each multiple of `hop`; all of a shorter track as one window.
    Sliding {
        /// The length of each window.
        length: Seconds,
        /// The distance between the starts of two windows.
        hop: Seconds,
    },
}

/// The treatment of the remainder of a track that sliding windows do not cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tail {
    /// One more window, which ends with the track.
    #[default]
    Align,
    /// A shorter window at the next hop, if it has at least a second.
    Keep,
    /// No window, not even for a track that is shorter than one.
    Drop,
}

impl WindowPolicy {
    /// A window of `seconds` from the middle of a track.
    ///
    /// # Errors
    /// [`AudioError::InvalidWindow`] for a length that is not positive, or above [`MAX_WINDOW_SECONDS`].
    pub fn middle(seconds: f64) -> Result<Self> {
        let found = format!("middle:{seconds}s");
        let length = Seconds::new(seconds).ok_or_else(|| AudioError::invalid_window(&found, "invalid length"))?;
        Ok(WindowPolicy::Middle(check_length(&found, length)?))
    }
}

/// Refuses a window that is too long for a forward pass; `policy` is the text for the error.
fn check_length(policy: &str, length: Seconds) -> Result<Seconds> {
    match length.get() > f64::from(MAX_WINDOW_SECONDS) {
        true => Err(AudioError::invalid_window(policy, format!("a window has at most {MAX_WINDOW_SECONDS} s"))),
        false => Ok(length),
    }
}

impl FromStr for WindowPolicy {
    type Err = AudioError;

    fn from_str(text: &str) -> Result<Self> {
        let seconds = |part: &str| part.parse::<Seconds>().map_err(|reason| AudioError::invalid_window(text, reason));
        let length = |part: &str| check_length(text, seconds(part)?);
        match text.split_once(':') {
            None if text == "whole" => Ok(WindowPolicy::Whole),
            Some(("middle", middle)) => Ok(WindowPolicy::Middle(length(middle)?)),
            Some(("sliding", rest)) => {
                let (window, hop) = rest.split_once('/').unwrap_or((rest, rest));
                Ok(WindowPolicy::Sliding { length: length(window)?, hop: seconds(hop)? })
            }
            _ => Err(AudioError::invalid_window(text, "expected `whole`, `middle:SECONDS` or `sliding:LENGTH/HOP`")),
        }
    }
}

impl fmt::Display for WindowPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WindowPolicy::Whole => f.write_str("whole"),
            WindowPolicy::Middle(length) => write!(f, "middle:{length}"),
            WindowPolicy::Sliding { length, hop } => write!(f, "sliding:{length}/{hop}"),
        }
    }
}

impl FromStr for Tail {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "align" => Ok(Tail::Align),
            "keep" => Ok(Tail::Keep),
            "drop" => Ok(Tail::Drop),
            _ => Err(format!("invalid tail `{text}`: expected `align`, `keep` or `drop`")),
        }
    }
}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tail::Align => "align",
            Tail::Keep => "keep",
            Tail::Drop => "drop",
        })
    }
}
