//! Notes that start and end at samples to come.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use mert_events::render::{MidiBytes, NoteKeeper};

use crate::output::{Answer, Cause, Output, TimedMidi};

/// A note of an answer, in samples of the input.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tone {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) key: u8,
    pub(crate) velocity: u8,
}

/// The start or the end of a note at a sample: ends come before starts, and otherwise the order of adding counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// The key and the number of its strike, so that the end of an earlier strike does not end a later one.
    End { key: u8, strike: u64 },
    /// The note.
    Start { tone: Tone },
}

/// The notes to come and those that sound, on one channel.
#[derive(Debug)]
pub(crate) struct Schedule {
    rate: f64,
    channel: u8,
    keeper: NoteKeeper,
    due: BinaryHeap<Reverse<(u64, Due, u64)>>,
    strikes: [u64; 128],
    /// The answers whose notes sound, by key.
    owners: Vec<Option<Arc<Answer>>>,
    /// The answer of all notes that have not started.
    current: Option<Arc<Answer>>,
    added: u64,
    onset: Option<u64>,
}

impl Schedule {
    pub(crate) fn new(rate: u32, channel: u8) -> Self {
        Schedule {
            rate: f64::from(rate),
            channel,
            keeper: NoteKeeper::new(),
            due: BinaryHeap::new(),
            strikes: [0; 128],
            owners: vec![None; 128],
            current: None,
            added: 0,
            onset: None,
        }
    }

    /// Adds the notes of an answer, from `now` on. Notes of earlier answers that have not started are dropped.
    pub(crate) fn play(&mut self, answer: Arc<Answer>, tones: Vec<Tone>, onset: Option<u64>) {
        self.drop_starts();
        (self.current, self.onset) = (Some(answer), onset);
        for tone in tones {
            self.add(tone.start, Due::Start { tone });
        }
    }

    /// The messages that are due at `now` or before, in order.
    pub(crate) fn until(&mut self, now: u64, outputs: &mut Vec<Output>) {
        while self.due.peek().is_some_and(|Reverse((at, ..))| *at <= now) {
            let Some(Reverse((at, due, _))) = self.due.pop() else { return };
            match due {
                Due::End { key, strike } => {
                    if self.strikes[usize::from(key)] == strike {
                        let ends = self.keeper.end(self.channel, key);
                        self.put(at, key, ends, Cause::End, outputs);
                    }
                }
                Due::Start { tone } => {
                    let key = tone.key & 127;
                    let ends = self.keeper.end(self.channel, key);
                    self.put(at, key, ends, Cause::End, outputs);
                    self.owners[usize::from(key)] = self.current.clone();
                    let starts = self.keeper.start(self.channel, key, tone.velocity);
                    self.put(at, key, starts, Cause::Start, outputs);
                    self.strikes[usize::from(key)] += 1;
                    let strike = self.strikes[usize::from(key)];
                    self.add(tone.end.max(at + 1), Due::End { key, strike });
                }
            }
        }
    }

    /// Ends all notes at `now`, and drops those to come.
    pub(crate) fn release(&mut self, now: u64, outputs: &mut Vec<Output>) {
        self.due.clear();
        for (_, key) in self.keeper.sounding() {
            let ends = self.keeper.end(self.channel, key);
            self.put(now, key, ends, Cause::Release, outputs);
        }
    }

    /// Lets the notes that sound ring to their ends.
    pub(crate) fn ring_out(&mut self, outputs: &mut Vec<Output>) {
        self.drop_starts();
        self.until(u64::MAX, outputs);
    }

    /// Ends all notes and silences all channels.
    pub(crate) fn panic(&mut self, now: u64, outputs: &mut Vec<Output>) {
        self.release(now, outputs);
        for bytes in mert_events::render::panic() {
            outputs.push(self.message(now, bytes, Cause::Panic, None, None));
        }
    }

    fn drop_starts(&mut self) {
        self.due.retain(|Reverse((_, due, _))| matches!(due, Due::End { .. }));
    }

    fn add(&mut self, at: u64, due: Due) {
        self.added += 1;
        self.due.push(Reverse((at, due, self.added)));
    }

    fn put(&mut self, at: u64, key: u8, messages: Vec<MidiBytes>, cause: Cause, outputs: &mut Vec<Output>) {
        for bytes in messages {
            let onset = if cause == Cause::Start { self.onset.take() } else { None };
            let owner = self.owners[usize::from(key)].clone();
            outputs.push(self.message(at, bytes, cause, owner, onset));
        }
    }

    fn message(
        &self,
        sample: u64,
        bytes: MidiBytes,
        cause: Cause,
        answer: Option<Arc<Answer>>,
        answers_onset: Option<u64>,
    ) -> Output {
        let time = sample as f64 / self.rate;
        Output::Midi(TimedMidi { sample, time, bytes, cause, answer, answers_onset })
    }
}
