//! The Kullback–Leibler divergence of a model's codes from those of the unquantized model, by their logits.

use std::fmt;

use rayon::prelude::*;
use serde::Serialize;

use crate::repair::Losses;

/// The divergence in place of one of logits that are not finite. Sums of it stay finite.
const BEYOND_MEASURE: f64 = 1e6;

/// The divergences on one piece, each the mean over all steps and codebooks, in nats.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PieceDivergence {
    /// The name of the piece.
    pub piece: String,
    /// With the text.
    pub text: f64,
    /// Without the text, as classifier-free guidance needs it.
    pub without_text: f64,
}

/// The divergences on some pieces.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Divergences(pub Vec<PieceDivergence>);

impl Divergences {
    /// The largest.
    pub fn worst(&self) -> f64 {
        self.losses().into_iter().fold(0.0, f64::max)
    }

    /// The names of the pieces with their divergences in [`Losses::losses`]'s order.
    pub(super) fn of_losses(names: &[String], losses: &[f64]) -> Self {
        let piece = |(name, pair): (&String, &[f64; 2])| PieceDivergence {
            piece: name.clone(),
            text: pair[0],
            without_text: pair[1],
        };
        Divergences(names.iter().zip(losses.as_chunks().0).map(piece).collect())
    }
}

impl Losses for Divergences {
    /// The divergences of each piece in turn, with the text and without.
    fn losses(&self) -> Vec<f64> {
        self.0.iter().flat_map(|piece| [piece.text, piece.without_text]).collect()
    }
}

impl fmt::Display for Divergences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let piece = |piece: &PieceDivergence| {
            format!("{}: {:.3e} with the text, {:.3e} without", piece.piece, piece.text, piece.without_text)
        };
        f.pad(&self.0.iter().map(piece).collect::<Vec<_>>().join("; "))
    }
}

/// The divergences of both rows of logits `(rows, steps, codebooks, codes)`, in f64.
pub(super) fn of_rows(candidate: &[f32], reference: &[f32], codes: usize) -> [f64; 2] {
    let half = reference.len() / 2;
    [0, 1].map(|row| {
        let [candidate, reference] = [candidate, reference].map(|logits| &logits[row * half..(row + 1) * half]);
        mean(candidate, reference, codes)
    })
}

/// The mean over positions of Σ p · ln(p / q), with p = softmax(reference) and q = softmax(candidate).
fn mean(candidate: &[f32], reference: &[f32], codes: usize) -> f64 {
    let positions = candidate.par_chunks_exact(codes).zip(reference.par_chunks_exact(codes));
    let each: Vec<f64> = positions.map(|(candidate, reference)| divergence(candidate, reference)).collect();
    // One after another, so that the sum does not depend on the number of threads.
    let mean = each.iter().sum::<f64>() / each.len() as f64;
    if mean.is_finite() { mean.min(BEYOND_MEASURE) } else { BEYOND_MEASURE }
}

fn divergence(candidate: &[f32], reference: &[f32]) -> f64 {
    let (q, p) = (LogSum::of(candidate), LogSum::of(reference));
    let terms = candidate.iter().zip(reference).map(|(&candidate, &reference)| {
        let (q, p) = (f64::from(candidate) - q.0, f64::from(reference) - p.0);
        p.exp() * (p - q)
    });
    // Rounding can make a sum of equal terms negative; NaN stays.
    let sum: f64 = terms.sum();
    if sum < 0.0 { 0.0 } else { sum }
}

/// ln Σ exp of logits.
struct LogSum(f64);

impl LogSum {
    fn of(logits: &[f32]) -> Self {
        let most = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        LogSum(most + logits.iter().map(|&logit| (f64::from(logit) - most).exp()).sum::<f64>().ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_codes() {
        // p = (0.8, 0.2), q = (0.5, 0.5): 0.8 ln 1.6 + 0.2 ln 0.4; and equal rows.
        let reference = [4f32.ln(), 0.0, 1.0, 3.0];
        let [first, second] = of_rows(&[1.0, 1.0, 1.0, 3.0], &reference, 2);
        let expected = 0.8 * 1.6f64.ln() + 0.2 * 0.4f64.ln();
        assert!((first - expected).abs() < 1e-7 && second == 0.0, "{first} {second}");
        assert_eq!(of_rows(&[f32::NAN, 1.0, 1.0, 3.0], &reference, 2), [BEYOND_MEASURE, 0.0]);
    }
}
