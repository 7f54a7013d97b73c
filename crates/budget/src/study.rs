//! A study of a model: the measurements of its layers, and the choices that they lead to.

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use mert_convert::PlanOptions;

use crate::audio::{Audio, AudioDescription, Clip};
use crate::choice::Aim;
use crate::clips::Clips;
use crate::goal::{Criterion, Goal};
use crate::repair::{Corrections, Repair, Repaired, Tried};
use crate::report::{BudgetReport, LayerReport, Tightest, Trial};
use crate::sensitivity::Sensitivity;
use crate::subject::{Group, Subject};
use crate::worst_errors::WorstErrors;
use crate::{BudgetError, Progress, Result};

/// A model with the measurements of its layers, from which bits are chosen for any number of goals.
pub struct Study<'a> {
    subject: &'a Subject<'a>,
    calibration: Clips<'a>,
    held_out: Clips<'a>,
    description: &'a AudioDescription,
    sensitivity: Sensitivity,
    /// The errors on held-out clips with every layer in the float type.
    float: WorstErrors,
}

/// A choice of bits.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The candidate of each group.
    pub choice: Vec<usize>,
    /// The options of the conversion with these bits.
    pub options: PlanOptions,
    /// The choice with its measurements.
    pub report: BudgetReport,
}

impl<'a> Study<'a> {
    /// Measures the layers of a model. The result does not depend on the number of threads.
    ///
    /// # Errors
    /// [`BudgetError::NoLayers`] if there is no layer to choose bits for; those of reading weights and of running the model.
    pub fn new(subject: &'a Subject<'a>, audio: &'a Audio, progress: &(dyn Fn(Progress<'_>) + Sync)) -> Result<Self> {
        if subject.groups().is_empty() {
            return Err(BudgetError::NoLayers { group_size: subject.group_size() });
        }
        let exact = subject.exact_model()?;
        let calibration = Clips::new(&exact, &audio.calibration)?;
        let held_out = Clips::new(&exact, &audio.held_out)?;
        let sensitivity = Sensitivity::measure(subject, &exact, &calibration, progress)?;
        drop(exact);
        let float = held_out.worst_errors(&subject.model(&float_choice(subject))?)?;
        Ok(Study { subject, calibration, held_out, description: &audio.description, sensitivity, float })
    }

    /// The worst errors of a mix on held-out clips.
    fn held_out(&self, choice: &[usize]) -> Result<WorstErrors> {
        self.held_out.worst_errors(&self.subject.model(choice)?)
    }

    /// The worst errors on any clips, in the order of `choices`.
    ///
    /// # Errors
    /// Those of reading weights and of running the model.
    pub fn measure(&self, clips: &[Clip], choices: &[Vec<usize>]) -> Result<Vec<WorstErrors>> {
        let clips = Clips::new(&self.subject.exact_model()?, clips)?;
        choices.iter().map(|choice| clips.worst_errors(&self.subject.model(choice)?)).collect()
    }

    /// Chooses bits for a goal, assembles them, and repairs the choice by what held-out clips show.
    ///
    /// # Errors
    /// [`BudgetError::Infeasible`] if not even the float type holds the budget, [`BudgetError::TooSmall`] if the fewest bits
    /// take more bytes than allowed; those of reading weights and of running the model.
    pub fn search(&self, goal: Goal, progress: &(dyn Fn(Progress<'_>) + Sync)) -> Result<Chosen> {
        let (subject, budget) = (self.subject, goal.budget());
        let float = float_choice(subject);
        match goal {
            Goal::Error(budget) if budget.used(&self.float.worst) > 1.0 => {
                let (dtype, found) = (subject.plan().dtype, Box::new(self.float.clone()));
                return Err(BudgetError::Infeasible { budget, dtype, found });
            }
            _ => subject.check(goal)?,
        }
        let assembled = AtomicUsize::new(0);
        let repair = Repair {
            must_hold: matches!(goal, Goal::Error(_)),
            losses: Criterion::ALL.len() * self.sensitivity.layout.states(),
            choose: &|corrections| self.choose(goal, corrections),
            predict: &|choice| self.sensitivity.predicted(choice),
            measure: &|choice| {
                progress(Progress::Assembled(assembled.fetch_add(1, Ordering::Relaxed) + 1));
                self.held_out(choice)
            },
            used: &|errors| budget.used(&errors.worst),
            bytes: &|choice| self.layer_bytes(choice),
            float,
        };
        let repaired = repair.run()?;
        let report = self.report(goal, &repaired)?;
        let options = subject.options(&repaired.choice);
        Ok(Chosen { choice: repaired.choice, options, report })
    }

    /// Loads a written file or folder as its users would, and checks on held-out clips that it has the errors that were
    /// measured before it was written.
    ///
    /// # Errors
    /// [`BudgetError::NotHeld`] if it does not, [`BudgetError::Model`] if it cannot be loaded.
    pub fn check_file(&self, path: &Path, chosen: &Chosen) -> Result<WorstErrors> {
        /// The same weights are decoded by other code in the same arithmetic: only the last bits of sums differ.
        const ROUNDING: f64 = 1.01;
        let found = crate::clips::measure_file(path, &self.held_out)?;
        let BudgetReport { goal, held_out, .. } = &chosen.report;
        let is_same = Criterion::ALL
            .into_iter()
            .all(|criterion| criterion.loss(&found.worst) <= ROUNDING * criterion.loss(&held_out.worst) + 1e-9);
        let holds = matches!(goal, Goal::Size(_)) || goal.budget().used(&found.worst) <= 1.0;
        match is_same && holds {
            true => Ok(found),
            false => Err(BudgetError::NotHeld {
                goal: *goal,
                expected: Box::new(held_out.worst),
                found: Box::new(found.worst),
            }),
        }
    }

    fn layer_bytes(&self, choice: &[usize]) -> usize {
        self.subject.groups().iter().zip(choice).map(|(group, &i)| group.candidates[i].bytes).sum()
    }

    /// Chooses by predicted errors, with corrections.
    fn choose(&self, goal: Goal, corrections: &Corrections) -> Result<Vec<usize>> {
        let bytes = |group: &Group| group.candidates.iter().map(|candidate| candidate.bytes).collect();
        let costs = self.subject.groups().iter().map(bytes);
        let problem = self.sensitivity.problem(goal.budget(), corrections, costs);
        match goal {
            Goal::Error(_) => Ok(problem.choose(Aim::Limits)),
            Goal::Size(size) => problem.choose_within(size.0 as usize, &|choice| self.subject.file_len(choice)),
        }
    }

    fn report(&self, goal: Goal, repaired: &Repaired<WorstErrors>) -> Result<BudgetReport> {
        let Repaired { choice, held_out, trials } = repaired;
        let (used, hidden_state, criterion) = held_out.tightest(&goal.budget());
        let (shares, float_share) = self.sensitivity.shares(choice, hidden_state, criterion);
        let chosen = self.subject.groups().iter().zip(choice);
        let layers = chosen.zip(shares).map(|((group, &i), share)| {
            let candidate = group.candidates[i];
            LayerReport {
                module: group.module.clone(),
                bits: candidate.quantization.map(|quantization| quantization.bits),
                group_size: candidate.quantization.map(|quantization| quantization.group_size),
                bytes: candidate.bytes,
                share,
            }
        });
        Ok(BudgetReport {
            goal,
            bytes: self.subject.file_len(choice)? as u64,
            dtype: self.subject.plan().dtype,
            audio: self.description.clone(),
            layers: layers.collect(),
            float_share,
            tightest: Tightest { hidden_state, criterion, used },
            predicted: self.sensitivity.predicted(choice),
            calibration: self.calibration.worst_errors(&self.subject.model(choice)?)?,
            held_out: held_out.clone(),
            float: self.float.worst,
            trials: trials.iter().map(trial).collect(),
        })
    }
}

/// A report's lines about a choice that was measured.
fn trial(tried: &Tried<WorstErrors>) -> Trial {
    Trial { layer_bytes: tried.bytes, held_out: tried.held_out.worst, used: tried.used }
}

/// The choice of the float type for every layer.
fn float_choice(subject: &Subject<'_>) -> Vec<usize> {
    subject.groups().iter().map(|group| group.candidates.len() - 1).collect()
}
