//! Figures of held-out predictions, with intervals over artists and what chance gives.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{ProbeFigure, ProbeOptions};
use crate::analysis::bootstrap;

/// The orders of predictions by which chance is measured.
const SHUFFLES: usize = 200;

/// Predicted numbers.
pub(super) struct Numbers<'a> {
    pub(super) truth: &'a [f64],
    pub(super) predicted: &'a [f64],
    pub(super) groups: &'a [usize],
}

impl Numbers<'_> {
    /// R², for which predicting the mean is chance, 0.
    pub(super) fn figures(&self, groups: usize, options: &ProbeOptions) -> Vec<ProbeFigure> {
        let r2 = |counts: &[u32]| {
            let weights: Vec<f64> = self.groups.iter().map(|&group| f64::from(counts[group])).collect();
            let sum =
                |value: &dyn Fn(usize) -> f64| (0..weights.len()).map(|item| weights[item] * value(item)).sum::<f64>();
            let mean = sum(&|item| self.truth[item]) / weights.iter().sum::<f64>();
            let residual = sum(&|item| (self.truth[item] - self.predicted[item]).powi(2));
            [1.0 - residual / sum(&|item| (self.truth[item] - mean).powi(2))]
        };
        let [interval] = bootstrap(groups, options.draws, 0.95, options.seed, r2);
        vec![ProbeFigure { name: "r2", interval, chance: 0.0 }]
    }
}

/// Predicted texts, by index.
pub(super) struct Classes<'a> {
    pub(super) truth: &'a [f64],
    pub(super) predicted: &'a [f64],
    pub(super) groups: &'a [usize],
    pub(super) classes: usize,
}

impl Classes<'_> {
    /// Balanced accuracy, the mean of the recalls, and macro F1, the mean of the F1 of each class. Chance is the mean over
    /// orders of the same predictions.
    pub(super) fn figures(&self, groups: usize, options: &ProbeOptions) -> Vec<ProbeFigure> {
        let figures = |counts: &[u32]| {
            let weights: Vec<f64> = self.groups.iter().map(|&group| f64::from(counts[group])).collect();
            self.judge(self.predicted, &weights)
        };
        let intervals = bootstrap(groups, options.draws, 0.95, options.seed, figures);
        let mut random = ChaCha8Rng::seed_from_u64(options.seed);
        let mut shuffled = self.predicted.to_vec();
        let ones = vec![1.0; shuffled.len()];
        let mut chance = [0.0; 2];
        for _ in 0..SHUFFLES {
            for place in (1..shuffled.len()).rev() {
                shuffled.swap(place, random.random_range(0..=place));
            }
            let judged = self.judge(&shuffled, &ones);
            chance.iter_mut().zip(judged).for_each(|(sum, figure)| *sum += figure / SHUFFLES as f64);
        }
        let names = ["balanced_accuracy", "macro_f1"];
        names
            .into_iter()
            .zip(intervals.into_iter().zip(chance))
            .map(|(name, (interval, chance))| ProbeFigure { name, interval, chance })
            .collect()
    }

    /// The two figures of weighted predictions; classes without a track count in neither.
    fn judge(&self, predicted: &[f64], weights: &[f64]) -> [f64; 2] {
        let (mut of_class, mut predicted_as, mut right) =
            (vec![0.0; self.classes], vec![0.0; self.classes], vec![0.0; self.classes]);
        for ((&truth, &predicted), &weight) in self.truth.iter().zip(predicted).zip(weights) {
            of_class[truth as usize] += weight;
            predicted_as[predicted as usize] += weight;
            right[truth as usize] += if truth == predicted { weight } else { 0.0 };
        }
        let (mut recalls, mut known, mut f1, mut used) = (0.0, 0.0, 0.0, 0.0);
        for ((of_class, predicted_as), right) in of_class.into_iter().zip(predicted_as).zip(right) {
            if of_class > 0.0 {
                recalls += right / of_class;
                known += 1.0;
            }
            if of_class + predicted_as > 0.0 {
                f1 += 2.0 * right / (of_class + predicted_as);
                used += 1.0;
            }
        }
        [recalls / known, f1 / used]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_scikit_learn() {
        let (truth, predicted) = ([0.0, 0.0, 0.0, 1.0, 1.0, 2.0], [0.0, 1.0, 0.0, 1.0, 1.0, 1.0]);
        let classes = Classes { truth: &truth, predicted: &predicted, groups: &[0, 1, 2, 3, 4, 5], classes: 3 };
        // scikit-learn 1.9.1: balanced_accuracy_score, f1_score(average="macro").
        let [accuracy, f1] = classes.judge(&predicted, &[1.0; 6]);
        assert!(
            (accuracy - 5.0 / 9.0).abs() < 1e-12 && (f1 - 0.488_888_888_888_888_9).abs() < 1e-12,
            "{accuracy} {f1}"
        );
        let numbers = Numbers { truth: &truth, predicted: &predicted, groups: &[0, 1, 2, 3, 4, 5] };
        let figures = numbers.figures(6, &ProbeOptions::new("bpm"));
        // r2_score
        assert!((figures[0].interval.value - 0.4).abs() < 1e-12, "{figures:?}");
    }
}
