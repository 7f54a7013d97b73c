//! The repair of a choice by measurements, until the limits hold as measured.
//!
//! Predictions are wrong in two ways: errors of layers do not quite add up, and other audio has other errors. Both are much
//! the same for similar mixes. After each measurement, the limit on each hidden state and criterion is corrected by the ratio
//! of what was measured to what was predicted, and the choice is made again.

use std::collections::HashSet;

use crate::Result;
use crate::goal::{Budget, Criterion};
use crate::report::Trial;
use crate::worst_errors::WorstErrors;

/// The factor on the losses of each hidden state and criterion, by which predictions become measurements.
pub(crate) type Corrections = Vec<[f64; 3]>;

/// The inputs of a repair.
pub(crate) struct Repair<'r> {
    pub(crate) budget: Budget,
    /// Whether a choice counts only if the budget holds; otherwise the one with the smallest error is sought.
    pub(crate) must_hold: bool,
    pub(crate) states: usize,
    /// Chooses with corrected losses.
    pub(crate) choose: &'r dyn Fn(&Corrections) -> Result<Vec<usize>>,
    /// The errors that are predicted for a choice, without corrections.
    pub(crate) predict: &'r dyn Fn(&[usize]) -> WorstErrors,
    /// The errors of the assembled choice on held-out clips.
    pub(crate) measure: &'r dyn Fn(&[usize]) -> Result<WorstErrors>,
    /// The bytes of a choice.
    pub(crate) bytes: &'r dyn Fn(&[usize]) -> usize,
    /// The choice of the float type everywhere, within which the budget holds.
    pub(crate) float: Vec<usize>,
}

/// The choice that a repair ends with.
pub(crate) struct Repaired {
    pub(crate) choice: Vec<usize>,
    pub(crate) held_out: WorstErrors,
    pub(crate) trials: Vec<Trial>,
}

/// The number of mixes that are measured to come closer to the limits.
const ROUNDS: usize = 6;

/// The number of further rounds, with ever tighter limits, before everything is left in the float type.
const LAST_ROUNDS: usize = 20;

/// The used part of the limits beyond which coming closer to them is not worth another measurement.
const CLOSE: f64 = 0.985;

/// The factor by which limits are tightened where corrections alone were not enough: at first, and in the last rounds.
const MARGINS: [f64; 2] = [1.02, 1.25];

