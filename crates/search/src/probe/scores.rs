//! Figures of held-out predictions, with intervals over artists and what chance gives.

use nalgebra::DMatrix;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{ProbeFigure, ProbeOptions};
use crate::analysis::{Interval, bootstrap};

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
    /// The first text of each track, and the text with the largest score.
    pub(super) truth: &'a [f64],
    pub(super) predicted: &'a [f64],
    pub(super) groups: &'a [usize],
    /// Whether each track has each text (1 or −1), and the scores, of shape `(tracks, texts)`.
    pub(super) memberships: &'a DMatrix<f64>,
    pub(super) scores: &'a DMatrix<f64>,
}

impl Classes<'_> {
    /// The area under the ROC curve of each text against all others. An interval is NaN if no draw of artists has tracks with
    /// and without the text.
    pub(super) fn areas(&self, groups: usize, options: &ProbeOptions) -> Vec<Interval> {
        let areas = (0..self.scores.ncols()).map(|class| {
            let area = Area::new(self, class);
            let [interval] =
                bootstrap(groups, options.draws, 0.95, options.seed, |counts| [area.of(self.groups, counts)]);
            interval
        });
        areas.collect()
    }

    /// The mean area under the ROC curves of all texts, for which chance is one half; balanced accuracy, the mean of the
    /// recalls; and macro F1, the mean of the F1 of each class. Chance of the last two is the mean over orders of the same
    /// predictions.
    pub(super) fn figures(&self, groups: usize, options: &ProbeOptions) -> Vec<ProbeFigure> {
        let areas: Vec<Area> = (0..self.scores.ncols()).map(|class| Area::new(self, class)).collect();
        let mean = |counts: &[u32]| {
            let known = areas.iter().map(|area| area.of(self.groups, counts)).filter(|area| !area.is_nan());
            let (sum, count) = known.fold((0.0, 0.0), |(sum, count), area| (sum + area, count + 1.0));
            [sum / count]
        };
        let [area] = bootstrap(groups, options.draws, 0.95, options.seed, mean);
        let mut all = vec![ProbeFigure { name: "macro_auc", interval: area, chance: 0.5 }];
        all.extend(self.of_largest(groups, options));
        all
    }

    /// The figures of the texts with the largest scores.
    fn of_largest(&self, groups: usize, options: &ProbeOptions) -> Vec<ProbeFigure> {
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
        let classes = self.scores.ncols();
        let (mut of_class, mut predicted_as, mut right) = (vec![0.0; classes], vec![0.0; classes], vec![0.0; classes]);
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

/// The tracks in the order of their scores for a text.
struct Area {
    /// The track, and whether it has the text; tracks of equal scores are together.
    equal: Vec<Vec<(usize, bool)>>,
}

impl Area {
    fn new(classes: &Classes<'_>, class: usize) -> Self {
        let scores = classes.scores.column(class);
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        let has = |&track: &usize| (track, classes.memberships[(track, class)] > 0.0);
        let equal = order.chunk_by(|&a, &b| scores[a] == scores[b]).map(|tracks| tracks.iter().map(has).collect());
        Area { equal: equal.collect() }
    }

    /// The area if each track counts as often as its group was drawn; NaN without tracks with or without the text.
    fn of(&self, groups: &[usize], counts: &[u32]) -> f64 {
        let (mut below, mut above, mut right) = (0.0, 0.0, 0.0);
        for equal in &self.equal {
            let weight = |has_text: bool| -> f64 {
                let tracks = equal.iter().filter(|(_, has)| *has == has_text);
                tracks.map(|&(track, _)| f64::from(counts[groups[track]])).sum()
            };
            let (with, without) = (weight(true), weight(false));
            right += with * (below + without / 2.0);
            below += without;
            above += with;
        }
        right / (below * above)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_scikit_learn() {
        let (truth, predicted) = ([0.0, 0.0, 0.0, 1.0, 1.0, 2.0], [0.0, 1.0, 0.0, 1.0, 1.0, 1.0]);
        // The second track has the second text as well.
        let has = [[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]];
        let memberships = DMatrix::from_fn(6, 3, |row, class| if has[row][class] == 1 { 1.0 } else { -1.0 });
        let scores = DMatrix::from_fn(6, 3, |row, class| ((row * row + 2 * class) % 5) as f64);
        let groups = [0, 1, 2, 3, 4, 5];
        let classes = Classes {
            truth: &truth,
            predicted: &predicted,
            groups: &groups,
            memberships: &memberships,
            scores: &scores,
        };
        // roc_auc_score(has[:, class], scores[:, class]), scores of [[(r * r + 2 * c) % 5 for c in range(3)] for r in range(6)]
        let areas = classes.areas(6, &ProbeOptions::new("genre"));
        for (area, expected) in areas.iter().zip([0.5, 0.7222222222222222, 0.9]) {
            assert!((area.value - expected).abs() < 1e-12, "{area:?} {expected}");
        }
        let mean = classes.figures(6, &ProbeOptions::new("genre"))[0].interval.value;
        assert!((mean - areas.iter().map(|area| area.value).sum::<f64>() / 3.0).abs() < 1e-12);
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
