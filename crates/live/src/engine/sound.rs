//! The last seconds of samples, and the note of the segment that is going on.

use mert_events::Note;
use mert_events::pitch::{PitchSettings, PitchTracker, note_of};

use crate::Result;

/// The part of a segment that its pitch is taken from, in seconds from the onset. It is known before the next onset, which then
/// need not wait for it.
const PITCH_SECONDS: f64 = 0.5;

/// The samples that are kept, and the pitch of what is played.
pub(super) struct Sound {
    rate: u32,
    samples: Vec<f32>,
    /// The number of the first sample that is kept.
    first: u64,
    keep: usize,
    tracker: PitchTracker,
    /// The first sample of the segment that is going on.
    start: Option<u64>,
    /// Its note, once enough of it has been heard.
    note: Option<Option<Note>>,
}

impl Sound {
    pub(super) fn new(rate: u32, pitch: PitchSettings, seconds: f64) -> Result<Self> {
        let tracker = PitchTracker::new(rate, pitch)?;
        let keep = (seconds.max(4.0 * PITCH_SECONDS) * f64::from(rate)).ceil() as usize;
        Ok(Sound { rate, samples: Vec::new(), first: 0, keep, tracker, start: None, note: None })
    }

    /// Adds samples.
    pub(super) fn push(&mut self, step: &[f32]) {
        self.samples.extend_from_slice(step);
        if self.samples.len() > 2 * self.keep {
            let surplus = self.samples.len() - self.keep;
            self.samples.drain(..surplus);
            self.first += surplus as u64;
        }
        if let (Some(start), None) = (self.start, self.note)
            && self.end() >= start + self.span()
        {
            self.note = Some(self.track(start, start + self.span()));
        }
    }

    /// The note of the segment that ends at sample `end`.
    pub(super) fn note(&mut self, end: u64) -> Option<Note> {
        let start = self.start?;
        let note = match self.note {
            Some(note) => note,
            None => self.track(start, end.min(start + self.span())),
        };
        let seconds = |sample: u64| sample as f64 / f64::from(self.rate);
        note.map(|note| Note { start: seconds(start), end: seconds(end), ..note })
    }

    /// Starts a segment at sample `start`.
    pub(super) fn start(&mut self, start: u64) {
        (self.start, self.note) = (Some(start), None);
    }

    /// The newest samples, as many as are asked for.
    pub(super) fn last(&self, seconds: f64) -> &[f32] {
        let count = (seconds * f64::from(self.rate)) as usize;
        self.samples.get(self.samples.len().saturating_sub(count)..).unwrap_or_default()
    }

    /// The newest samples, as many as are kept.
    pub(super) fn all(&self) -> &[f32] {
        self.samples.get(self.samples.len().saturating_sub(self.keep)..).unwrap_or_default()
    }

    fn end(&self) -> u64 {
        self.first + self.samples.len() as u64
    }

    fn span(&self) -> u64 {
        (PITCH_SECONDS * f64::from(self.rate)) as u64
    }

    fn track(&mut self, start: u64, end: u64) -> Option<Note> {
        let place = |sample: u64| usize::try_from(sample.checked_sub(self.first)?).ok();
        let (start, end) = (place(start)?, place(end)?);
        note_of(&mut self.tracker, &self.samples, start, end, self.rate)
    }
}
