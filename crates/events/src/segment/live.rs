//! Events in live use: at each onset, the event that it ends.

use super::{SegmentSettings, features, latest_key};
use crate::rhythm::RecentRhythm;
use crate::{Event, Note, Result};

/// The events of live sound, one at each onset, from the past alone.
#[derive(Debug)]
pub struct LiveEvents {
    settings: SegmentSettings,
    rhythm: RecentRhythm,
    start: Option<f64>,
    before: Option<u8>,
    merged_short: u64,
}

impl LiveEvents {
    /// Events that are not yet begun.
    ///
    /// # Errors
    /// [`crate::EventsError::Setting`].
    pub fn new(settings: SegmentSettings) -> Result<Self> {
        settings.check()?;
        let rhythm = RecentRhythm::new(settings.phrases)?;
        Ok(LiveEvents { settings, rhythm, start: None, before: None, merged_short: 0 })
    }

    /// The start of the event that is going on, in seconds.
    pub fn start(&self) -> Option<f64> {
        self.start
    }

    /// The onsets that came too soon after another.
    pub fn merged_short(&self) -> u64 {
        self.merged_short
    }

    /// Ends the event that is going on with an onset, in seconds, and starts the next one. Returns the event, with the token
    /// and the notes that the caller heard in it; `None` for the first onset, and for one that comes too soon, which is left
    /// out. After a gap the event has no values of rhythm.
    ///
    /// # Errors
    /// [`crate::EventsError::Onsets`] for an onset that is not after the one before.
    pub fn onset(&mut self, time: f64, token: u32, notes: &[Note]) -> Result<Option<Event>> {
        if let Some(start) = self.start
            && time > start
            && time - start < self.settings.min_length
        {
            self.merged_short += 1;
            return Ok(None);
        }
        let rhythm = self.rhythm.push(time)?.unwrap_or_default();
        let Some(start) = self.start.replace(time) else {
            return Ok(None);
        };
        let sounding: Vec<u8> = notes.iter().map(|note| note.key).collect();
        let features = features(&sounding, self.before, &rhythm);
        self.before = latest_key(&sounding, self.before);
        Ok(Some(Event {
            source: 0,
            start,
            end: time,
            token,
            first_frame: 0,
            frames: 0,
            notes: notes.to_vec(),
            features,
            rhythm_ratio: rhythm.ratio,
        }))
    }
}
