//! A Standard MIDI File of chosen events.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use midly::num::{u4, u7, u15, u24, u28};
use midly::{Format, Header, MetaMessage, MidiMessage, Smf, Timing, TrackEvent, TrackEventKind};

use super::placement::{Placed, ringing_ends};
use crate::{EventsError, Result};

/// Ticks of a quarter note, a usual number that 2, 3 and 5 divide.
const TICKS: u16 = 960;

/// The settings by which the notes of events are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MidiOptions {
    /// Quarter notes per minute, 4 to 1000. The notes sound at the same times with any tempo; it is the grid that differs.
    pub tempo: f64,
    /// Semitones by which notes are moved.
    pub transpose: i32,
    /// The lowest and the highest key. Notes outside are moved into it by octaves, so it is at least an octave.
    pub range: (u8, u8),
    /// The channel, 0 to 15.
    pub channel: u8,
    /// The program of General MIDI, 0 to 127, if one is to be set.
    pub program: Option<u8>,
}

impl Default for MidiOptions {
    fn default() -> Self {
        MidiOptions { tempo: 120.0, transpose: 0, range: (0, 127), channel: 0, program: None }
    }
}

impl MidiOptions {
    /// # Errors
    /// [`EventsError::Setting`] for an option outside its range.
    pub fn check(&self) -> Result<()> {
        EventsError::check_range("tempo", self.tempo, 4.0, 1000.0)?;
        EventsError::check_range("transposition", self.transpose.into(), -127.0, 127.0)?;
        let (low, high) = self.range;
        EventsError::check_range("highest key", high.into(), 11.0, 127.0)?;
        EventsError::check_range("lowest key", low.into(), 0.0, f64::from(high) - 11.0)?;
        EventsError::check_range("channel", self.channel.into(), 0.0, 15.0)?;
        EventsError::check_range("program", self.program.unwrap_or(0).into(), 0.0, 127.0)
    }

    /// The key that is written for a note's key, and whether it was moved into the range.
    pub fn key(&self, key: u8) -> (u8, bool) {
        let moved = i32::from(key) + self.transpose;
        let (low, high) = (i32::from(self.range.0), i32::from(self.range.1));
        let folded = if moved < low {
            moved + (low - moved + 11) / 12 * 12
        } else if moved > high {
            moved - (moved - high + 11) / 12 * 12
        } else {
            moved
        };
        // The range is at least an octave, so that this is in it.
        (u8::try_from(folded.clamp(low, high)).unwrap_or(0), folded != moved)
    }
}

/// The numbers of notes that were written and changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MidiReport {
    /// The notes that are written.
    pub notes: u64,
    /// The notes that were moved into the range by octaves.
    pub folded: u64,
    /// The notes that end early, because their event does or because their key is struck again.
    pub shortened: u64,
    /// The notes that start with another one of their key, and became one with it.
    pub joined: u64,
    /// The notes that start after their event has ended, which are not written.
    pub left_out: u64,
}

/// A note in ticks.
#[derive(Debug, Clone, Copy)]
struct Tone {
    start: u64,
    end: u64,
    velocity: u8,
}

