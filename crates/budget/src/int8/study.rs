//! A study of a converted file: the error that 8-bit integers add in each module, and the choices that it leads to.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::Device;
use mert_arch::{ComputeType, Dtype, Int8Exceptions, Int8Module, int8_modules};
use mert_runtime::{ConvertedFile, Model, Workspace};

use super::report::{Int8ModuleReport, Int8Report};
use crate::audio::{Audio, AudioDescription};
use crate::choice::Aim;
use crate::clips::Clips;
use crate::goal::{Budget, Criterion, Goal};
use crate::repair::Repair;
use crate::report::Tightest;
use crate::sensitivity::Sensitivity;
use crate::worst_errors::WorstErrors;
use crate::{BudgetError, Progress, Result};

/// What a module can multiply, the fastest first, with the time of a multiply-add in quarters of that of f32: a register holds four
/// times as many integers as floats, and twice as many bf16 numbers.
const CANDIDATES: [(ComputeType, f64); 3] =
    [(ComputeType::Int8, 1.0), (ComputeType::BF16, 2.0), (ComputeType::F32, 4.0)];

/// A converted file with the measurements of its modules, from which exceptions are chosen for any number of budgets.
///
/// The reference is the same file in f32. Attention between its projections multiplies bf16 in any case.
pub struct Int8Study<'a> {
    file: &'a ConvertedFile,
    modules: Vec<Int8Module>,
    held_out: Clips<'a>,
    description: &'a AudioDescription,
    sensitivity: Sensitivity,
    /// The errors on held-out clips with f32 in every module.
    float: WorstErrors,
    /// The errors on held-out clips with 8-bit integers in every module.
    all_int8: WorstErrors,
}

/// A choice of the modules that keep floats.
#[derive(Debug, Clone)]
pub struct Int8Choice {
    /// The modules that keep floats.
    pub exceptions: Int8Exceptions,
    /// The choice with its measurements.
    pub report: Int8Report,
}

