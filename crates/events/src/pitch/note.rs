//! The note of a segment of sound.

use super::{Pitch, PitchTracker};
use crate::Note;
use crate::level::decibels;

/// The share of the frames of a segment that must have a pitch.
const VOICED: f64 = 0.4;

/// The MIDI key of a frequency, 69 being 440 Hz; `None` if it is none of 0 to 127.
pub fn key_of(hertz: f64) -> Option<u8> {
    let key = (69.0 + 12.0 * (hertz / 440.0).log2()).round();
    (0.0..=127.0).contains(&key).then_some(key as u8)
}

/// The MIDI velocity of a root mean square: 1 at −50 dBFS and below, 127 at −6 dBFS and above, linear in decibels between.
/// There is no standard for it; most synthesisers have a range of about 40 dB.
pub fn velocity_of(rms: f64) -> u8 {
    (1.0 + 126.0 * (decibels(rms) + 50.0) / 44.0).round().clamp(1.0, 127.0) as u8
}

/// The note of the samples from `start` to `end` of a recording: the key of the median pitch of frames a quarter of their
/// length apart, the velocity of the loudest of them. `None` if fewer than 40% of the frames have a pitch, or fewer than a
/// third of those with one have this key, as in a glide.
///
/// A segment that is shorter than a frame has one frame, which starts with it and ends after it; at the end of the
/// recording, none.
pub fn note_of(tracker: &mut PitchTracker, samples: &[f32], start: usize, end: usize, rate: u32) -> Option<Note> {
    let end = end.min(samples.len());
    let frame = tracker.frame();
    let last = end.saturating_sub(frame).max(start);
    let mut frames = 0u32;
    let mut pitches: Vec<Pitch> = Vec::new();
    for first in (start..=last).step_by(frame / 4) {
        if let Some(samples) = samples.get(first..first + frame) {
            frames += 1;
            pitches.extend(tracker.pitch(samples));
        }
    }
    if pitches.is_empty() || (pitches.len() as f64) < VOICED * f64::from(frames) {
        return None;
    }
    pitches.sort_by(|a, b| a.hertz.total_cmp(&b.hertz));
    let key = key_of(pitches[pitches.len() / 2].hertz)?;
    if pitches.iter().filter(|pitch| key_of(pitch.hertz) == Some(key)).count() * 3 < pitches.len() {
        return None;
    }
    let loudest = pitches.iter().map(|pitch| pitch.rms).fold(0.0, f64::max);
    let seconds = |sample: usize| sample as f64 / f64::from(rate);
    Some(Note { key, velocity: velocity_of(loudest), start: seconds(start), end: seconds(end) })
}