/// The bytes of a file of format 0. The same events give the same bytes; every note has its end, and no key overlaps itself.
///
/// A note that starts before its event starts with it. It ends at its own end, or where the events that follow in the recording
/// cease to follow ([`ringing_ends`]).
///
/// # Errors
/// [`EventsError::Setting`] for an option outside its range, or a time that is not finite, negative or above 10⁵ s.
pub fn midi_file(placed: &[Placed<'_>], options: &MidiOptions) -> Result<(Vec<u8>, MidiReport)> {
    options.check()?;
    let mut report = MidiReport::default();
    // What is written is a whole number of microseconds, and times are in its ticks.
    let tempo = (60e6 / options.tempo).round();
    let tick = |seconds: f64| (seconds * 1e6 / tempo * f64::from(TICKS)).round() as u64;
    let mut by_key: BTreeMap<u8, Vec<Tone>> = BTreeMap::new();
    let mut end_of_track = 0;
    for (Placed { event, start }, ring) in placed.iter().zip(ringing_ends(placed)) {
        EventsError::check_range("start of an event", *start, 0.0, 1e5)?;
        EventsError::check_range("end of an event", ring, *start, 1e5)?;
        end_of_track = end_of_track.max(tick(start + event.end - event.start));
        for note in &event.notes {
            let from = (start + note.start - event.start).max(*start);
            let wanted = start + note.end - event.start;
            let until = wanted.min(ring);
            if from.partial_cmp(&until) != Some(Ordering::Less) {
                report.left_out += 1;
                continue;
            }
            report.shortened += u64::from(until < wanted - 1e-9);
            let (key, is_folded) = options.key(note.key);
            report.folded += u64::from(is_folded);
            let tone =
                Tone { start: tick(from), end: tick(until).max(tick(from) + 1), velocity: note.velocity.clamp(1, 127) };
            by_key.entry(key).or_default().push(tone);
        }
    }
    // Ends come before starts at the same tick, both by key.
    let mut messages: Vec<(u64, bool, u8, u8)> = Vec::new();
    for (key, tones) in by_key {
        for tone in apart(tones, &mut report) {
            report.notes += 1;
            end_of_track = end_of_track.max(tone.end);
            messages.push((tone.start, true, key, tone.velocity));
            messages.push((tone.end, false, key, 0));
        }
    }
    messages.sort_unstable();
    Ok((encode(&messages, end_of_track, tempo as u32, options)?, report))
}

/// The tones of a key without overlap: of those that start together the longest end and the greatest velocity, and each ends
/// where the next one starts at the latest.
fn apart(mut tones: Vec<Tone>, report: &mut MidiReport) -> Vec<Tone> {
    tones.sort_by_key(|tone| (tone.start, tone.end));
    let mut apart: Vec<Tone> = Vec::with_capacity(tones.len());
    for tone in tones {
        match apart.last_mut() {
            Some(last) if last.start == tone.start => {
                last.end = last.end.max(tone.end);
                last.velocity = last.velocity.max(tone.velocity);
                report.joined += 1;
            }
            Some(last) if last.end > tone.start => {
                last.end = tone.start;
                report.shortened += 1;
                apart.push(tone);
            }
            _ => apart.push(tone),
        }
    }
    apart
}

/// The file of messages: tick, whether it is a start, key and velocity.
fn encode(messages: &[(u64, bool, u8, u8)], end: u64, tempo: u32, options: &MidiOptions) -> Result<Vec<u8>> {
    let channel = u4::from(options.channel);
    let midi = |message| TrackEventKind::Midi { channel, message };
    let mut track =
        vec![TrackEvent { delta: u28::from(0), kind: TrackEventKind::Meta(MetaMessage::Tempo(u24::from(tempo))) }];
    if let Some(program) = options.program {
        let kind = midi(MidiMessage::ProgramChange { program: u7::from(program) });
        track.push(TrackEvent { delta: u28::from(0), kind });
    }
    let mut before = 0;
    let mut delta = |tick: u64| {
        let delta = u32::try_from(tick - before).ok().and_then(u28::try_from);
        before = tick;
        let expected = "pauses of less than 268,435,456 ticks".to_string();
        delta.ok_or(EventsError::Setting { name: "pause before a note", found: format!("of {tick} ticks"), expected })
    };
    for &(tick, is_start, key, velocity) in messages {
        let (key, vel) = (u7::from(key), u7::from(velocity));
        let message = if is_start { MidiMessage::NoteOn { key, vel } } else { MidiMessage::NoteOff { key, vel } };
        track.push(TrackEvent { delta: delta(tick)?, kind: midi(message) });
    }
    track.push(TrackEvent { delta: delta(end)?, kind: TrackEventKind::Meta(MetaMessage::EndOfTrack) });
    let mut smf = Smf::new(Header::new(Format::SingleTrack, Timing::Metrical(u15::from(TICKS))));
    smf.tracks.push(track);
    let mut bytes = Vec::new();
    smf.write_std(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
#[path = "midi_tests.rs"]
mod tests;
