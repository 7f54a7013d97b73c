//! What a model gains on judgments of artists that it was not learned from.
//!
//! Artists are divided into folds several times. A model is learned from the judgments without any artist of a fold, its
//! penalty included, and judged on those whose artists are all of the fold. Intervals draw artists, and a judgment counts as
//! often as the product of the draws of its artists: Owen, "The pigeonhole bootstrap", <https://arxiv.org/abs/0712.1111>.

use rayon::prelude::*;
use serde::Serialize;

use super::LearnOptions;
use super::fit::{scores, select_and_fit, splits};
use super::judgments::{Judgment, Judgments};
use super::model::{Features, ModelKind};
use crate::analysis::{Interval, bootstrap};

/// The gain of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gain {
    /// The model.
    pub model: ModelKind,
    /// The number of held-out judgments, repetitions included.
    pub held_out: usize,
    /// The figure of the vectors as they are.
    pub before: Interval,
    /// The figure of the model.
    pub after: Interval,
    /// The difference.
    pub gain: Interval,
}

/// Held-out judgments with their scores before and after.
struct Test {
    indices: Vec<usize>,
    before: Vec<f64>,
    after: Vec<f64>,
}

/// The gain of a model of `kind`. `group_of` is the artist of a track, of which there are `groups`.
#[allow(clippy::too_many_arguments)]
pub(super) fn measure(
    kind: ModelKind,
    features: &Features,
    judgments: &Judgments,
    group_of: &(impl Fn(usize) -> usize + Sync),
    groups: usize,
    level: f64,
    options: &LearnOptions,
    progress: &(dyn Fn(u64) + Sync),
) -> Gain {
    let all: Vec<usize> = (0..judgments.items.len()).collect();
    let repeats = 0..options.repeats as u64;
    let splits: Vec<_> = repeats
        .flat_map(|repeat| splits(judgments, &all, group_of, options.folds, options.seed.wrapping_add(repeat)))
        .collect();
    let unmapped = features.unmapped();
    let test = |(train, indices): &(Vec<usize>, Vec<usize>)| {
        let model = select_and_fit(kind, features, judgments, train, group_of, options.seed);
        progress(1);
        Test {
            before: scores(features, &unmapped, judgments, indices),
            after: scores(features, &features.map(&model), judgments, indices),
            indices: indices.clone(),
        }
    };
    let tests: Vec<Test> = splits.par_iter().map(test).collect();
    let artists: Vec<Vec<usize>> = judgments
        .items
        .iter()
        .map(|item| {
            let mut artists: Vec<usize> = item.tracks().map(group_of).collect();
            artists.sort_unstable();
            artists.dedup();
            artists
        })
        .collect();
    let figures = |counts: &[u32]| {
        let (mut before, mut after, mut total) = (0.0, 0.0, 0.0);
        for test in &tests {
            let weight = |&index: &usize| artists[index].iter().map(|&artist| f64::from(counts[artist])).product();
            let weights: Vec<f64> = test.indices.iter().map(weight).collect();
            let (right, all) = right(judgments, &test.indices, &test.before, &weights);
            before += right;
            total += all;
            after += self::right(judgments, &test.indices, &test.after, &weights).0;
        }
        [before / total, after / total, (after - before) / total]
    };
    let [before, after, gain] = bootstrap(groups, options.draws, level, options.seed, figures);
    Gain { model: kind, held_out: tests.iter().map(|test| test.indices.len()).sum(), before, after, gain }
}

/// The weight of what is right, and of all: of triplets, or of all combinations of a pair that is alike and one that is not,
/// which are right if the first scores higher (the area under the ROC curve).
pub(super) fn right(judgments: &Judgments, indices: &[usize], scores: &[f64], weights: &[f64]) -> (f64, f64) {
    let (mut right, mut all) = (0.0, 0.0);
    let mut pairs: Vec<(f64, bool, f64)> = Vec::new();
    for ((&index, &score), &weight) in indices.iter().zip(scores).zip(weights) {
        match judgments.items[index] {
            Judgment::Triplet { .. } => {
                right += weight * score;
                all += weight;
            }
            Judgment::Pair { alike, .. } => pairs.push((score, alike, weight)),
        }
    }
    pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    // The weight of pairs that are not alike and score lower, ties by half.
    let mut below = 0.0;
    for equal in pairs.chunk_by(|a, b| a.0 == b.0) {
        let sum = |alike: bool| equal.iter().filter(|pair| pair.1 == alike).map(|pair| pair.2).sum::<f64>();
        right += sum(true) * (below + sum(false) / 2.0);
        below += sum(false);
    }
    let alike: f64 = pairs.iter().filter(|pair| pair.1).map(|pair| pair.2).sum();
    (right, all + alike * below)
}
