//! The engine of a session: blocks of samples with their times in, timed MIDI messages out.
//!
//! It has no clock of its own. Everything happens at the ends of steps of about 5 ms, on a grid of samples, so that the same
//! samples give the same messages however they are cut into blocks ([`Pace::Samples`]).
//!
//! - `sound.rs`: the last seconds of samples, and the note of the segment that is going on.
//! - `modes.rs`: the choice of a mode.

mod modes;
mod sound;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use mert_audio::Resampler;
use mert_events::Event;
use mert_events::level::LevelMeter;
use mert_events::onset::{Onset, OnsetDetector, OnsetSettings};
use mert_events::pitch::PitchSettings;
use mert_events::segment::{LiveEvents, SegmentSettings};
use mert_oracle::OracleFile;
use mert_tokens::frames::{CutWindow, WindowCutter};

use self::modes::ModeJob;
use self::sound::Sound;
use crate::answer::{AnswerSettings, Answerer, Centres, Heard};
use crate::command::Command;
use crate::encode::{EncodeJob, WindowEncoder};
use crate::heard::HeardTokens;
use crate::mode::{Commanded, FirstOf, ModeCommands, ModeSelector, Modes};
use crate::output::{Output, TokenFrom};
use crate::schedule::{Schedule, Tone};
use crate::statistics::{Counts, RUNNING_SECONDS, Status, USE_SECONDS};
use crate::work::{Pace, Worker};
use crate::{LiveError, Result};

/// The shortest note that is played, in seconds.
const SHORTEST_NOTE: f64 = 0.03;

/// The settings of an engine.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineSettings {
    /// The samples per second of the input.
    pub rate: u32,
    /// The clock.
    pub pace: Pace,
    /// The detector of onsets.
    pub onset: OnsetSettings,
    /// The tracker of the pitch of what is heard.
    pub pitch: PitchSettings,
    /// The answers.
    pub answer: AnswerSettings,
}

impl EngineSettings {
    /// The defaults for sound at `rate`: in sample time without a delay. Where the rate is too low for the highest pitch of the
    /// tracker, the highest that it allows.
    pub fn new(rate: u32) -> Self {
        let default = PitchSettings::default();
        EngineSettings {
            rate,
            pace: Pace::Samples { compute_delay: 0.0 },
            onset: OnsetSettings::default(),
            pitch: PitchSettings { highest: default.highest.min(f64::from(rate) / 6.0), ..default },
            answer: AnswerSettings::default(),
        }
    }
}

/// The engine.
pub struct Engine {
    rate: f64,
    pace: Pace,
    /// The samples that were processed.
    now: u64,
    /// The samples that wait for the end of a step.
    pending: Vec<f32>,
    step: usize,
    meter: LevelMeter,
    detector: OnsetDetector,
    resampler: Resampler,
    cutter: WindowCutter,
    encoder: Worker<EncodeJob>,
    heard: HeardTokens,
    live: LiveEvents,
    sound: Sound,
    answerer: Answerer,
    schedule: Schedule,
    modes: Modes,
    selector: Option<Worker<ModeJob>>,
    mode_interval: u64,
    next_choice: u64,
    commands: ModeCommands,
    mode: Option<String>,
    /// Commands at samples to come, ascending.
    planned: VecDeque<(u64, Command)>,
    /// The times of the last onsets.
    onsets: VecDeque<f64>,
    last_onset: Option<f64>,
    /// The sample at which the event that is played ends.
    answer_end: Option<u64>,
    has_quit: bool,
    counts: Counts,
}

impl Engine {
    /// An engine before the first sample. `selector` chooses among `modes`; a command of the player goes before it.
    ///
    /// # Errors
    /// Settings outside their range, those of modes too, and an oracle without notes.
    pub fn new(
        settings: EngineSettings,
        encoder: Box<dyn WindowEncoder>,
        oracle: Arc<OracleFile>,
        centres: Centres,
        modes: Modes,
        selector: Option<Box<dyn ModeSelector>>,
    ) -> Result<Self> {
        let EngineSettings { rate, pace, onset, pitch, answer } = settings;
        let (grid, framing) = (encoder.grid(), encoder.framing());
        let detector = OnsetDetector::new(rate, onset)?;
        let answerer = Answerer::new(oracle, centres, answer.clone())?;
        modes.iter().try_for_each(|mode| answerer.settings_of(mode).map(drop))?;
        let commands = ModeCommands::new();
        let (mut worker, mut seconds, mut interval) = (None, 0.0, 0.0);
        if !modes.is_empty() {
            let mut selectors: Vec<Box<dyn ModeSelector>> = vec![Box::new(Commanded::new(commands.clone()))];
            selectors.extend(selector);
            let first = FirstOf::new(selectors);
            (seconds, interval) = (first.seconds(), first.interval());
            worker = Some(Worker::new("the choice of modes", ModeJob(first), pace, rate)?);
        }
        Ok(Engine {
            rate: f64::from(rate),
            pace,
            now: 0,
            pending: Vec::new(),
            step: detector.hop() as usize,
            meter: LevelMeter::new(),
            detector,
            resampler: Resampler::new(rate, grid.rate)?,
            cutter: WindowCutter::new(grid, framing),
            encoder: Worker::new("the forward pass", EncodeJob(encoder), pace, rate)?,
            heard: HeardTokens::new(grid, USE_SECONDS),
            live: LiveEvents::new(SegmentSettings::default())?,
            sound: Sound::new(rate, pitch, seconds.max(RUNNING_SECONDS))?,
            schedule: Schedule::new(rate, answer.midi.channel),
            answerer,
            modes,
            selector: worker,
            mode_interval: (interval * f64::from(rate)).max(1.0) as u64,
            next_choice: 0,
            commands,
            mode: None,
            planned: VecDeque::new(),
            onsets: VecDeque::new(),
            last_onset: None,
            answer_end: None,
            has_quit: false,
            counts: Counts::default(),
        })
    }

