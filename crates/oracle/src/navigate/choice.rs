//! The choice among weights: temperature, then a seeded draw.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;

use super::Rule;

/// An event with its weight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) event: u32,
    pub(super) rule: Rule,
    pub(super) weight: f64,
}

/// The result of a draw.
pub(super) struct Choice {
    pub(super) candidate: Candidate,
    pub(super) count: usize,
    pub(super) probability: f64,
}

/// Draws in proportion to weights to the power 1/T; with temperature 0 the largest, of equal ones the first. `None` if no
/// weight is above 0. Each draw takes one number of the generator, whatever the temperature.
pub(super) fn choose(candidates: &mut [Candidate], temperature: f64, generator: &mut ChaCha8Rng) -> Option<Choice> {
    let largest = candidates.iter().map(|candidate| candidate.weight).fold(0.0, f64::max);
    if largest <= 0.0 {
        return None;
    }
    let draw = uniform(generator);
    let mut taken = false;
    for candidate in &mut *candidates {
        let weight = candidate.weight;
        candidate.weight = if weight <= 0.0 {
            0.0
        } else if temperature > 0.0 {
            // Divided by the largest first, so that no power overflows.
            (weight / largest).powf(1.0 / temperature)
        } else {
            let first = weight == largest && !taken;
            taken |= first;
            f64::from(u8::from(first))
        };
    }
    let count = candidates.iter().filter(|candidate| candidate.weight > 0.0).count();
    let total: f64 = candidates.iter().map(|candidate| candidate.weight).sum();
    let mut left = draw * total;
    let mut last = None;
    for candidate in candidates.iter().filter(|candidate| candidate.weight > 0.0) {
        last = Some(*candidate);
        left -= candidate.weight;
        if left < 0.0 {
            break;
        }
    }
    last.map(|candidate| Choice { candidate, count, probability: candidate.weight / total })
}

/// A number from 0 to below 1, of 53 bits.
fn uniform(generator: &mut ChaCha8Rng) -> f64 {
    (generator.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}
