//! The notes of a Standard MIDI File beside a recording.
//!
//! Format: MIDI Manufacturers Association, "Standard MIDI Files 1.0", RP-001, 1996. The parser is `midly`.

mod clock;
mod pairing;

use midly::{Format, MetaMessage, MidiMessage, Timing, TrackEventKind};

use self::clock::Clock;
use self::pairing::Pairing;
use crate::{EventsError, Note, Result};

/// The channel of percussion in General MIDI, counted from 0. Its keys are instruments, not pitches.
const PERCUSSION: u8 = 9;

/// The notes of a MIDI file, and what was not as it should be.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MidiNotes {
    /// The notes of all channels but percussion, ascending by start and key.
    pub notes: Vec<Note>,
    /// The notes of the channel of percussion, which are left out.
    pub percussion: u64,
    /// The notes without an end. They end with their track.
    pub unended: u64,
    /// The notes that were struck while the same key of their channel sounded, which ends the earlier note.
    pub restruck: u64,
    /// The notes of no length, which are left out.
    pub empty: u64,
    /// The ends of notes that did not sound.
    pub stray_ends: u64,
    /// The changes of tempo.
    pub tempi: u64,
}

/// The notes of a file of format 0 or 1, with every change of tempo of every track, in ticks of a quarter note or of SMPTE.
///
/// # Errors
/// [`EventsError::DamagedMidi`] if any part of the file is damaged: nothing is left out silently.
/// [`EventsError::SequentialMidi`] for format 2.
pub fn read_midi(bytes: &[u8]) -> Result<MidiNotes> {
    let damaged = |error: midly::Error| EventsError::DamagedMidi(chain(&error));
    let (header, tracks) = midly::parse(bytes).map_err(damaged)?;
    if header.format == Format::Sequential {
        return Err(EventsError::SequentialMidi);
    }
    let declared = bytes.get(10..12).map_or(0, |count| usize::from(u16::from_be_bytes([count[0], count[1]])));
    let mut tempi = Vec::new();
    let mut result = MidiNotes::default();
    let mut played = Vec::new();
    let mut count = 0;
    for (index, track) in tracks.enumerate() {
        count += 1;
        let mut pairing = Pairing::default();
        let (mut tick, mut is_ended) = (0u64, false);
        for event in track.map_err(damaged)? {
            let event =
                event.map_err(|error| EventsError::DamagedMidi(format!("track {}: {}", index + 1, chain(&error))))?;
            tick += u64::from(event.delta.as_int());
            match event.kind {
                TrackEventKind::Meta(MetaMessage::Tempo(tempo)) => tempi.push((tick, tempo.as_int())),
                TrackEventKind::Meta(MetaMessage::EndOfTrack) => is_ended = true,
                TrackEventKind::Midi { channel, message } => match message {
                    MidiMessage::NoteOn { key, vel } if vel.as_int() > 0 => {
                        pairing.start(channel.as_int(), key.as_int(), vel.as_int(), tick);
                    }
                    MidiMessage::NoteOn { key, .. } | MidiMessage::NoteOff { key, .. } => {
                        pairing.end(channel.as_int(), key.as_int(), tick);
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        if !is_ended {
            return Err(EventsError::DamagedMidi(format!("track {} has no end-of-track event", index + 1)));
        }
        played.extend(pairing.finish(tick, &mut result));
    }
    if count != declared {
        return Err(EventsError::DamagedMidi(format!("its header declares {declared} tracks, and it has {count}")));
    }
    if let Timing::Metrical(ticks) = header.timing
        && ticks.as_int() == 0
    {
        return Err(EventsError::DamagedMidi("a quarter note has 0 ticks".into()));
    }
    if let Timing::Timecode(_, 0) = header.timing {
        return Err(EventsError::DamagedMidi("an SMPTE frame has 0 ticks".into()));
    }
    result.tempi = tempi.len() as u64;
    let clock = Clock::new(header.timing, tempi);
    for played in played {
        if played.channel == PERCUSSION {
            result.percussion += 1;
            continue;
        }
        let (start, end) = (clock.seconds(played.start), clock.seconds(played.end));
        if end > start {
            result.notes.push(Note { key: played.key, velocity: played.velocity, start, end });
        } else {
            result.empty += 1;
        }
    }
    result.notes.sort_by(|a, b| a.start.total_cmp(&b.start).then(a.key.cmp(&b.key)).then(a.end.total_cmp(&b.end)));
    Ok(result)
}

/// The messages of an error and of its causes.
fn chain(error: &midly::Error) -> String {
    let mut message = error.kind().message().to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message = format!("{message}: {}", error.kind().message());
        cause = error.source();
    }
    message
}

#[cfg(test)]
mod tests;