impl Repair<'_> {
    /// Chooses, measures and corrects.
    ///
    /// # Errors
    /// Those of choosing and measuring.
    pub(crate) fn run(&self) -> Result<Repaired> {
        let mut corrections: Corrections = vec![[1.0; 3]; self.states];
        let (mut margin, mut failures) = (1.0, 0);
        let (mut seen, mut trials) = (HashSet::new(), Vec::new());
        let mut best: Option<(f64, Vec<usize>, WorstErrors)> = None;
        for round in 0..=ROUNDS + LAST_ROUNDS {
            if round >= ROUNDS && best.is_some() {
                break;
            }
            let corrected = corrections.iter().map(|state| state.map(|correction| correction * margin)).collect();
            let choice = match round {
                _ if round == ROUNDS + LAST_ROUNDS => self.float.clone(),
                _ => (self.choose)(&corrected)?,
            };
            let tighter = MARGINS[usize::from(round >= ROUNDS)];
            if !seen.insert(choice.clone()) {
                if best.is_some() {
                    break;
                }
                margin *= tighter;
                continue;
            }
            let measured = (self.measure)(&choice)?;
            let used = self.budget.used(&measured.worst);
            let layer_bytes = (self.bytes)(&choice);
            trials.push(Trial { layer_bytes, held_out: measured.worst, used });
            let holds = used <= 1.0;
            self.correct(&mut corrections, &measured, &(self.predict)(&choice));
            if holds || !self.must_hold {
                let cost = if self.must_hold { layer_bytes as f64 } else { used };
                if best.as_ref().is_none_or(|(least, ..)| cost < *least) {
                    best = Some((cost, choice, measured));
                }
                if self.must_hold && used >= CLOSE {
                    break;
                }
            } else {
                failures += 1;
                if failures > 1 {
                    margin *= tighter;
                }
            }
        }
        match best {
            Some((_, choice, held_out)) => Ok(Repaired { choice, held_out, trials }),
            None => Ok(Repaired { choice: self.float.clone(), held_out: (self.measure)(&self.float)?, trials }),
        }
    }

    /// Sets the corrections to the ratios of measured to predicted losses.
    fn correct(&self, corrections: &mut Corrections, measured: &WorstErrors, predicted: &WorstErrors) {
        /// Beyond it a loss is too close to rounding to say anything about another mix.
        const MOST: f64 = 50.0;
        let states = measured.hidden_states.iter().zip(&predicted.hidden_states);
        for (correction, (measured, predicted)) in corrections.iter_mut().zip(states) {
            for criterion in Criterion::ALL {
                let (measured, predicted) = (criterion.loss(measured), criterion.loss(predicted));
                if measured > 0.0 && predicted > 0.0 {
                    correction[criterion as usize] = (measured / predicted).clamp(1.0 / MOST, MOST);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::losses::LossLayout;

    /// One hidden state with one frame, whose losses are all the same.
    fn fidelity(loss: f64) -> WorstErrors {
        WorstErrors::of_losses([loss; 3].into_iter(), &LossLayout::new(vec![1], 1))
    }

    /// Twenty bits to spend on one layer, each of which halves the predicted loss; 20 is the float type, without error.
    fn predicted(bits: usize) -> f64 {
        if bits == 20 { 0.0 } else { 0.5f64.powi(bits as i32) }
    }

    /// Repairs a choice of bits whose measured loss is `measured(bits)`.
    fn repair(must_hold: bool, measured: impl Fn(usize) -> f64) -> (usize, Vec<Trial>) {
        let budget: Budget = "nmse<=1e-3".parse().unwrap();
        let measurements = RefCell::new(0);
        let repair = Repair {
            budget,
            must_hold,
            states: 1,
            choose: &|corrections| {
                let correction = corrections[0][Criterion::Nmse as usize];
                Ok(vec![(0..20).find(|&bits| predicted(bits) * correction <= 1e-3).unwrap_or(20)])
            },
            predict: &|choice| fidelity(predicted(choice[0])),
            measure: &|choice| {
                *measurements.borrow_mut() += 1;
                Ok(fidelity(measured(choice[0])))
            },
            bytes: &|choice| choice[0],
            float: vec![20],
        };
        let Repaired { choice, trials, .. } = repair.run().unwrap();
        assert!(*measurements.borrow() <= 30);
        (choice[0], trials)
    }

    /// The prediction alone chooses 10 bits in each of these.
    #[test]
    fn what_is_measured_decides() {
        let (bits, trials) = repair(true, predicted);
        assert_eq!((bits, trials[0].layer_bytes), (10, 10));
        // Worse than predicted by a factor: the first measurement tells it.
        let (bits, trials) = repair(true, |bits| 6.0 * predicted(bits));
        assert_eq!((bits, trials.len()), (13, 2));
        assert!(trials[0].used > 1.0 && trials[1].used <= 1.0);
        // Better than predicted: bits are taken away.
        assert_eq!(repair(true, |bits| predicted(bits) / 6.0).0, 8);
        // By another law than predicted.
        assert_eq!(repair(true, |bits| 0.7f64.powi(bits as i32) * f64::from(bits != 20)).0, 20);
        assert_eq!(repair(true, |bits| 0.66f64.powi(bits as i32)).0, 17);
        // Nothing but the float type holds.
        assert_eq!(repair(true, |bits| if bits == 20 { 0.0 } else { 0.5 }).0, 20);
    }

    #[test]
    fn without_a_limit_the_smallest_measured_error_counts() {
        let (bits, trials) = repair(false, |bits| 3.0 * predicted(bits));
        assert_eq!((bits, trials.len()), (12, 2));
    }
}