impl<'a> Int8Study<'a> {
    /// Measures the modules of a converted file. The result does not depend on the number of threads.
    ///
    /// # Errors
    /// [`BudgetError::Model`] for a model that the CPU's own engine does not support, or a clip that it cannot take;
    /// [`BudgetError::NotFinite`].
    pub fn new(file: &'a ConvertedFile, audio: &'a Audio, progress: &(dyn Fn(Progress<'_>) + Sync)) -> Result<Self> {
        let exact = Model::from_file(file, ComputeType::F32, &Device::Cpu)?;
        let calibration = Clips::new(&exact, &audio.calibration)?;
        let held_out = Clips::new(&exact, &audio.held_out)?;
        let samples = audio.calibration.first().map_or(0, |clip| clip.input_values.len());
        let modules = int8_modules(&file.metadata().config, samples);
        progress(Progress::Measurements((CANDIDATES.len() - 1) * modules.len()));
        let (all_int8, all_float) = (vec![0; modules.len()], vec![CANDIDATES.len() - 1; modules.len()]);
        let model = |choice: &[usize]| Model::from_file_in_int8(file, &exceptions(&modules, choice));
        let base = calibration.losses(&model(&all_float)?)?;
        let mut workspace = Workspace::default();
        let mut groups = Vec::with_capacity(modules.len());
        for (i, module) in modules.iter().enumerate() {
            let mut losses = Vec::new();
            for candidate in 0..CANDIDATES.len() - 1 {
                let mut choice = all_float.clone();
                choice[i] = candidate;
                let changed = exact.with_int8_part(module.layer, file, &exceptions(&modules, &choice))?;
                losses.push(match module.layer {
                    0 => calibration.losses(&changed)?,
                    layer => calibration.losses_from(&changed, layer, &mut workspace)?,
                });
                progress(Progress::Measured(&module.path));
            }
            groups.push(losses);
        }
        let (float, all_int8) =
            (held_out.worst_errors(&model(&all_float)?)?, held_out.worst_errors(&model(&all_int8)?)?);
        let sensitivity = Sensitivity { base, groups, layout: calibration.layout().clone() };
        Ok(Int8Study { file, modules, held_out, description: &audio.description, sensitivity, float, all_int8 })
    }

    /// Chooses the modules that keep floats: those whose time in floats is the least that holds the budget on held-out clips.
    ///
    /// # Errors
    /// [`BudgetError::Int8Infeasible`] if not even floats hold it; those of running the model.
    pub fn search(&self, budget: Budget, progress: &(dyn Fn(Progress<'_>) + Sync)) -> Result<Int8Choice> {
        if budget.used(&self.float.worst) > 1.0 {
            return Err(BudgetError::Int8Infeasible { budget, found: Box::new(self.float.clone()) });
        }
        let costs: Vec<Vec<usize>> = self.modules.iter().map(costs).collect();
        let measured = AtomicUsize::new(0);
        let repair = Repair {
            must_hold: true,
            losses: Criterion::ALL.len() * self.sensitivity.layout.states(),
            choose: &|corrections| {
                let problem = self.sensitivity.problem(budget, corrections, costs.iter().cloned());
                Ok(problem.choose(Aim::Limits))
            },
            predict: &|choice| self.sensitivity.predicted(choice),
            measure: &|choice| {
                progress(Progress::Assembled(measured.fetch_add(1, Ordering::Relaxed) + 1));
                self.held_out.worst_errors(&Model::from_file_in_int8(self.file, &exceptions(&self.modules, choice))?)
            },
            used: &|errors| budget.used(&errors.worst),
            bytes: &|choice| costs.iter().zip(choice).map(|(costs, &i)| costs[i]).sum(),
            float: vec![CANDIDATES.len() - 1; self.modules.len()],
        };
        let repaired = repair.run()?;
        let report = self.report(budget, &repaired.choice, &repaired.held_out, repaired.trials.len());
        Ok(Int8Choice { exceptions: exceptions(&self.modules, &repaired.choice), report })
    }

    /// Loads a written file or folder as its users would, and checks on held-out clips that it computes in 8-bit integers with the
    /// errors that were measured before.
    ///
    /// # Errors
    /// [`BudgetError::NotHeld`] if it does not, [`BudgetError::Model`] if it cannot be loaded.
    pub fn check_file(&self, path: &Path, chosen: &Int8Choice) -> Result<()> {
        /// The same weights in the same arithmetic.
        const ROUNDING: f64 = 1.01;
        let found = self.held_out.worst_errors(&Model::open(path, ComputeType::Int8, &Device::Cpu)?)?;
        let expected = &chosen.report.held_out;
        let is_same = Criterion::ALL
            .into_iter()
            .all(|criterion| criterion.loss(&found.worst) <= ROUNDING * criterion.loss(&expected.worst) + 1e-9);
        match is_same {
            true => Ok(()),
            false => Err(BudgetError::NotHeld {
                goal: Goal::Error(chosen.report.budget),
                expected: Box::new(expected.worst),
                found: Box::new(found.worst),
            }),
        }
    }

    fn report(&self, budget: Budget, choice: &[usize], held_out: &WorstErrors, trials: usize) -> Int8Report {
        let (used, hidden_state, criterion) = held_out.tightest(&budget);
        let (shares, attention_share) = self.sensitivity.shares(choice, hidden_state, criterion);
        let all: f64 = self.modules.iter().map(|module| module.multiply_adds).sum();
        let chosen = self.modules.iter().zip(choice).zip(shares);
        let modules: Vec<Int8ModuleReport> = chosen
            .map(|((module, &i), share)| Int8ModuleReport {
                module: module.path.clone(),
                compute: CANDIDATES[i].0,
                multiply_adds: module.multiply_adds / all,
                share,
            })
            .collect();
        let in_int8 = modules.iter().filter(|module| module.compute == ComputeType::Int8);
        Int8Report {
            budget,
            audio: self.description.clone(),
            int8_multiply_adds: in_int8.map(|module| module.multiply_adds).sum(),
            modules,
            attention_share,
            tightest: Tightest { hidden_state, criterion, used },
            predicted: self.sensitivity.predicted(choice),
            held_out: held_out.clone(),
            all_int8: self.all_int8.worst,
            float: self.float.worst,
            trials,
        }
    }
}

/// The time of a module with each candidate, in a millionth of an f32 multiply-add's quarter.
fn costs(module: &Int8Module) -> Vec<usize> {
    CANDIDATES.iter().map(|(_, time)| (module.multiply_adds * time / 1e3).ceil() as usize).collect()
}

/// The modules that do not multiply 8-bit integers in a choice.
fn exceptions(modules: &[Int8Module], choice: &[usize]) -> Int8Exceptions {
    let dtype = |i: usize| CANDIDATES[i].0.float();
    Int8Exceptions::new(
        modules
            .iter()
            .zip(choice)
            .filter_map(|(module, &i)| Some((module.path.clone(), dtype(i)?)))
            .collect::<Vec<(String, Dtype)>>(),
    )
}
