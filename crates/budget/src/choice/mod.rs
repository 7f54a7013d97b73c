//! The choice of one option for each group by losses that add up: the fewest bytes within limits on every sum, or the
//! smallest largest sum within a number of bytes.
//!
//! With a weight for each limit, the losses of an option become one number, and the best choice for any total is found by
//! taking the steps along each group's convex hull in the order of their gain per byte ([`hull`]). The weights are those of
//! a Lagrangian relaxation: they grow on limits that are nearly reached, and shrink on others
//! ([multiplicative weights](https://doi.org/10.4086/toc.2012.v008a006)). What the hull misses is made up for one option at
//! a time ([`polish`]).

mod hull;
mod polish;

use self::hull::{Step, steps};
use crate::Result;

/// An option of a group.
#[derive(Debug, Clone)]
pub(crate) struct Choosable {
    pub(crate) bytes: usize,
    /// The losses that it adds, each as a fraction of its limit; empty if it adds none.
    pub(crate) losses: Vec<f32>,
}

/// Groups with their options, in fractions of limits that a sum reaches at 1.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    /// The losses that no choice avoids.
    pub(crate) base: Vec<f32>,
    /// The options of each group by ascending bytes.
    pub(crate) groups: Vec<Vec<Choosable>>,
    /// The weights of the limits to begin with.
    pub(crate) weights: Vec<f64>,
}

/// The side that is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    /// The limits, for the fewest bytes.
    Limits,
    /// The bytes of all groups together, for the smallest of the largest sums.
    Bytes(usize),
}

/// The number of times that the weights are adjusted.
const ROUNDS: usize = 40;

impl Problem {
    /// Chooses an option for each group. Where no choice is within the limits, all groups have their largest option; where
    /// none has so few bytes, their smallest.
    pub(crate) fn choose(&self, aim: Aim) -> Vec<usize> {
        let mut weights = self.weights.clone();
        let mut best: Option<(f64, Vec<usize>)> = None;
        for round in 0..ROUNDS {
            let state = self.walk(aim, &steps(self, &weights));
            let largest = state.largest();
            if aim != Aim::Limits || largest <= 1.0 {
                let cost = self.cost(aim, &state, largest);
                if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                    best = Some((cost, state.choice.clone()));
                }
            }
            let rate = 1.0 / (1.0 + round as f64 / 4.0);
            for (weight, sum) in weights.iter_mut().zip(&state.sums) {
                *weight *= (rate * (f64::from(*sum) / largest.max(f64::MIN_POSITIVE) - 1.0)).exp();
            }
            let total: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight /= total.max(f64::MIN_POSITIVE));
        }
        let largest = || self.groups.iter().map(|options| options.len().saturating_sub(1)).collect();
        let mut state = State::new(self, best.map_or_else(largest, |(_, choice)| choice));
        polish::polish(self, aim, &mut state);
        state.choice
    }

    /// Chooses an option for each group within `size` bytes of a file, of which `file_len` tells the length, header included.
    ///
    /// # Errors
    /// Those of `file_len`.
    pub(crate) fn choose_within(
        &self,
        size: usize,
        file_len: &dyn Fn(&[usize]) -> Result<usize>,
    ) -> Result<Vec<usize>> {
        let smallest = vec![0; self.groups.len()];
        let mut others = file_len(&smallest)?.saturating_sub(self.bytes(&smallest));
        // The header names the layers that differ from the most frequent encoding: its length depends on the choice, by a
        // line for each at most.
        for _ in 0..smallest.len() + 8 {
            let choice = self.choose(Aim::Bytes(size.saturating_sub(others)));
            let len = file_len(&choice)?;
            if len <= size {
                return Ok(choice);
            }
            others = (others + 1).max(len.saturating_sub(self.bytes(&choice)));
        }
        Ok(smallest)
    }

    /// The bytes of all groups together.
    fn bytes(&self, choice: &[usize]) -> usize {
        self.groups.iter().zip(choice).map(|(options, &i)| options[i].bytes).sum()
    }

    /// Takes steps in their order until the limits hold, or as long as the bytes suffice.
    fn walk(&self, aim: Aim, steps: &[Step]) -> State {
        let mut state = State::new(self, vec![0; self.groups.len()]);
        for step in steps {
            match aim {
                Aim::Limits if state.largest() <= 1.0 => break,
                // A step before this one in the same group may have been too large.
                _ if state.choice[step.group] != step.from => continue,
                Aim::Bytes(available) if state.bytes + step.bytes(self) > available => continue,
                _ => state.change(self, step.group, step.to),
            }
        }
        state
    }

    fn cost(&self, aim: Aim, state: &State, largest: f64) -> f64 {
        match aim {
            Aim::Limits => state.bytes as f64,
            Aim::Bytes(_) => largest,
        }
    }
}

