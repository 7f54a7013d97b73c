use std::fmt;
use std::str::FromStr;

use crate::duration::Seconds;
use crate::resample::Resampler;
use crate::track::Source;
use crate::{AudioError, Result};

/// The longest window, and the longest track that is taken whole: time and memory of a forward pass grow with its square.
pub const MAX_WHOLE_SECONDS: u32 = 600;

/// Remainders that [`Tail::Keep`] takes have at least this many seconds.
const SHORTEST_TAIL: u32 = 1;

/// Which parts of a track are embedded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowPolicy {
    /// All of it as one window.
    Whole,
    /// One window from the middle; of a shorter track all of it.
    Middle(Seconds),
    /// A window of `length` at each multiple of `hop`; of a shorter track all of it as one window.
    Sliding {
        /// How long each is.
        length: Seconds,
        /// How far apart they start.
        hop: Seconds,
    },
}

/// What becomes of the remainder of a track that sliding windows do not cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tail {
    /// One more window that ends with the track.
    #[default]
    Align,
    /// A shorter window at the next hop, if it has at least a second.
    Keep,
    /// Nothing; nor of a track that is shorter than a window.
    Drop,
}

impl FromStr for WindowPolicy {
    type Err = AudioError;

    fn from_str(text: &str) -> Result<Self> {
        let fail = |reason: &str| AudioError::Window { found: text.to_string(), reason: reason.to_string() };
        let seconds = |part: &str| part.parse::<Seconds>().map_err(|reason| fail(&reason));
        let length = |part: &str| {
            let length = seconds(part)?;
            let most = f64::from(MAX_WHOLE_SECONDS);
            if length.get() > most { Err(fail(&format!("a window has at most {most} s"))) } else { Ok(length) }
        };
        match text.split_once(':') {
            None if text == "whole" => Ok(WindowPolicy::Whole),
            Some(("middle", middle)) => Ok(WindowPolicy::Middle(length(middle)?)),
            Some(("sliding", rest)) => {
                let (window, hop) = rest.split_once('/').unwrap_or((rest, rest));
                Ok(WindowPolicy::Sliding { length: length(window)?, hop: seconds(hop)? })
            }
            _ => Err(fail("nothing else is known")),
        }
    }
}

impl fmt::Display for WindowPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WindowPolicy::Whole => f.write_str("whole"),
            WindowPolicy::Middle(length) => write!(f, "middle:{length}"),
            WindowPolicy::Sliding { length, hop } => write!(f, "sliding:{length}/{hop}"),
        }
    }
}

impl FromStr for Tail {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "align" => Ok(Tail::Align),
            "keep" => Ok(Tail::Keep),
            "drop" => Ok(Tail::Drop),
            _ => Err(format!("`{text}` is no way to treat the tail: align, keep or drop")),
        }
    }
}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tail::Align => "align",
            Tail::Keep => "keep",
            Tail::Drop => "drop",
        })
    }
}

/// One window of a track.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The number of the window, from 0.
    pub index: usize,
    /// Its first sample, counted at the model's rate from the track's start.
    pub start: u64,
    /// Mono samples at the model's rate, not normalised.
    pub samples: Vec<f32>,
}

/// The windows of a source, in order. It holds no more of the source than two windows and a block.
pub struct Windows<S> {
    source: S,
    resampler: Resampler,
    plan: Plan,
    min_samples: usize,
    /// Samples of the source, at its own rate, that nothing needs, and how many of them are behind.
    needless: u64,
    passed_over: u64,
    /// Samples from `first` on, at the model's rate.
    buffer: Vec<f32>,
    first: u64,
    ended: bool,
    index: usize,
    /// Where the next window starts.
    next: u64,
    done: bool,
}

/// The policy in samples.
#[derive(Debug, Clone, Copy)]
enum Plan {
    /// From `start`, `length` at most; longer than `limit` is refused.
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
    /// Windows of `source`, resampled to `rate`. `total` is its length at `rate`, which only
    /// [`WindowPolicy::Middle`] needs.
    ///
    /// # Errors
    /// [`AudioError::Rate`] for a rate that no music has; [`AudioError::TooShort`] for windows with fewer than
    /// `min_samples`, [`AudioError::Window`] for the middle of a source of unknown length.
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
                let limit = u64::from(MAX_WHOLE_SECONDS) * u64::from(rate);
                Plan::One { start: 0, length: limit + 1, limit: Some(limit) }
            }
            WindowPolicy::Middle(length) => {
                let length = length.samples(rate) as u64;
                let total = total.ok_or_else(|| AudioError::Window {
                    found: policy.to_string(),
                    reason: "the middle of a stream is not known before its end".to_string(),
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
        // Before the middle nothing is needed.
        let needless = resampler.needless_before(next);
        let first = resampler.begin_at(needless);
        Ok(Windows {
            source,
            resampler,
            plan,
            min_samples,
            needless,
            passed_over: 0,
            buffer: Vec::new(),
            first,
            ended: false,
            index: 0,
            next,
            done: false,
        })
    }

    /// The source, for what it has noted.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// The next window, `None` after the last.
    ///
    /// # Errors
    /// Those of the source; [`AudioError::TooShort`] if there is no window at all; [`AudioError::TooLong`] for
    /// [`WindowPolicy::Whole`].
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
            return Err(AudioError::TooLong { limit: MAX_WHOLE_SECONDS });
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

    /// How many samples give at least one window.
    fn shortest(&self) -> usize {
        match self.plan {
            Plan::Sliding { length, tail: Tail::Drop, .. } => length,
            _ => self.min_samples,
        }
    }

    /// How much of the source there has been, at the model's rate.
    fn received(&self) -> u64 {
        self.first + self.buffer.len() as u64
    }

    /// Reads on until there are `end` samples or no more. Of those before `needed` only as many are kept as a
    /// last window may reach back.
    fn read_until(&mut self, end: u64, needed: u64) -> Result<()> {
        let keep = match self.plan {
            Plan::Sliding { length, tail: Tail::Align, .. } => length as u64,
            _ => 0,
        };
        let needless = self.needless - self.passed_over;
        if needless > 0 {
            self.passed_over += self.source.pass_over(needless)?.min(needless);
        }
        while !self.ended && self.received() < end {
            let useless = needed.min(self.received().saturating_sub(keep)).saturating_sub(self.first);
            // In large steps, as each moves the rest.
            if useless > 1 << 16 || useless as usize == self.buffer.len() {
                self.buffer.drain(..useless as usize);
                self.first += useless;
            }
            let buffer = &mut self.buffer;
            let sink = |samples: &[f32]| buffer.extend_from_slice(samples);
            match self.source.next_block()? {
                Some(block) => {
                    let needless = (self.needless - self.passed_over).min(block.len() as u64);
                    self.passed_over += needless;
                    self.resampler.push(&block[needless as usize..], sink);
                }
                None if self.passed_over < self.needless => {
                    self.first = self.resampler.output_len(self.passed_over);
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

    fn cut(&self, start: u64, end: u64) -> Option<Window> {
        let length = end.saturating_sub(start) as usize;
        if length < self.min_samples.max(1) {
            return None;
        }
        let from = (start - self.first) as usize;
        Some(Window { index: self.index, start, samples: self.buffer[from..from + length].to_vec() })
    }
}
