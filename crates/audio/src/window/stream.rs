//! The windows of a source, cut while it is read: two windows and a block are in memory, however long the track is.

use super::policy::{MAX_WINDOW_SECONDS, Tail, WindowPolicy};
use crate::resample::Resampler;
use crate::source::Source;
use crate::{AudioError, Result};

/// The length in seconds of the shortest remainder that [`Tail::Keep`] makes a window of.
const SHORTEST_TAIL: u32 = 1;

/// One window of a track.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The index of the window within the track.
    pub index: usize,
    /// The position of the first sample in the track, at the model's rate.
    pub start: u64,
    /// The mono samples at the model's rate, not normalised.
    pub samples: Vec<f32>,
}

/// An iterator-like stream of the windows of a source, in order. It buffers at most two windows and a block.
pub struct Windows<S> {
    source: S,
    resampler: Resampler,
    plan: Plan,
    min_samples: usize,
    /// The number of samples at the start of the source, at its own rate, that no window depends on.
    lead_in: u64,
    /// The number of samples of the lead-in that have been skipped so far.
    skipped: u64,
    /// The samples at the model's rate from position `first` on.
    buffer: Vec<f32>,
    first: u64,
    ended: bool,
    index: usize,
    /// The start of the next window.
    next: u64,
    done: bool,
}

/// The window policy in samples.
#[derive(Debug, Clone, Copy)]
enum Plan {
    /// One window of up to `length` samples from `start`; a source longer than `limit` is refused.
    One {
        start: u64,
        length: u64,
        limit: Option<u64>,
    },
    Sliding {
        length: usize,
        hop: usize,
        tail: Tail,
        shortest_tail: usize,
    },
}

impl<S: Source> Windows<S> {
    /// The windows of `source`, resampled to `rate`. `total` is the length of the source at `rate`, which only
    /// [`WindowPolicy::Middle`] needs.
    ///
    /// # Errors
    /// [`AudioError::InvalidRate`] for a rate outside the supported range; [`AudioError::TooShort`] for windows with
    /// fewer than `min_samples`; [`AudioError::InvalidWindow`] for the middle of a source of unknown length.
    pub fn new(
        source: S,
        rate: u32,
        policy: &WindowPolicy,
        tail: Tail,
        min_samples: usize,
        total: Option<u64>,
    ) -> Result<Self> {
        let mut resampler = Resampler::new(source.sample_rate(), rate)?;
        let plan = match policy {
            WindowPolicy::Whole => {
                let limit = u64::from(MAX_WINDOW_SECONDS) * u64::from(rate);
                Plan::One { start: 0, length: limit + 1, limit: Some(limit) }
            }
            WindowPolicy::Middle(length) => {
                let length = length.samples(rate) as u64;
                let total = total.ok_or_else(|| {
                    AudioError::invalid_window(policy, "the middle of a stream is unknown before its end")
                })?;
                Plan::One { start: total.saturating_sub(length) / 2, length, limit: None }
            }
            WindowPolicy::Sliding { length, hop } => Plan::Sliding {
                length: length.samples(rate),
                hop: hop.samples(rate),
                tail,
                shortest_tail: (SHORTEST_TAIL * rate) as usize,
            },
        };
        let length = match plan {
            Plan::One { length, .. } => usize::try_from(length).unwrap_or(usize::MAX),
            Plan::Sliding { length, .. } => length,
        };
        if length < min_samples {
            return Err(AudioError::TooShort { samples: length as u64, needed: min_samples });
        }
        let next = if let Plan::One { start, .. } = plan { start } else { 0 };
        let lead_in = resampler.lead_in(next);
        let first = resampler.start_at(lead_in);
        Ok(Windows {
            source,
            resampler,
            plan,
            min_samples,
            lead_in,
            skipped: 0,
            buffer: Vec::new(),
            first,
            ended: false,
            index: 0,
            next,
            done: false,
        })
    }

    /// The number of samples at the start of the source, at its own rate, that no window depends on.
    pub(crate) fn lead_in(&self) -> u64 {
        self.lead_in
    }

