//! A study of a MusicGen: the measurements of its groups, and the choices that they lead to.

use std::cell::Cell;
use std::path::Path;

use mert_convert::QuantizeOptions;
use mert_fs::TemporaryFolder;
use mert_musicgen::{CpEncoder, DelayPattern, ForcedPiece, LanguageModel, Session};

use super::bundles::{Bundles, open_written};
use super::divergence::{Divergences, of_rows};
use super::goal::MusicgenGoal;
use super::pieces::Pieces;
use super::report::{GroupReport, MusicgenBudgetReport, MusicgenTrial};
use super::sensitivity::Sensitivity;
use super::subject::{MusicgenSubject, WIDTHS};
use crate::choice::{Aim, Choosable, Problem};
use crate::repair::{Corrections, Losses, Repair, Repaired, Tried};
use crate::{BudgetError, Progress, Result};

/// The unit of divergences.
const UNIT: &str = "nats of KL divergence of the logits from the unquantized model, the mean over steps and codebooks";

/// A piece with the logits of the unquantized model.
struct Reference {
    piece: ForcedPiece,
    logits: Vec<f32>,
}

/// A MusicGen with the measurements of its groups, from which bits are chosen for any number of goals.
pub struct MusicgenStudy<'a> {
    subject: &'a MusicgenSubject<'a>,
    bundles: Bundles,
    calibration: Vec<Reference>,
    held_out: Vec<Reference>,
    sensitivity: Sensitivity,
}

/// A choice of bits.
#[derive(Debug, Clone)]
pub struct MusicgenChoice {
    /// The candidate of each group.
    pub choice: Vec<usize>,
    /// The quantization of the conversion with these bits.
    pub quantize: QuantizeOptions,
    /// The choice with its measurements.
    pub report: MusicgenBudgetReport,
}