/// A choice with its sums.
#[derive(Debug, Clone)]
struct State {
    choice: Vec<usize>,
    bytes: usize,
    /// The sums of the losses, in fractions of their limits.
    sums: Vec<f32>,
}

impl State {
    fn new(problem: &Problem, choice: Vec<usize>) -> Self {
        let mut sums = problem.base.clone();
        let mut bytes = 0;
        for (options, &i) in problem.groups.iter().zip(&choice) {
            bytes += options[i].bytes;
            sums.iter_mut().zip(&options[i].losses).for_each(|(sum, loss)| *sum += loss);
        }
        State { choice, bytes, sums }
    }

    fn change(&mut self, problem: &Problem, group: usize, to: usize) {
        let options = &problem.groups[group];
        let (before, after) = (&options[self.choice[group]], &options[to]);
        self.bytes = self.bytes + after.bytes - before.bytes;
        self.sums.iter_mut().zip(&after.losses).for_each(|(sum, loss)| *sum += loss);
        self.sums.iter_mut().zip(&before.losses).for_each(|(sum, loss)| *sum -= loss);
        self.choice[group] = to;
    }

    /// The largest sum.
    fn largest(&self) -> f64 {
        f64::from(self.sums.iter().copied().fold(0.0, f32::max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A generator of numbers in [0, 1) (SplitMix64).
    fn random(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed;
        move || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    /// Groups whose losses fall by about four for each bit, with sensitivities a hundredfold apart.
    fn problem(seed: u64, groups: usize, limits: usize) -> Problem {
        let mut random = random(seed);
        let group = |random: &mut dyn FnMut() -> f64| {
            let size = 100 + (random() * 300.0) as usize;
            let scale = 10f64.powf(-2.0 * random());
            let sensitivity: Vec<f64> = (0..limits).map(|_| scale * (0.3 + random())).collect();
            let mut options: Vec<Choosable> = [2, 3, 4, 5]
                .into_iter()
                .map(|bits: i32| {
                    let losses = sensitivity.iter().map(|s| (s * 4f64.powi(3 - bits) * (0.7 + 0.6 * random())) as f32);
                    Choosable { bytes: size * bits as usize, losses: losses.collect() }
                })
                .collect();
            options.push(Choosable { bytes: size * 16, losses: Vec::new() });
            options
        };
        let groups = (0..groups).map(|_| group(&mut random)).collect();
        Problem { base: vec![0.01; limits], groups, weights: vec![1.0; limits] }
    }

    /// Every choice of a small problem.
    fn all_choices(problem: &Problem) -> impl Iterator<Item = State> {
        let options = problem.groups[0].len();
        (0..options.pow(problem.groups.len() as u32)).map(move |code| {
            let choice = (0..problem.groups.len() as u32).map(|i| code / options.pow(i) % options).collect();
            State::new(problem, choice)
        })
    }

    #[test]
    fn close_to_the_best_of_all_choices() {
        for seed in 0..12 {
            let problem = problem(seed, 6, 5);
            let chosen = State::new(&problem, problem.choose(Aim::Limits));
            assert!(chosen.largest() <= 1.0, "{seed}: {}", chosen.largest());
            let best = all_choices(&problem).filter(|state| state.largest() <= 1.0).map(|state| state.bytes).min();
            let best = best.unwrap();
            // Six groups are coarse: one step of one group is several percent.
            assert!(chosen.bytes as f64 <= 1.08 * best as f64, "{seed}: {} bytes, best {best}", chosen.bytes);

            let within = |state: &State| state.bytes <= chosen.bytes;
            let chosen = State::new(&problem, problem.choose(Aim::Bytes(chosen.bytes)));
            assert!(within(&chosen));
            let best = all_choices(&problem).filter(within).map(|state| state.largest()).fold(f64::MAX, f64::min);
            assert!(chosen.largest() <= 1.35 * best, "{seed}: {}, best {best}", chosen.largest());
        }
    }

    #[test]
    fn better_than_the_same_option_everywhere() {
        for seed in 0..4 {
            let problem = problem(100 + seed, 60, 200);
            // The option after the fourth is three times as large.
            for option in 1..3 {
                let uniform = State::new(&problem, vec![option; 60]);
                let chosen = State::new(&problem, problem.choose(Aim::Bytes(uniform.bytes)));
                assert!(chosen.bytes <= uniform.bytes);
                assert!(chosen.largest() < 0.8 * uniform.largest(), "{} {}", chosen.largest(), uniform.largest());
            }
        }
    }

    #[test]
    fn limits_that_cannot_hold_give_the_largest_options_and_bytes_that_cannot_suffice_the_smallest() {
        let mut problem = problem(7, 6, 5);
        assert_eq!(problem.choose(Aim::Bytes(1)), [0; 6]);
        problem.base = vec![1.5; 5];
        assert_eq!(problem.choose(Aim::Limits), [4; 6]);
    }
}
