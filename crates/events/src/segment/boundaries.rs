//! The starts of the events of a recording.

use super::TokenFrames;
use crate::level::level;
use crate::rhythm::PhraseSettings;
use crate::{EventsError, Result};

/// The rules of the events of a recording.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SegmentSettings {
    /// The shortest event in seconds. An onset that follows another sooner is left out.
    pub min_length: f64,
    /// How long before an onset a note may start that belongs to it, in seconds: onsets of sound and of MIDI differ by it.
    pub note_lead: f64,
    /// The level in dBFS (RMS) below which the sound before the first onset is not an event.
    pub silence: f64,
    /// The rules of phrases.
    pub phrases: PhraseSettings,
}

impl Default for SegmentSettings {
    /// Events of 0.1 s at least, which have seven frames of MERT; notes from 30 ms before an onset on; silence below −60 dBFS.
    fn default() -> Self {
        SegmentSettings { min_length: 0.1, note_lead: 0.03, silence: -60.0, phrases: PhraseSettings::default() }
    }
}

impl SegmentSettings {
    /// # Errors
    /// [`EventsError::Setting`] for a value outside its range.
    pub fn check(&self) -> Result<()> {
        EventsError::check_range("shortest event", self.min_length, 0.0, 60.0)?;
        EventsError::check_range("lead of notes", self.note_lead, 0.0, 1.0)?;
        EventsError::check_range("silence", self.silence, -200.0, 0.0)?;
        self.phrases.check()
    }
}

/// The starts of the events of a recording.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Boundaries {
    /// The starts in seconds, ascending. An event ends where the next one starts, the last with the recording.
    pub starts: Vec<f64>,
    /// The onsets that were left out because they came too soon after another, or at the very end.
    pub merged_short: usize,
    /// The onsets that were left out because no frame lay between them and the next one.
    pub merged_without_frame: usize,
    /// True if the sound before the first onset is an event.
    pub has_lead_in: bool,
}

/// The starts of the events: the onsets that are far enough apart and have a frame. The sound before the first of them is an
/// event if it is long enough and not silent, and if there are no onsets at all.
///
/// # Errors
/// [`EventsError::Onsets`] for onsets that do not ascend, and [`EventsError::Setting`].
pub fn boundaries(
    samples: &[f32],
    duration: f64,
    onsets: &[f64],
    frames: &TokenFrames<'_>,
    settings: &SegmentSettings,
) -> Result<Boundaries> {
    settings.check()?;
    EventsError::check_range("duration", duration, 0.0, 1e9)?;
    crate::rhythm::check(onsets)?;
    let mut result =
        Boundaries { has_lead_in: has_lead_in(samples, duration, onsets, settings), ..Boundaries::default() };
    let lead_in = result.has_lead_in.then_some(0.0);
    let mut starts: Vec<f64> = Vec::with_capacity(onsets.len() + 1);
    let inside = |onset: &&f64| **onset >= 0.0 && **onset < duration;
    result.merged_short = onsets.len() - onsets.iter().filter(inside).count();
    for start in lead_in.into_iter().chain(onsets.iter().filter(inside).copied()) {
        let is_short = starts.last().is_some_and(|last| start - last < settings.min_length)
            || (duration - start < settings.min_length && !starts.is_empty());
        if is_short {
            result.merged_short += 1;
        } else {
            starts.push(start);
        }
    }
    // From the end, so that an event without a frame becomes a part of the one before it.
    let mut end = duration;
    let mut kept = Vec::with_capacity(starts.len());
    for (index, &start) in starts.iter().enumerate().rev() {
        if frames.between(start, end).1 > 0 {
            kept.push(start);
            end = start;
        } else if index == 0 {
            // There is none before it: the next one starts earlier.
            if let Some(next) = kept.last_mut() {
                *next = start;
            }
            result.merged_without_frame += 1;
        } else {
            result.merged_without_frame += 1;
        }
    }
    kept.reverse();
    result.starts = kept;
    Ok(result)
}

/// True if the sound before the first onset is an event.
fn has_lead_in(samples: &[f32], duration: f64, onsets: &[f64], settings: &SegmentSettings) -> bool {
    let Some(&first) = onsets.first() else {
        return duration > 0.0;
    };
    if first < settings.min_length.max(f64::MIN_POSITIVE) {
        return false;
    }
    let count = (samples.len() as f64 * (first / duration).min(1.0)) as usize;
    level(&samples[..count]).rms >= settings.silence
}
