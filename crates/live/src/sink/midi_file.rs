//! MIDI messages as a Standard MIDI File, which is written at the end of a session.

use std::io::Write;
use std::path::PathBuf;

use mert_fs::AtomicFile;
use midly::live::LiveEvent;
use midly::num::{u15, u24, u28};
use midly::{Format, Header, MetaMessage, Smf, Timing, TrackEvent, TrackEventKind};

use super::MidiSink;
use crate::output::TimedMidi;
use crate::{LiveError, Result};

/// Ticks of a quarter note, and quarter notes of 500,000 µs: 1920 ticks a second.
const TICKS: u16 = 960;
const TEMPO: u32 = 500_000;
const TICKS_PER_SECOND: f64 = 1920.0;

/// A file of all messages at their times.
pub struct MidiFileSink {
    path: PathBuf,
    force: bool,
    messages: Vec<(u64, [u8; 3])>,
}

impl MidiFileSink {
    /// The file `path`, which is replaced only if `force`.
    pub fn new(path: PathBuf, force: bool) -> Self {
        MidiFileSink { path, force, messages: Vec::new() }
    }

    /// The bytes of the file.
    fn encode(&self) -> std::io::Result<Vec<u8>> {
        let mut track =
            vec![TrackEvent { delta: u28::from(0), kind: TrackEventKind::Meta(MetaMessage::Tempo(u24::from(TEMPO))) }];
        let mut before = 0;
        for (tick, bytes) in &self.messages {
            let event = LiveEvent::parse(bytes)
                .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string()))?;
            let delta = u28::from(u32::try_from(tick - before).unwrap_or(u32::MAX).min((1 << 28) - 1));
            before = *tick;
            if let LiveEvent::Midi { channel, message } = event {
                track.push(TrackEvent { delta, kind: TrackEventKind::Midi { channel, message } });
            }
        }
        track.push(TrackEvent { delta: u28::from(0), kind: TrackEventKind::Meta(MetaMessage::EndOfTrack) });
        let mut smf = Smf::new(Header::new(Format::SingleTrack, Timing::Metrical(u15::from(TICKS))));
        smf.tracks.push(track);
        let mut bytes = Vec::new();
        smf.write_std(&mut bytes)?;
        Ok(bytes)
    }
}

impl MidiSink for MidiFileSink {
    fn send(&mut self, message: &TimedMidi) -> Result<()> {
        // Messages are sent in order; a time that goes back would make the file unreadable.
        let last = self.messages.last().map_or(0, |(tick, _)| *tick);
        let tick = (message.time * TICKS_PER_SECOND).round() as u64;
        self.messages.push((tick.max(last), message.bytes));
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        let failed = |source| LiveError::Write { output: self.path.display().to_string(), source };
        let bytes = self.encode().map_err(failed)?;
        let mut file = AtomicFile::create(&self.path, self.force)?;
        file.file_mut().write_all(&bytes).map_err(failed)?;
        file.commit()?;
        Ok(())
    }
}
