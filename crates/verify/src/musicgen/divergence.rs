//! The Kullback–Leibler divergence of a candidate's codes from the reference's, by their logits.

use serde::Serialize;

/// Figures of the divergence over all positions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Divergence {
    /// The mean KL divergence in nats.
    pub mean: f64,
    /// The largest.
    pub max: f64,
    /// The part of the positions at which the likeliest code differs.
    pub other_choice: f64,
}

/// Compares logits of `codes` codes each, position by position: Σ p · ln(p / q), with p = softmax(reference) and
/// q = softmax(candidate), in f64. `None` if there are none, their numbers differ or a value is not finite.
pub fn divergence(candidate: &[f32], reference: &[f32], codes: usize) -> Option<Divergence> {
    let is_finite = candidate.iter().chain(reference).all(|value| value.is_finite());
    if candidate.len() != reference.len() || reference.is_empty() || codes == 0 || !is_finite {
        return None;
    }
    let (mut sum, mut max, mut other, mut positions) = (0.0, 0.0f64, 0usize, 0usize);
    for (candidate, reference) in candidate.chunks_exact(codes).zip(reference.chunks_exact(codes)) {
        let (q, p) = (log_softmax(candidate), log_softmax(reference));
        let kl: f64 = p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum();
        // Rounding can make a sum of equal terms negative.
        sum += kl.max(0.0);
        max = max.max(kl);
        other += usize::from(likeliest(candidate) != likeliest(reference));
        positions += 1;
    }
    let positions = positions as f64;
    Some(Divergence { mean: sum / positions, max, other_choice: other as f64 / positions })
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let most = logits.iter().fold(f32::NEG_INFINITY, |most, &x| most.max(x));
    let shifted: Vec<f64> = logits.iter().map(|&x| f64::from(x) - f64::from(most)).collect();
    let total = shifted.iter().map(|x| x.exp()).sum::<f64>().ln();
    shifted.into_iter().map(|x| x - total).collect()
}

/// The index of the first of the largest values.
fn likeliest(logits: &[f32]) -> usize {
    logits.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (i, &x)| if x > best.1 { (i, x) } else { best }).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_codes() {
        // p = (0.8, 0.2), q = (0.5, 0.5): 0.8 ln 1.6 + 0.2 ln 0.4.
        let reference = [4f32.ln(), 0.0];
        let found = divergence(&[1.0, 1.0], &reference, 2).unwrap();
        let expected = 0.8 * 1.6f64.ln() + 0.2 * 0.4f64.ln();
        assert!((found.mean - expected).abs() < 1e-7 && found.max == found.mean, "{found:?}");
        let same = divergence(&reference, &reference, 2).unwrap();
        assert_eq!(same, Divergence { mean: 0.0, max: 0.0, other_choice: 0.0 });
        assert_eq!(divergence(&[0.0, 1.0], &reference, 2).unwrap().other_choice, 1.0);
        assert_eq!(divergence(&[f32::NAN, 1.0], &reference, 2), None);
        assert_eq!(divergence(&[], &[], 2), None);
    }
}
