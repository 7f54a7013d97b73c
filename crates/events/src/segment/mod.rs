//! The events of a recording: its segments from onset to onset, with tokens, notes and features.

mod boundaries;
mod frames;
mod live;
mod notes;

pub use self::boundaries::{Boundaries, SegmentSettings, boundaries};
pub use self::frames::TokenFrames;
pub use self::live::LiveEvents;
pub use self::notes::note_onsets;

use self::notes::sounding_keys;
use crate::consonance::consonance;
use crate::pitch::{PitchTracker, note_of};
use crate::rhythm::{RhythmValues, rhythm_values};
use crate::{Event, FEATURES, Note, Result};

/// The events of a recording, and what was merged on the way.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Analysis {
    /// The events in order of time.
    pub events: Vec<Event>,
    /// The share of each event's frames that have its token.
    pub token_shares: Vec<f64>,
    /// The onsets that were left out because they came too soon after another.
    pub merged_short: usize,
    /// The onsets that were left out because no frame lay between them and the next one.
    pub merged_without_frame: usize,
    /// True if the sound before the first onset is an event.
    pub has_lead_in: bool,
}

/// The origin of the notes of a recording.
#[derive(Debug)]
pub enum NoteSource<'a> {
    /// Notes that are known, such as those of a MIDI file, ascending by start.
    Known(&'a [Note]),
    /// A tracker, for a note a segment; with the rate of the samples.
    Tracker(&'a mut PitchTracker, u32),
}

/// The events of a recording.
///
/// `samples` are mono at `rate`; they may be empty if the notes are known. `onsets` are in seconds and ascend, `frames` are the
/// tokens of the whole recording, `source` is the index of the recording. A recording without onsets is one event. Without
/// frames there are no events.
///
/// # Errors
/// [`crate::EventsError::Onsets`], and [`crate::EventsError::Setting`].
pub fn analyse(
    samples: &[f32],
    duration: f64,
    onsets: &[f64],
    frames: &TokenFrames<'_>,
    mut notes: NoteSource<'_>,
    source: u32,
    settings: &SegmentSettings,
) -> Result<Analysis> {
    let boundaries = boundaries(samples, duration, onsets, frames, settings)?;
    let rhythm = rhythm_values(&boundaries.starts, &settings.phrases)?;
    let mut analysis = Analysis {
        merged_short: boundaries.merged_short,
        merged_without_frame: boundaries.merged_without_frame,
        has_lead_in: boundaries.has_lead_in,
        ..Analysis::default()
    };
    let mut before = None;
    for (index, &start) in boundaries.starts.iter().enumerate() {
        let end = boundaries.starts.get(index + 1).copied().unwrap_or(duration);
        let (first_frame, count) = frames.between(start, end);
        let Some((token, share)) = frames.most_frequent(first_frame, count) else {
            continue;
        };
        let (own, sounding) = match &mut notes {
            NoteSource::Known(notes) => {
                // The last event has what starts later, too.
                let until = if index + 1 == boundaries.starts.len() { f64::INFINITY } else { end };
                (
                    notes::starting(notes, start, until, settings.note_lead),
                    sounding_keys(notes, start, end, settings.note_lead),
                )
            }
            NoteSource::Tracker(tracker, rate) => {
                let sample = |time: f64| (time * f64::from(*rate)).round() as usize;
                let note = note_of(tracker, samples, sample(start), sample(end), *rate);
                (note.into_iter().collect(), note.iter().map(|note| note.key).collect())
            }
        };
        let features = features(&sounding, before, &rhythm[index]);
        before = latest_key(&sounding, before);
        analysis.token_shares.push(share);
        analysis.events.push(Event {
            source,
            start,
            end,
            token,
            first_frame,
            frames: count,
            notes: own,
            features,
            rhythm_ratio: rhythm[index].ratio,
        });
    }
    Ok(analysis)
}

/// The values of [`FEATURES`] of sounding keys after the key `before`, and of a rhythm.
fn features(sounding: &[u8], before: Option<u8>, rhythm: &RhythmValues) -> [Option<f64>; FEATURES.len()] {
    let sound = consonance(sounding, before);
    let mut features = [None; FEATURES.len()];
    features[..3].copy_from_slice(&[sound.consonance, sound.harmonicity, sound.root.map(f64::from)]);
    features[3..].copy_from_slice(&rhythm.values);
    features
}

/// The key with which a single note that follows is paired: the highest of the last event with notes, where a melody is.
fn latest_key(sounding: &[u8], before: Option<u8>) -> Option<u8> {
    sounding.iter().max().copied().or(before)
}

#[cfg(test)]
mod tests;