impl<'a> MusicgenStudy<'a> {
    /// Measures the groups of a model in bundles that are written into `folder`. The result does not depend on the number of
    /// threads.
    ///
    /// # Errors
    /// [`BudgetError::NotFiniteLogits`] for a model that cannot be measured; those of writing and running the model.
    pub fn new(
        subject: &'a MusicgenSubject<'a>,
        folder: TemporaryFolder,
        progress: &(dyn Fn(Progress<'_>) + Sync),
    ) -> Result<Self> {
        let bundles = Bundles::write(subject, folder, progress)?;
        let (lm, cp) = bundles.open(subject, &subject.float())?;
        let model = (&lm, cp.as_ref());
        let Pieces { calibration, held_out } = Pieces::new(&bundles.float, &lm, cp.as_ref(), progress)?;
        let sensitivity = Sensitivity::measure(subject, &bundles, model, &calibration, progress)?;
        let references = |pieces: Vec<ForcedPiece>| {
            let reference = |(name, piece): (String, ForcedPiece)| {
                let logits = logits(model, &piece)?;
                match logits.iter().all(|logit| logit.is_finite()) {
                    true => Ok(Reference { piece, logits }),
                    false => Err(BudgetError::NotFiniteLogits { piece: name }),
                }
            };
            Pieces::names().into_iter().zip(pieces).map(reference).collect::<Result<Vec<_>>>()
        };
        let (calibration, held_out) = (references(calibration)?, references(held_out)?);
        Ok(MusicgenStudy { subject, bundles, calibration, held_out, sensitivity })
    }

    /// Chooses bits for a goal, measures them, and repairs the choice by what held-out pieces show. No choice is larger than the
    /// same bits everywhere that reach the goal, too.
    ///
    /// # Errors
    /// [`BudgetError::TooSmallBundle`] if the fewest bits take more bytes than allowed; those of running the model.
    pub fn search(&self, goal: MusicgenGoal, progress: &(dyn Fn(Progress<'_>) + Sync)) -> Result<MusicgenChoice> {
        self.subject.check(goal)?;
        let measured = Cell::new(0);
        let measure = |choice: &[usize]| {
            measured.set(measured.get() + 1);
            progress(Progress::Assembled(measured.get()));
            self.divergences(choice, &self.held_out)
        };
        let repair = Repair {
            must_hold: matches!(goal, MusicgenGoal::Kl(_)),
            losses: 2 * self.held_out.len(),
            choose: &|corrections| self.choose(goal, corrections),
            predict: &|choice| self.predicted(choice),
            measure: &measure,
            used: &|divergences| divergences.worst() / goal.limit(),
            bytes: &|choice| self.subject.group_bytes(choice),
            float: self.subject.float(),
        };
        let mut repaired = repair.run()?;
        for width in 0..WIDTHS.len() {
            self.try_uniform(goal, self.subject.uniform(width), &mut repaired, &measure)?;
        }
        let report = self.report(goal, &repaired)?;
        Ok(MusicgenChoice { quantize: self.subject.quantize(&repaired.choice), choice: repaired.choice, report })
    }

    /// Takes the same bits everywhere if they reach the goal better than the choice so far.
    fn try_uniform(
        &self,
        goal: MusicgenGoal,
        uniform: Vec<usize>,
        repaired: &mut Repaired<Divergences>,
        measure: &dyn Fn(&[usize]) -> Result<Divergences>,
    ) -> Result<()> {
        let bytes = self.subject.group_bytes(&uniform);
        let may_be_better = match goal {
            MusicgenGoal::Kl(_) => bytes < self.subject.group_bytes(&repaired.choice),
            MusicgenGoal::Size(size) => self.subject.disk_len(&uniform) <= size.0 && uniform != repaired.choice,
        };
        if !may_be_better {
            return Ok(());
        }
        let held_out = measure(&uniform)?;
        let used = held_out.worst() / goal.limit();
        repaired.trials.push(Tried { bytes, held_out: held_out.clone(), used });
        let is_better = match goal {
            MusicgenGoal::Kl(_) => used <= 1.0,
            MusicgenGoal::Size(_) => held_out.worst() < repaired.held_out.worst(),
        };
        if is_better {
            (repaired.choice, repaired.held_out) = (uniform, held_out);
        }
        Ok(())
    }

    /// Opens a written bundle as its users would, and checks on held-out pieces that it has the divergences that were measured
    /// before it was written.
    ///
    /// # Errors
    /// [`BudgetError::OtherDivergence`] if it does not, [`BudgetError::Musicgen`] if it cannot be opened.
    pub fn check_written(&self, path: &Path, chosen: &MusicgenChoice) -> Result<Divergences> {
        /// The same weights are multiplied in the same order: what differs is at most the last bits of sums.
        const ROUNDING: f64 = 1.001;
        let (lm, cp) = open_written(path)?;
        let found = divergences((&lm, cp.as_ref()), &self.held_out)?;
        let MusicgenBudgetReport { goal, held_out, .. } = &chosen.report;
        let mut pairs = found.losses().into_iter().zip(held_out.losses());
        let is_same = pairs.all(|(found, expected)| found <= ROUNDING * expected + 1e-9);
        let holds = matches!(goal, MusicgenGoal::Size(_)) || found.worst() <= goal.limit();
        match is_same && holds {
            true => Ok(found),
            false => {
                Err(BudgetError::OtherDivergence { goal: *goal, expected: held_out.clone(), found: Box::new(found) })
            }
        }
    }

    /// The divergences of a mix.
    fn divergences(&self, choice: &[usize], references: &[Reference]) -> Result<Divergences> {
        let (lm, cp) = self.bundles.open(self.subject, choice)?;
        divergences((&lm, cp.as_ref()), references)
    }

    fn predicted(&self, choice: &[usize]) -> Divergences {
        Divergences::of_losses(&Pieces::names(), &self.sensitivity.predict(choice))
    }

    /// Chooses by predicted divergences, with corrections.
    fn choose(&self, goal: MusicgenGoal, corrections: &Corrections) -> Result<Vec<usize>> {
        let scaled = |losses: &Vec<f64>| {
            let losses = losses.iter().zip(corrections);
            losses.map(|(loss, correction)| (loss * correction / goal.limit()) as f32).collect()
        };
        let groups = self.subject.groups().iter().zip(&self.sensitivity.groups).map(|(group, measured)| {
            let losses = measured.iter().map(scaled).chain([Vec::new()]);
            group.candidates.iter().zip(losses).map(|(c, losses)| Choosable { bytes: c.bytes, losses }).collect()
        });
        let problem = Problem {
            base: vec![0.0; corrections.len()],
            groups: groups.collect(),
            weights: vec![1.0; corrections.len()],
        };
        match goal {
            MusicgenGoal::Kl(_) => Ok(problem.choose(Aim::Limits)),
            MusicgenGoal::Size(size) => {
                problem.choose_within(size.0 as usize, &|choice| Ok(self.subject.disk_len(choice) as usize))
            }
        }
    }

    fn report(&self, goal: MusicgenGoal, repaired: &Repaired<Divergences>) -> Result<MusicgenBudgetReport> {
        let Repaired { choice, held_out, trials } = repaired;
        // The row of the piece with the largest divergence, by which the shares are counted.
        let losses = held_out.losses();
        let tightest = losses.iter().enumerate().fold(0, |best, (i, loss)| if *loss > losses[best] { i } else { best });
        let total = self.sensitivity.predict(choice)[tightest];
        let measured = choice.iter().zip(&self.sensitivity.groups);
        let groups = self.subject.groups().iter().zip(measured).map(|(group, (&i, measured))| {
            let candidate = group.candidates[i];
            let loss = measured.get(i).map_or(0.0, |losses| losses[tightest]);
            GroupReport {
                name: group.name.clone(),
                modules: group.modules.clone(),
                bits: candidate.quantization.map(|quantization| quantization.bits),
                group_size: candidate.quantization.map(|quantization| quantization.group_size),
                bytes: candidate.bytes,
                share: if total > 0.0 { loss / total } else { 0.0 },
            }
        });
        let trial =
            |tried: &Tried<Divergences>| MusicgenTrial { group_bytes: tried.bytes, held_out: tried.held_out.clone() };
        Ok(MusicgenBudgetReport {
            goal,
            unit: UNIT,
            bytes: self.subject.disk_len(choice),
            dtype: self.subject.plan().dtype,
            groups: groups.collect(),
            predicted: self.predicted(choice),
            calibration: self.divergences(choice, &self.calibration)?,
            held_out: held_out.clone(),
            written: None,
            trials: trials.iter().map(trial).collect(),
            cost: self.subject.cost(),
        })
    }
}

/// The divergences of a model.
fn divergences(model: (&LanguageModel, Option<&CpEncoder>), references: &[Reference]) -> Result<Divergences> {
    let codes = model.0.config().vocab_size;
    let mut losses = Vec::with_capacity(2 * references.len());
    for Reference { piece, logits: reference } in references {
        losses.extend(of_rows(&logits(model, piece)?, reference, codes));
    }
    Ok(Divergences::of_losses(&Pieces::names(), &losses))
}

/// The logits of a piece, as `mert-generate` computes them.
fn logits((lm, cp): (&LanguageModel, Option<&CpEncoder>), piece: &ForcedPiece) -> Result<Vec<f32>> {
    let config = lm.config();
    let pattern = DelayPattern::new(config.num_codebooks, config.audio_channels, config.vocab_size as u32);
    let (text, input) = (lm.condition(&piece.text_states)?, pattern.input(&piece.codes));
    let prefix = cp.zip(piece.input.as_ref()).map(|(cp, codes)| cp.prefix(lm, codes)).transpose()?;
    Ok(Session::new(lm, &text, prefix.as_ref(), true, input.frames())?.trace(&input)?.0)
}
