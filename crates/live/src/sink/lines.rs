//! MIDI messages as lines of JSON.

use std::io::Write;

use serde::Serialize;

use super::MidiSink;
use crate::output::{Answer, Cause, TimedMidi};
use crate::{LiveError, Result};

/// A line for each message: its time in seconds, its bytes, why it is sent, and the answer that it belongs to.
pub struct LinesSink<W> {
    output: W,
}

#[derive(Serialize)]
struct Line<'a> {
    time: f64,
    bytes: [u8; 3],
    cause: Cause,
    #[serde(flatten)]
    answer: Option<&'a Answer>,
}

impl<W: Write + Send> LinesSink<W> {
    /// Lines to `output`.
    pub fn new(output: W) -> Self {
        LinesSink { output }
    }
}

impl<W: Write + Send> MidiSink for LinesSink<W> {
    fn send(&mut self, message: &TimedMidi) -> Result<()> {
        let TimedMidi { time, bytes, cause, ref answer, .. } = *message;
        let failed = |source| LiveError::Write { output: "the lines of messages".to_string(), source };
        let mut line = serde_json::to_vec(&Line { time, bytes, cause, answer: answer.as_deref() })
            .map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        // A whole line at once, and at once: another program may play it.
        self.output.write_all(&line).and_then(|()| self.output.flush()).map_err(failed)
    }
}