    /// The samples per second of the input.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// True once a command has ended the session.
    pub fn has_quit(&self) -> bool {
        self.has_quit
    }

    /// Adds a block whose first sample is number `at` of the input, and returns what is due. Samples that are missing before
    /// it count as silence.
    ///
    /// # Errors
    /// [`LiveError::Order`] for a block that starts in the past, errors of the model, and [`LiveError::Thread`].
    pub fn push(&mut self, block: &[f32], at: u64) -> Result<Vec<Output>> {
        let mut outputs = Vec::new();
        let heard = self.now + self.pending.len() as u64;
        let Some(missing) = at.checked_sub(heard) else {
            return Err(LiveError::Order { found: at, heard });
        };
        if missing > 0 {
            self.counts.lost_samples += missing;
            self.add_silence(at, &mut outputs)?;
        }
        self.add(block, &mut outputs)?;
        Ok(outputs)
    }

    /// Carries out a command.
    pub fn command(&mut self, command: Command) -> Vec<Output> {
        let mut outputs = Vec::new();
        match command {
            Command::Request(request) => {
                let remarks = self.answerer.set_request(request.as_ref());
                outputs.extend(remarks.into_iter().map(Output::Notice));
            }
            Command::Mode(None) => self.commands.set(None),
            Command::Mode(Some(name)) => match self.modes.get(&name) {
                Ok(_) => {
                    self.commands.set(Some(name));
                    self.next_choice = self.now;
                }
                Err(error) => outputs.push(Output::Notice(error.to_string())),
            },
            Command::Panic => self.panic(&mut outputs),
            Command::Quit => self.has_quit = true,
        }
        outputs
    }

    /// Plans a command for a time in seconds. Commands are carried out in the order of their times.
    pub fn plan(&mut self, seconds: f64, command: Command) {
        let at = (seconds.max(0.0) * self.rate).round() as u64;
        let place = self.planned.partition_point(|(other, _)| *other <= at);
        self.planned.insert(place, (at, command));
    }

    /// The end of the input: what is pending is processed, and the notes that sound ring to their ends.
    ///
    /// # Errors
    /// Those of [`Engine::push`].
    pub fn finish(&mut self) -> Result<Vec<Output>> {
        let mut outputs = Vec::new();
        let rest = std::mem::take(&mut self.pending);
        self.process(&rest, &mut outputs)?;
        self.answer_end = None;
        self.schedule.ring_out(&mut outputs);
        Ok(outputs)
    }

    /// Ends all notes at once.
    pub fn release(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.answer_end = None;
        self.schedule.release(self.now, &mut outputs);
        outputs
    }

    /// The state since the last status.
    pub fn status(&mut self) -> Status {
        Status {
            seconds: self.now as f64 / self.rate,
            level: self.meter.read(),
            recent: self.heard.recent(),
            total: self.heard.total(),
            counts: self.counts,
            mode: self.mode.clone(),
        }
    }

    fn panic(&mut self, outputs: &mut Vec<Output>) {
        self.answer_end = None;
        self.schedule.panic(self.now, outputs);
    }

    fn add(&mut self, mut block: &[f32], outputs: &mut Vec<Output>) -> Result<()> {
        while self.pending.len() + block.len() >= self.step {
            let (taken, rest) = block.split_at(self.step - self.pending.len());
            let mut step = std::mem::take(&mut self.pending);
            step.extend_from_slice(taken);
            self.process(&step, outputs)?;
            step.clear();
            self.pending = step;
            block = rest;
        }
        self.pending.extend_from_slice(block);
        Ok(())
    }

    /// Fills a gap up to sample `at` in steps, so that memory does not grow with it.
    fn add_silence(&mut self, at: u64, outputs: &mut Vec<Output>) -> Result<()> {
        let silence = vec![0.0; self.step];
        loop {
            let heard = self.now + self.pending.len() as u64;
            let missing = at.saturating_sub(heard).min(self.step as u64) as usize;
            if missing == 0 {
                return Ok(());
            }
            self.add(&silence[..missing], outputs)?;
        }
    }