    /// The source of the windows, for its notes.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// The next window, `None` after the last.
    ///
    /// # Errors
    /// The errors of the source; [`AudioError::TooShort`] if there is no window at all; [`AudioError::TooLong`] if the
    /// source does not fit into one window with [`WindowPolicy::Whole`].
    pub fn next_window(&mut self) -> Result<Option<Window>> {
        if self.done {
            return Ok(None);
        }
        let window = match self.plan {
            Plan::One { length, limit, .. } => self.only_window(length, limit)?,
            Plan::Sliding { length, hop, tail, shortest_tail } => {
                self.sliding_window(length, hop, tail, shortest_tail)?
            }
        };
        if window.is_none() && self.index == 0 {
            return Err(AudioError::TooShort { samples: self.received(), needed: self.shortest() });
        }
        self.index += usize::from(window.is_some());
        Ok(window)
    }

    fn only_window(&mut self, length: u64, limit: Option<u64>) -> Result<Option<Window>> {
        self.read_until(self.next + length, self.next)?;
        if limit.is_some_and(|limit| self.received() > limit) {
            return Err(AudioError::TooLong { limit: MAX_WINDOW_SECONDS });
        }
        self.done = true;
        let end = self.received().min(self.next + length);
        Ok(self.cut(self.next, end))
    }

    fn sliding_window(
        &mut self,
        length: usize,
        hop: usize,
        tail: Tail,
        shortest_tail: usize,
    ) -> Result<Option<Window>> {
        let end = self.next + length as u64;
        self.read_until(end, self.next)?;
        let received = self.received();
        if received >= end {
            let window = self.cut(self.next, end);
            self.next += hop as u64;
            return Ok(window);
        }
        self.done = true;
        let covered = if self.index == 0 { 0 } else { self.next - hop as u64 + length as u64 };
        let rest = received.saturating_sub(self.next);
        Ok(match tail {
            _ if received <= covered => None,
            Tail::Drop => None,
            _ if self.index == 0 => self.cut(0, received),
            Tail::Align => self.cut(received - length as u64, received),
            Tail::Keep if rest >= shortest_tail as u64 => self.cut(self.next, received),
            Tail::Keep => None,
        })
    }

    /// The smallest number of samples that yields a window.
    fn shortest(&self) -> usize {
        match self.plan {
            Plan::Sliding { length, tail: Tail::Drop, .. } => length,
            _ => self.min_samples,
        }
    }

    /// The number of samples received so far, at the model's rate.
    fn received(&self) -> u64 {
        self.first + self.buffer.len() as u64
    }

    /// Reads until `end` samples have been received, or the source ends. Samples before `needed` are dropped, except
    /// for those that an aligned last window may reach back to.
    fn read_until(&mut self, end: u64, needed: u64) -> Result<()> {
        let keep = match self.plan {
            Plan::Sliding { length, tail: Tail::Align, .. } => length as u64,
            _ => 0,
        };
        let lead_in = self.lead_in - self.skipped;
        if lead_in > 0 {
            self.skipped += self.source.skip(lead_in)?.min(lead_in);
        }
        while !self.ended && self.received() < end {
            let unneeded = needed.min(self.received().saturating_sub(keep)).saturating_sub(self.first);
            // In large steps, because each one moves the rest.
            if unneeded > 1 << 16 || unneeded as usize == self.buffer.len() {
                self.buffer.drain(..unneeded as usize);
                self.first += unneeded;
            }
            let buffer = &mut self.buffer;
            let sink = |samples: &[f32]| buffer.extend_from_slice(samples);
            match self.source.next_block()? {
                Some(block) => {
                    let lead_in = (self.lead_in - self.skipped).min(block.len() as u64);
                    self.skipped += lead_in;
                    self.resampler.push(&block[lead_in as usize..], sink);
                }
                None if self.skipped < self.lead_in => {
                    self.first = self.resampler.output_len(self.skipped);
                    self.ended = true;
                }
                None => {
                    self.resampler.finish(sink);
                    self.ended = true;
                }
            }
        }
        Ok(())
    }

    /// The window from `start` to `end`; `None` if it is shorter than the model takes.
    fn cut(&self, start: u64, end: u64) -> Option<Window> {
        let length = end.saturating_sub(start) as usize;
        if length < self.min_samples.max(1) {
            return None;
        }
        let from = (start - self.first) as usize;
        Some(Window { index: self.index, start, samples: self.buffer[from..from + length].to_vec() })
    }
}
