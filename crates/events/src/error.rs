//! The reasons why events are not computed, read or written. Messages about a file begin with "it" or the line, because the
//! caller names the file.

use thiserror::Error;

/// The reason why events are not computed, read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EventsError {
    /// A setting is outside its range.
    #[error("invalid {name} {found}: expected {expected}")]
    Setting {
        /// The name of the setting.
        name: &'static str,
        /// The value.
        found: String,
        /// The range.
        expected: String,
    },
    /// Onsets do not ascend, or one is not a finite number.
    #[error(
        "invalid onset {index}, {found} s: expected finite times in ascending order, and the one before is {before} s"
    )]
    Onsets {
        /// The index of the onset.
        index: usize,
        /// Its time in seconds.
        found: f64,
        /// The time of the onset before it.
        before: f64,
    },
    /// The MIDI file is damaged, or no Standard MIDI File.
    #[error("it is not a valid Standard MIDI File ({0}): export it again from the program that wrote it")]
    DamagedMidi(String),
    /// The MIDI file is of format 2, whose tracks are independent pieces.
    #[error("it is a MIDI file of format 2, whose tracks are independent pieces: save it as format 0 or 1")]
    SequentialMidi,
    /// A line of a file of events is invalid.
    #[error("line {line}: {problem}")]
    Line {
        /// The number of the line, from 1.
        line: usize,
        /// The value that was expected, and the one that was found.
        problem: String,
    },
    /// A segment of sound lies outside its recording.
    #[error(
        "segment {index} is samples {start} to {end} of a recording of {length} samples: analyse the recording again"
    )]
    Segment {
        /// The index of the segment.
        index: usize,
        /// Its first sample.
        start: usize,
        /// The sample after its last.
        end: usize,
        /// The length of the recording.
        length: usize,
    },
    /// A WAV file could not be written.
    #[error("cannot write the WAV file: {0}")]
    Wav(#[from] hound::Error),
    /// A file could not be written.
    #[error("cannot write: {0}")]
    Write(#[from] std::io::Error),
}

impl EventsError {
    /// An error of a setting that is not a finite number in `low..=high`, or else `Ok`.
    pub(crate) fn check_range(name: &'static str, value: f64, low: f64, high: f64) -> Result<(), Self> {
        if value.is_finite() && (low..=high).contains(&value) {
            return Ok(());
        }
        Err(EventsError::Setting { name, found: value.to_string(), expected: format!("a number from {low} to {high}") })
    }

    /// An error of a setting that must be above zero, or else `Ok`.
    pub(crate) fn check_rate(rate: u32) -> Result<(), Self> {
        Self::check_range("sample rate", f64::from(rate), 4000.0, 768_000.0)
    }
}
