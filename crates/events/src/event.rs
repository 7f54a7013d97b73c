//! An event: a segment of a recording with its token, its notes and its features.

use serde::{Deserialize, Serialize};

use crate::features::FEATURES;

/// A segment of a recording, from one onset to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// The index of the recording in the list of sources of the file that holds the event.
    pub source: u32,
    /// The start of the segment, in seconds from the start of the recording.
    pub start: f64,
    /// The end of the segment, in seconds from the start of the recording.
    pub end: f64,
    /// The token of the segment: a name of a centre of the vocabulary, never a quantity.
    pub token: u32,
    /// The first frame of the segment on the recording's grid of frames.
    pub first_frame: u64,
    /// The number of frames of the segment.
    pub frames: u32,
    /// The notes that start within the segment, ascending by start and key.
    pub notes: Vec<Note>,
    /// The values of [`FEATURES`], in that order; `None` where a value is not defined, such as the root without a pitch.
    pub features: [Option<f64>; FEATURES.len()],
    /// The length of the event over that of the event before it, in rhythmic units, as a reduced fraction.
    pub rhythm_ratio: Option<[u32; 2]>,
}

/// A note of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// The MIDI key number, 0 to 127; 69 is the A of 440 Hz.
    pub key: u8,
    /// The MIDI velocity, 1 to 127.
    pub velocity: u8,
    /// The start of the note, in seconds from the start of the recording.
    pub start: f64,
    /// The end of the note, in seconds from the start of the recording.
    pub end: f64,
}
