//! The choice of a mode: as work of its own, and what the engine asks and does with the answer.

use super::Engine;
use crate::Result;
use crate::mode::{FirstOf, ModeChoice, ModeInput, ModeSelector, RunningStatistics};
use crate::output::Output;
use crate::statistics::RUNNING_SECONDS;
use crate::work::Job;

/// The sound that a mode is chosen for.
pub(super) struct ModeQuestion {
    pub(super) statistics: RunningStatistics,
    pub(super) samples: Vec<f32>,
    pub(super) rate: u32,
    pub(super) time: f64,
}

/// The selectors.
pub(super) struct ModeJob(pub(super) FirstOf);

impl Job for ModeJob {
    type Input = ModeQuestion;
    type Output = (Result<Option<ModeChoice>>, &'static str);

    fn run(&mut self, question: ModeQuestion) -> Self::Output {
        let ModeQuestion { statistics, samples, rate, time } = question;
        let choice = self.0.select(&ModeInput { samples: &samples, rate, time, statistics });
        (choice, self.0.name())
    }
}

impl Engine {
    /// The statistics of the last seconds.
    fn running(&mut self) -> RunningStatistics {
        let time = self.now as f64 / self.rate;
        while self.onsets.front().is_some_and(|onset| *onset < time - RUNNING_SECONDS) {
            self.onsets.pop_front();
        }
        let recent = self.heard.recent();
        RunningStatistics {
            onset_rate: self.onsets.len() as f64 / time.clamp(1.0, RUNNING_SECONDS),
            level: mert_events::level::level(self.sound.last(RUNNING_SECONDS)).rms,
            entropy: (recent.frames > 0).then_some(recent.entropy),
            used_tokens: recent.used,
        }
    }

    /// Asks the selectors at each interval, and takes up what they have chosen.
    pub(super) fn choose_mode(&mut self, outputs: &mut Vec<Output>) -> Result<()> {
        if self.selector.is_none() {
            return Ok(());
        }
        if self.now >= self.next_choice {
            self.next_choice = self.now + self.mode_interval;
            let question = ModeQuestion {
                statistics: self.running(),
                samples: self.sound.all().to_vec(),
                rate: self.rate as u32,
                time: self.now as f64 / self.rate,
            };
            // A selector that is still busy is asked again at the next interval.
            if let Some(selector) = &mut self.selector {
                selector.submit(self.now, question)?;
            }
        }
        let Some(selector) = &mut self.selector else { return Ok(()) };
        while let Some((choice, by)) = selector.poll(self.now)? {
            match choice {
                Ok(Some(choice)) if self.mode.as_ref() != Some(&choice.mode) => {
                    let set = self.modes.get(&choice.mode).and_then(|mode| self.answerer.set_mode(mode));
                    match set {
                        Ok(remarks) => {
                            let score = choice.score.map(|score| format!(", {score:.2}")).unwrap_or_default();
                            outputs.push(Output::Notice(format!("mode {} (by {by}{score})", choice.mode)));
                            outputs.extend(remarks.into_iter().map(Output::Notice));
                        }
                        Err(error) => outputs.push(Output::Notice(error.to_string())),
                    }
                    self.mode = Some(choice.mode);
                }
                Ok(_) => {}
                Err(error) => outputs.push(Output::Notice(error.to_string())),
            }
        }
        Ok(())
    }
}
