//! The features of rhythm in live use, from the recent past alone.

use std::collections::VecDeque;

use super::PhraseSettings;
use super::patterns::check;
use super::values::{PhraseRhythm, RhythmValues};
use crate::Result;

/// The rhythm of the latest onsets: at each of them, the values of the event that it ends.
#[derive(Debug)]
pub struct RecentRhythm {
    settings: PhraseSettings,
    onsets: VecDeque<f64>,
    /// The unit tempo of the phrase before, for the tempo factor.
    before: Option<f64>,
    /// The unit tempo of the phrase so far.
    current: Option<f64>,
    intervals: usize,
}

impl RecentRhythm {
    /// A rhythm without onsets.
    ///
    /// # Errors
    /// [`crate::EventsError::Setting`].
    pub fn new(settings: PhraseSettings) -> Result<Self> {
        settings.check()?;
        Ok(RecentRhythm { settings, onsets: VecDeque::new(), before: None, current: None, intervals: 0 })
    }

    /// Adds an onset, in seconds, and returns the values of the event from the onset before it to this one; `None` for the
    /// first onset, and after a gap. The phrase is the last onsets without a gap, as many as a phrase may have; the phrase
    /// before it, for the tempo factor, is the one that ended as many intervals ago, or before the gap.
    ///
    /// # Errors
    /// [`crate::EventsError::Onsets`] if it is not later than the onset before it; it is then left out.
    pub fn push(&mut self, onset: f64) -> Result<Option<RhythmValues>> {
        let last = self.onsets.back().copied();
        if let Some(last) = last {
            check(&[last, onset])?;
        } else {
            check(&[onset])?;
        }
        let is_gap = last.is_some_and(|last| onset - last > self.settings.max_gap);
        if is_gap {
            self.onsets.clear();
        }
        if is_gap || self.intervals == self.settings.max_intervals {
            self.before = self.current.take();
            self.intervals = 0;
        }
        self.onsets.push_back(onset);
        if self.onsets.len() > self.settings.max_intervals + 1 {
            self.onsets.pop_front();
        }
        let times: Vec<f64> = self.onsets.iter().copied().collect();
        let Some(rhythm) = PhraseRhythm::of(&times, self.before)? else {
            return Ok(None);
        };
        self.intervals += 1;
        self.current = Some(rhythm.analysis.unit_tempo);
        Ok(Some(rhythm.event(times.len() - 2)))
    }
}
