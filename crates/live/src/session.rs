//! A session: the engine between a source of blocks and the sinks of messages, in sample time or by the clock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use crate::Result;
use crate::command::Command;
use crate::engine::Engine;
use crate::output::{Output, TimedMidi};
use crate::ring::RingReader;
use crate::sink::Outlet;
use crate::statistics::{Latencies, Status};

/// The time between two looks for blocks.
const IDLE: Duration = Duration::from_millis(1);

/// The time without blocks after which all notes are ended.
const STALLED: Duration = Duration::from_secs(1);

/// The seconds between two statuses.
const STATUS_SECONDS: f64 = 1.0;

/// The end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The input ended.
    Input,
    /// The player quit.
    Quit,
    /// A signal.
    Stopped,
}

/// The figures of a session at its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The last status.
    pub status: Status,
    /// From the sample of an onset to the sending of the first note that answers it.
    pub latencies: Latencies,
    /// The blocks that were dropped.
    pub dropped_blocks: u64,
    /// The way in which it ended.
    pub ending: Ending,
}

/// The reports of a session while it runs.
pub enum Report<'a> {
    /// A sentence for the player.
    Notice(&'a str),
    /// The state, once a second, with the number of dropped blocks.
    Status(&'a Status, u64),
}

/// The parts of a session beside its source.
pub struct Session<'a> {
    /// The engine.
    pub engine: Engine,
    /// The sinks.
    pub outlet: Outlet,
    /// True once the session should end.
    pub stop: &'a AtomicBool,
    /// The receiver of reports.
    pub report: &'a mut dyn FnMut(Report<'_>),
}

impl Session<'_> {
    /// Runs in sample time over the blocks of `next`, which returns `None` at the end. The latencies are those of the engine:
    /// from the sample of an onset to the sample at which it was detected.
    ///
    /// # Errors
    /// Those of the source, the engine and the sinks. All notes are ended.
    pub fn run(mut self, mut next: impl FnMut() -> Result<Option<Vec<f32>>>) -> Result<Summary> {
        let (mut latencies, mut at, mut next_status) = (Latencies::default(), 0, STATUS_SECONDS);
        let rate = self.engine.rate();
        let ending = loop {
            if self.stop.load(Ordering::Relaxed) {
                break Ending::Stopped;
            }
            let Some(block) = next()? else { break Ending::Input };
            let outputs = self.engine.push(&block, at)?;
            at += block.len() as u64;
            self.send(&outputs, |message, onset| {
                latencies.push(message.sample.saturating_sub(onset) as f64 / rate);
            })?;
            if self.engine.has_quit() {
                break Ending::Quit;
            }
            if at as f64 / rate >= next_status {
                next_status = at as f64 / rate + STATUS_SECONDS;
                let status = self.engine.status();
                (self.report)(Report::Status(&status, 0));
            }
        };
        let outputs = if ending == Ending::Input { self.engine.finish()? } else { self.engine.release() };
        self.send(&outputs, |_, _| ())?;
        self.close(latencies, 0, ending)
    }

    /// Runs by the clock over the blocks of a ring, and carries out commands as they come. The latencies are from the sample
    /// of an onset, by the arrival of its block, to the return of the send.
    ///
    /// # Errors
    /// Those of the engine and the sinks. All notes are ended.
    pub fn run_by_clock(mut self, mut input: RingReader, commands: &Receiver<Command>) -> Result<Summary> {
        let mut latencies = Latencies::default();
        let (mut samples, mut arrived, mut is_stalled) = (Vec::new(), Instant::now(), false);
        let mut status_due = Instant::now() + Duration::from_secs_f64(STATUS_SECONDS);
        let ending = loop {
            if self.stop.load(Ordering::Relaxed) {
                break Ending::Stopped;
            }
            while let Ok(command) = commands.try_recv() {
                let outputs = self.engine.command(command);
                self.send(&outputs, |_, _| ())?;
            }
            if self.engine.has_quit() {
                break Ending::Quit;
            }
            match input.next(&mut samples) {
                Some(block) => {
                    (arrived, is_stalled) = (block.arrived, false);
                    let end = block.at + block.samples as u64;
                    let outputs = self.engine.push(&samples, block.at)?;
                    let rate = self.engine.rate();
                    self.send(&outputs, |_, onset| {
                        let age = end.saturating_sub(onset) as f64 / rate;
                        latencies.push(age + block.arrived.elapsed().as_secs_f64());
                    })?;
                }
                None if input.has_ended() => break Ending::Input,
                None if !is_stalled && arrived.elapsed() > STALLED => {
                    is_stalled = true;
                    (self.report)(Report::Notice("no sound arrives: all notes are ended"));
                    let outputs = self.engine.release();
                    self.send(&outputs, |_, _| ())?;
                }
                None => std::thread::sleep(IDLE),
            }
            if Instant::now() >= status_due {
                status_due += Duration::from_secs_f64(STATUS_SECONDS);
                let status = self.engine.status();
                (self.report)(Report::Status(&status, input.dropped()));
            }
        };
        let outputs = self.engine.release();
        self.send(&outputs, |_, _| ())?;
        self.close(latencies, input.dropped(), ending)
    }

    /// Sends the messages, and calls `answered` after each that is the first answer to an onset, with its sample.
    fn send(&mut self, outputs: &[Output], mut answered: impl FnMut(&TimedMidi, u64)) -> Result<()> {
        for output in outputs {
            match output {
                Output::Notice(notice) => (self.report)(Report::Notice(notice)),
                Output::Midi(message) => {
                    self.outlet.send(message)?;
                    if let Some(onset) = message.answers_onset {
                        answered(message, onset);
                    }
                }
            }
        }
        Ok(())
    }

    fn close(mut self, latencies: Latencies, dropped_blocks: u64, ending: Ending) -> Result<Summary> {
        let status = self.engine.status();
        self.outlet.close()?;
        Ok(Summary { status, latencies, dropped_blocks, ending })
    }
}