    /// Processes a step.
    fn process(&mut self, step: &[f32], outputs: &mut Vec<Output>) -> Result<()> {
        while self.planned.front().is_some_and(|(at, _)| *at <= self.now) {
            let Some((_, command)) = self.planned.pop_front() else { break };
            outputs.extend(self.command(command));
        }
        self.meter.push(step);
        let mut clean = step.to_vec();
        for sample in clean.iter_mut().filter(|sample| !sample.is_finite()) {
            *sample = 0.0;
            self.counts.invalid_samples += 1;
        }
        self.now += clean.len() as u64;
        self.schedule_until(outputs);
        self.sound.push(&clean);
        self.encode(&clean)?;
        self.take_tokens()?;
        for onset in self.detector.push(&clean) {
            self.onset(onset, outputs)?;
        }
        self.follow(outputs);
        self.choose_mode(outputs)?;
        self.schedule_until(outputs);
        Ok(())
    }

    fn schedule_until(&mut self, outputs: &mut Vec<Output>) {
        let first = outputs.len();
        self.schedule.until(self.now, outputs);
        let starts =
            |output: &&Output| matches!(output, Output::Midi(midi) if midi.cause == crate::output::Cause::Start);
        self.counts.notes += outputs[first..].iter().filter(starts).count() as u64;
    }

    fn encode(&mut self, step: &[f32]) -> Result<()> {
        let mut windows: Vec<CutWindow> = Vec::new();
        let (resampler, cutter) = (&mut self.resampler, &mut self.cutter);
        resampler.push(step, |samples| cutter.push(samples, |window| windows.push(window)));
        for window in windows {
            self.counts.skipped_windows += u64::from(!self.encoder.submit(self.now, window)?);
        }
        Ok(())
    }

    fn take_tokens(&mut self) -> Result<()> {
        while let Some((tokens, took)) = self.encoder.poll(self.now)? {
            self.heard.add(&tokens?);
            self.counts.windows += 1;
            self.counts.encoding += took.as_secs_f64();
        }
        Ok(())
    }

    fn onset(&mut self, onset: Onset, outputs: &mut Vec<Output>) -> Result<()> {
        self.counts.onsets += 1;
        let time = onset.sample as f64 / self.rate;
        let start = self.live.start();
        if start.is_some_and(|start| time <= start) {
            self.counts.merged += 1;
            return Ok(());
        }
        let of_segment = start.and_then(|start| self.heard.most_frequent(start, time));
        let token = match of_segment {
            Some(token) => Some((token, TokenFrom::Segment)),
            None => self.heard.newest().map(|token| (token, TokenFrom::Newest)),
        };
        let note = self.sound.note(onset.sample);
        let merged = self.live.merged_short();
        let event = self.live.onset(time, token.map_or(0, |(token, _)| token), note.as_slice())?;
        if self.live.merged_short() > merged {
            self.counts.merged += 1;
            return Ok(());
        }
        self.sound.start(onset.sample);
        self.counts.heard += u64::from(event.is_some());
        self.onsets.push_back(time);
        self.last_onset = Some(time);
        let heard = Heard { onset: time, token, event: event.as_ref() };
        self.play(Some(&heard), Some(onset.sample), outputs);
        Ok(())
    }

    /// Plays the next event of a continuous answer at the end of the one before.
    fn follow(&mut self, outputs: &mut Vec<Output>) {
        let is_due = self.answer_end.is_some_and(|end| end <= self.now);
        let Some(last) = self.last_onset.filter(|_| is_due) else { return };
        self.answer_end = None;
        if self.answerer.continues(self.now as f64 / self.rate - last) {
            self.play(None, None, outputs);
        }
    }

    fn play(&mut self, heard: Option<&Heard<'_>>, onset: Option<u64>, outputs: &mut Vec<Output>) {
        let (answer, notices) = self.answerer.answer(heard);
        outputs.extend(notices.into_iter().map(Output::Notice));
        self.counts.answers += 1;
        if self.answerer.settings().cut {
            self.schedule.release(self.now, outputs);
        }
        let tones = self.answerer.event(answer.event).map(|event| self.tones(event)).unwrap_or_default();
        self.counts.silent_answers += u64::from(tones.is_empty());
        let length = self.answerer.event(answer.event).map_or(0.0, |event| event.end - event.start);
        self.answer_end = Some(self.now + (length.max(SHORTEST_NOTE) * self.rate).round() as u64);
        self.schedule.play(Arc::new(answer), tones, onset);
    }

    /// The notes of an event from now on: each ends at its length, or with the event.
    fn tones(&self, event: &Event) -> Vec<Tone> {
        let first = event.notes.iter().map(|note| note.start).fold(f64::INFINITY, f64::min).max(event.start);
        let samples = |seconds: f64| (seconds.max(0.0) * self.rate).round() as u64;
        let tone = |note: &mert_events::Note| {
            // The first note answers at once, wherever in its segment it started.
            let start = samples(note.start - first);
            let length = samples((note.end.min(event.end) - note.start.max(event.start)).max(SHORTEST_NOTE));
            let (key, _) = self.answerer.settings().midi.key(note.key);
            Tone { start: self.now + start, end: self.now + start + length, key, velocity: note.velocity }
        };
        event.notes.iter().map(tone).collect()
    }

    /// The clock of the session.
    pub fn pace(&self) -> Pace {
        self.pace
    }
}
