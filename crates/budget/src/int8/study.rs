//! A study of a converted file: the error that 8-bit integers add in each module, and the choices that it leads to.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::Device;
use mert_arch::{ComputeType, Dtype, Int8Exceptions, Int8Module, int8_modules};
use mert_runtime::{ConvertedFile, Model, Workspace, instruction_set};

use super::report::{Int8ModuleReport, Int8Report};
use crate::audio::{Audio, AudioDescription};
use crate::choice::Aim;
use crate::clips::Clips;
use crate::goal::{Budget, Criterion, Goal};
use crate::repair::{CLOSE, Repair, Repaired};
use crate::report::Tightest;
use crate::sensitivity::Sensitivity;
use crate::worst_errors::WorstErrors;
use crate::{BudgetError, Progress, Result};

/// The numbers that a module can multiply, the fastest first, each with the time of a multiply-add in quarters of that of f32: a
/// register holds four times as many integers as floats, and twice as many bf16 numbers.
const CANDIDATES: [(ComputeType, f64); 3] =
    [(ComputeType::Int8, 1.0), (ComputeType::BF16, 2.0), (ComputeType::F32, 4.0)];

/// The last candidate, f32.
const FLOAT: usize = CANDIDATES.len() - 1;

/// A converted file, in which exceptions are chosen for any number of budgets.
///
/// The reference is the same file in f32. Attention between its projections multiplies bf16 in any case.
pub struct Int8Study<'a> {
    file: &'a ConvertedFile,
    modules: Vec<Int8Module>,
    calibration: Clips<'a>,
    held_out: Clips<'a>,
    description: &'a AudioDescription,
    /// The errors that modules add, once they are measured.
    sensitivity: OnceLock<Sensitivity>,
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
    /// Measures a converted file with integers and with floats in every module.
    ///
    /// # Errors
    /// [`BudgetError::Model`] for a model that the CPU's own engine does not support, or a clip that it cannot take;
    /// [`BudgetError::NotFinite`].
    pub fn new(file: &'a ConvertedFile, audio: &'a Audio) -> Result<Self> {
        let exact = Model::from_file(file, ComputeType::F32, &Device::Cpu)?;
        let (calibration, held_out) = (Clips::new(&exact, &audio.calibration)?, Clips::new(&exact, &audio.held_out)?);
        let samples = audio.calibration.first().map_or(0, |clip| clip.input_values.len());
        let modules = int8_modules(&file.metadata().config, samples);
        let measure = |candidate: usize| {
            let choice = vec![candidate; modules.len()];
            held_out.worst_errors(&Model::from_file_in_int8(file, &exceptions(&modules, &choice))?)
        };
        let (float, all_int8) = (measure(FLOAT)?, measure(0)?);
        let (description, sensitivity) = (&audio.description, OnceLock::new());
        Ok(Int8Study { file, modules, calibration, held_out, description, sensitivity, float, all_int8 })
    }

    /// Chooses the modules that keep floats, so that little time is spent in floats and the budget holds on held-out clips. The first
    /// choice measures the modules. The result does not depend on the number of threads; other instructions round otherwise, and may
    /// lead to another one.
    ///
    /// # Errors
    /// [`BudgetError::Int8Infeasible`] if not even floats hold it; those of running the model.
    pub fn search(&self, budget: Budget, progress: &(dyn Fn(Progress<'_>) + Sync)) -> Result<Int8Choice> {
        if budget.used(&self.float.worst) > 1.0 {
            return Err(BudgetError::Int8Infeasible { budget, found: Box::new(self.float.clone()) });
        }
        let sensitivity = match self.sensitivity.get() {
            Some(sensitivity) => sensitivity,
            None => {
                let measured = self.measure_modules(progress)?;
                self.sensitivity.get_or_init(|| measured)
            }
        };
        let costs: Vec<Vec<usize>> = self.modules.iter().map(costs).collect();
        let measured = AtomicUsize::new(0);
        let measure = |choice: &[usize]| {
            progress(Progress::Assembled(measured.fetch_add(1, Ordering::Relaxed) + 1));
            self.held_out.worst_errors(&self.model(choice)?)
        };
        let repair = Repair {
            must_hold: true,
            losses: Criterion::ALL.len() * sensitivity.layout.states(),
            choose: &|corrections| {
                Ok(sensitivity.problem(budget, corrections, costs.iter().cloned()).choose(Aim::Limits))
            },
            predict: &|choice| sensitivity.predicted(choice),
            measure: &measure,
            used: &|errors| budget.used(&errors.worst),
            bytes: &|choice| costs.iter().zip(choice).map(|(costs, &i)| costs[i]).sum(),
            float: vec![FLOAT; self.modules.len()],
        };
        let Repaired { mut choice, mut held_out, .. } = repair.run()?;
        // The repair tightens limits for many modules at once, and may leave some in floats without need.
        let mut order: Vec<usize> = (0..choice.len()).filter(|&i| choice[i] > 0).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(costs[i][choice[i]]));
        for i in order {
            while choice[i] > 0 && budget.used(&held_out.worst) < CLOSE {
                let mut cheaper = choice.clone();
                cheaper[i] -= 1;
                let errors = measure(&cheaper)?;
                if budget.used(&errors.worst) > 1.0 {
                    break;
                }
                (choice, held_out) = (cheaper, errors);
            }
        }
        let report = self.report(budget, sensitivity, &choice, held_out, measured.into_inner());
        Ok(Int8Choice { exceptions: exceptions(&self.modules, &choice), report })
    }

    /// The errors that each module adds in each kind of numbers, while all others are exact.
    fn measure_modules(&self, progress: &(dyn Fn(Progress<'_>) + Sync)) -> Result<Sensitivity> {
        progress(Progress::Measurements(FLOAT * self.modules.len()));
        let exact = Model::from_file(self.file, ComputeType::F32, &Device::Cpu)?;
        let all_float = vec![FLOAT; self.modules.len()];
        let base = self.calibration.losses(&self.model(&all_float)?)?;
        let mut workspace = Workspace::default();
        let mut groups = Vec::with_capacity(self.modules.len());
        for (i, module) in self.modules.iter().enumerate() {
            let mut losses = Vec::new();
            for candidate in 0..FLOAT {
                let mut choice = all_float.clone();
                choice[i] = candidate;
                let changed = exact.with_int8_part(module.layer, self.file, &exceptions(&self.modules, &choice))?;
                losses.push(match module.layer {
                    0 => self.calibration.losses(&changed)?,
                    layer => self.calibration.losses_from(&changed, layer, &mut workspace)?,
                });
                progress(Progress::Measured(&module.path));
            }
            groups.push(losses);
        }
        Ok(Sensitivity { base, groups, layout: self.calibration.layout().clone() })
    }

    fn model(&self, choice: &[usize]) -> Result<Model> {
        Ok(Model::from_file_in_int8(self.file, &exceptions(&self.modules, choice))?)
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

    fn report(
        &self,
        budget: Budget,
        sensitivity: &Sensitivity,
        choice: &[usize],
        held_out: WorstErrors,
        trials: usize,
    ) -> Int8Report {
        let (used, hidden_state, criterion) = held_out.tightest(&budget);
        let (shares, attention_share) = sensitivity.shares(choice, hidden_state, criterion);
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
            predicted: sensitivity.predicted(choice),
            held_out,
            all_int8: self.all_int8.worst,
            float: self.float.worst,
            instructions: instruction_set(),
            trials,
        }
    }
}

/// The time of a module with each candidate, in that of a thousand multiply-adds of 8-bit integers.
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
