//! The choice of a code by its logits.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::settings::Sampling;

/// A sampler with its stream of random numbers, which is the same on every platform.
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    random: ChaCha8Rng,
    /// The codes by probability, reused.
    ranked: Vec<(f64, u32)>,
}

impl Sampler {
    /// A sampler whose draws the seed determines.
    pub fn new(sampling: Sampling, seed: u64) -> Self {
        Sampler { sampling, random: ChaCha8Rng::seed_from_u64(seed), ranked: Vec::new() }
    }

    /// Chooses a code; `None` if a logit is not finite. Of equal logits, the greedy choice is the first, as in torch.
    ///
    /// With top-k, codes are drawn that are at least as likely as the k-th: more than k where several are as likely
    /// (`sample_top_k` of audiocraft). With top-p, codes are drawn in front of which the likelier ones sum up to at most p
    /// (`sample_top_p`).
    pub fn sample(&mut self, logits: &[f32]) -> Option<u32> {
        if logits.iter().any(|logit| !logit.is_finite()) {
            return None;
        }
        let (best, most) = logits
            .iter()
            .enumerate()
            .fold((0, f32::NEG_INFINITY), |best, (i, &x)| if x > best.1 { (i, x) } else { best });
        let Sampling::Random { top_k, top_p, temperature } = self.sampling else { return Some(best as u32) };
        let weight = |&logit: &f32| (f64::from(logit - most) / temperature).exp();
        self.ranked.clear();
        self.ranked.extend(logits.iter().map(weight).zip(0..));
        let total: f64 = self.ranked.iter().map(|(weight, _)| weight).sum();
        if top_p > 0.0 {
            self.ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let mut before = 0.0;
            let beyond = self.ranked.iter().position(|(weight, _)| {
                let is_beyond = before > top_p * total;
                before += weight;
                is_beyond
            });
            self.ranked.truncate(beyond.unwrap_or(usize::MAX));
        } else if (1..logits.len()).contains(&top_k) {
            let (_, &mut (least, _), _) = self.ranked.select_nth_unstable_by(top_k - 1, |a, b| b.0.total_cmp(&a.0));
            self.ranked.retain(|(weight, _)| *weight >= least);
            // The selection leaves the others in an order that is not specified.
            self.ranked.sort_by_key(|(_, code)| *code);
        }
        let total: f64 = self.ranked.iter().map(|(weight, _)| weight).sum();
        let mut left = self.random.random::<f64>() * total;
        for &(weight, code) in &self.ranked {
            left -= weight;
            if left < 0.0 {
                return Some(code);
            }
        }
        self.ranked.last().map(|(_, code)| *code)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn draws(sampling: Sampling, logits: &[f32]) -> BTreeMap<u32, usize> {
        let mut sampler = Sampler::new(sampling, 7);
        let mut counts = BTreeMap::new();
        for _ in 0..20_000 {
            *counts.entry(sampler.sample(logits).unwrap()).or_default() += 1;
        }
        counts
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let logits = [0.0, 1.0, 2.0, -1.0];
        for temperature in [0.5, 1.0, 2.0] {
            let counts = draws(Sampling::Random { top_k: 0, top_p: 0.0, temperature }, &logits);
            let weights = logits.map(|logit| (f64::from(logit) / temperature).exp());
            let total: f64 = weights.iter().sum();
            for (code, weight) in weights.iter().enumerate() {
                let (found, p) = (counts[&(code as u32)] as f64, weight / total);
                // Five standard deviations of a binomial count.
                let bound = 5.0 * (20_000.0 * p * (1.0 - p)).sqrt();
                assert!((found - 20_000.0 * p).abs() < bound, "code {code} at {temperature}: {found}");
            }
        }
    }

    #[test]
    fn top_k_keeps_k_codes_and_ties() {
        let of = |top_k, logits: &[f32]| {
            let counts = draws(Sampling::Random { top_k, top_p: 0.0, temperature: 1.0 }, logits);
            counts.into_keys().collect::<Vec<_>>()
        };
        assert_eq!(of(3, &[0.0, 0.5, 1.0, -0.5, 0.2]), [1, 2, 4]);
        assert_eq!(of(2, &[0.0, 1.0, 0.0, -1.0]), [0, 1, 2]);
        assert_eq!(of(9, &[0.0, 1.0, 0.0, -1.0]), [0, 1, 2, 3]);
    }

    #[test]
    fn top_p_keeps_the_likeliest() {
        // Probabilities 0.64, 0.24, 0.09, 0.03.
        let logits = [3.0f32, 2.0, 1.0, 0.0];
        let of = |top_p| draws(Sampling::Random { top_k: 1, top_p, temperature: 1.0 }, &logits).len();
        assert_eq!([0.1, 0.6, 0.7, 0.9, 1.0].map(of), [1, 1, 2, 3, 4]);
    }

    #[test]
    fn greedy_and_damaged() {
        let mut greedy = Sampler::new(Sampling::Greedy, 0);
        assert_eq!(greedy.sample(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(greedy.sample(&[1.0, f32::NAN]), None);
    }
}
