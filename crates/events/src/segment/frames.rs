//! The tokens of the frames of a recording, on the grid of a model.

use std::collections::BTreeMap;

use crate::{EventsError, Result};

/// The tokens of consecutive frames of a recording.
#[derive(Debug, Clone, Copy)]
pub struct TokenFrames<'a> {
    tokens: &'a [u32],
    first: u64,
    hop: u64,
    receptive_field: u64,
    rate: u32,
}

impl<'a> TokenFrames<'a> {
    /// The tokens of the frames from 0 on. `hop` and `receptive_field` are in samples of the model's `rate`: frame i covers
    /// the samples from i·hop to i·hop + receptive_field, and is heard in their middle.
    ///
    /// # Errors
    /// [`EventsError::Setting`] for a hop, receptive field or rate of 0.
    pub fn new(tokens: &'a [u32], hop: u32, receptive_field: u32, rate: u32) -> Result<Self> {
        for (name, value) in [("hop", hop), ("receptive field", receptive_field), ("sample rate", rate)] {
            EventsError::check_range(name, f64::from(value), 1.0, f64::from(u32::MAX))?;
        }
        Ok(TokenFrames { tokens, first: 0, hop: hop.into(), receptive_field: receptive_field.into(), rate })
    }

    /// The same tokens as those of the frames from `first` on.
    #[must_use]
    pub fn starting_at(self, first: u64) -> Self {
        TokenFrames { first, ..self }
    }

    /// The middle of a frame in seconds.
    pub fn time(&self, frame: u64) -> f64 {
        (frame as f64 * self.hop as f64 + self.receptive_field as f64 / 2.0) / f64::from(self.rate)
    }

    /// The frames whose middle is in `start..end` (seconds): the first one, and their number.
    pub fn between(&self, start: f64, end: f64) -> (u64, u32) {
        let first = self.frame_from(start);
        let last = self.frame_from(end).max(first);
        (first, u32::try_from(last - first).unwrap_or(u32::MAX))
    }

    /// The first of the frames whose middle is not before `time`; the one after the last if there is none.
    fn frame_from(&self, time: f64) -> u64 {
        let end = self.first + self.tokens.len() as u64;
        let estimate = (time * f64::from(self.rate) - self.receptive_field as f64 / 2.0) / self.hop as f64;
        let mut frame = (estimate.floor().max(0.0) as u64).clamp(self.first, end);
        // The estimate may be off by the rounding of a float.
        while frame > self.first && self.time(frame - 1) >= time {
            frame -= 1;
        }
        while frame < end && self.time(frame) < time {
            frame += 1;
        }
        frame
    }

    /// The most frequent token of frames, the earliest of equals, with its share of them; `None` without frames.
    pub fn most_frequent(&self, first_frame: u64, count: u32) -> Option<(u32, f64)> {
        let start = usize::try_from(first_frame.checked_sub(self.first)?).ok()?;
        let tokens = self.tokens.get(start..start + count as usize)?;
        let mut counts: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
        for (index, &token) in tokens.iter().enumerate() {
            counts.entry(token).or_insert((0, index)).0 += 1;
        }
        let best = counts.iter().max_by_key(|(_, (count, first))| (*count, usize::MAX - first))?;
        Some((*best.0, best.1.0 as f64 / tokens.len() as f64))
    }
}
