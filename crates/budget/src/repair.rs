//! The repair of a choice by measurements, until the limits hold as measured: of encoders and of language models.
//!
//! Predictions are wrong in two ways: errors of layers do not quite add up, and other audio has other errors. Both are much
//! the same for similar mixes. After each measurement, each limit is corrected by the ratio of what was measured to what was
//! predicted, and the choice is made again.

use std::collections::HashSet;

use crate::Result;

/// The factor on each loss by which predictions become measurements.
pub(crate) type Corrections = Vec<f64>;

/// The errors of an assembled choice, `E`, as losses in an order that does not change.
pub(crate) trait Losses {
    /// The losses, one for each correction.
    fn losses(&self) -> Vec<f64>;
}

/// The inputs of a repair whose measurements are `E`.
pub(crate) struct Repair<'r, E> {
    /// True if a choice counts only within the limits; otherwise the one with the smallest error is sought.
    pub(crate) must_hold: bool,
    /// The number of losses.
    pub(crate) losses: usize,
    /// Chooses with corrected losses.
    pub(crate) choose: &'r dyn Fn(&Corrections) -> Result<Vec<usize>>,
    /// The errors that are predicted for a choice, without corrections.
    pub(crate) predict: &'r dyn Fn(&[usize]) -> E,
    /// The errors of the assembled choice on held-out data.
    pub(crate) measure: &'r dyn Fn(&[usize]) -> Result<E>,
    /// The largest error in proportion to its limit: the limits hold if it is at most 1.
    pub(crate) used: &'r dyn Fn(&E) -> f64,
    /// The bytes of a choice.
    pub(crate) bytes: &'r dyn Fn(&[usize]) -> usize,
    /// The choice of the float type everywhere, within which the limits hold.
    pub(crate) float: Vec<usize>,
}

/// The choice that a repair ends with.
pub(crate) struct Repaired<E> {
    pub(crate) choice: Vec<usize>,
    pub(crate) held_out: E,
    pub(crate) trials: Vec<Tried<E>>,
}

/// A choice that was assembled and measured.
#[derive(Debug, Clone)]
pub(crate) struct Tried<E> {
    pub(crate) bytes: usize,
    pub(crate) held_out: E,
    pub(crate) used: f64,
}

/// The number of mixes that are measured to come closer to the limits.
const ROUNDS: usize = 6;

/// The number of further rounds, with ever tighter limits, before everything is left in the float type.
const LAST_ROUNDS: usize = 20;

/// The used part of the limits beyond which coming closer to them is not worth another measurement.
pub(crate) const CLOSE: f64 = 0.985;

/// The factor by which limits are tightened where corrections alone were not enough: at first, and in the last rounds.
const MARGINS: [f64; 2] = [1.02, 1.25];

impl<E: Losses + Clone> Repair<'_, E> {
    /// Chooses, measures and corrects.
    ///
    /// # Errors
    /// Those of choosing and measuring.
    pub(crate) fn run(&self) -> Result<Repaired<E>> {
        let mut corrections: Corrections = vec![1.0; self.losses];
        let (mut margin, mut failures) = (1.0, 0);
        let (mut seen, mut trials) = (HashSet::new(), Vec::new());
        let mut best: Option<(f64, Vec<usize>, E)> = None;
        for round in 0..=ROUNDS + LAST_ROUNDS {
            if round >= ROUNDS && best.is_some() {
                break;
            }
            let corrected = corrections.iter().map(|correction| correction * margin).collect();
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
            let used = (self.used)(&measured);
            let bytes = (self.bytes)(&choice);
            trials.push(Tried { bytes, held_out: measured.clone(), used });
            let holds = used <= 1.0;
            self.correct(&mut corrections, &measured, &(self.predict)(&choice));
            if holds || !self.must_hold {
                let cost = if self.must_hold { bytes as f64 } else { used };
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
    fn correct(&self, corrections: &mut Corrections, measured: &E, predicted: &E) {
        /// Beyond it a loss is too close to rounding to say anything about another mix.
        const MOST: f64 = 50.0;
        let losses = measured.losses().into_iter().zip(predicted.losses());
        for (correction, (measured, predicted)) in corrections.iter_mut().zip(losses) {
            if measured > 0.0 && predicted > 0.0 {
                *correction = (measured / predicted).clamp(1.0 / MOST, MOST);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// One loss.
    impl Losses for f64 {
        fn losses(&self) -> Vec<f64> {
            vec![*self]
        }
    }

    /// Twenty bits to spend on one layer, each of which halves the predicted loss; 20 is the float type, without error.
    fn predicted(bits: usize) -> f64 {
        if bits == 20 { 0.0 } else { 0.5f64.powi(bits as i32) }
    }

    /// Repairs a choice of bits whose measured loss is `measured(bits)`.
    fn repair(must_hold: bool, measured: impl Fn(usize) -> f64) -> (usize, Vec<Tried<f64>>) {
        let measurements = RefCell::new(0);
        let repair = Repair {
            must_hold,
            losses: 1,
            choose: &|corrections| {
                Ok(vec![(0..20).find(|&bits| predicted(bits) * corrections[0] <= 1e-3).unwrap_or(20)])
            },
            predict: &|choice| predicted(choice[0]),
            measure: &|choice| {
                *measurements.borrow_mut() += 1;
                Ok(measured(choice[0]))
            },
            used: &|loss| loss / 1e-3,
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
        assert_eq!((bits, trials[0].bytes), (10, 10));
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
