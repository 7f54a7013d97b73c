//! Fitting a model to judgments: a logistic loss of cosines with a penalty on leaving the start, by Adam on all judgments at
//! once.
//!
//! Of a pair the loss is `log(1 + exp(−y (β c − t)))`, with y = 1 for alike and −1 otherwise, a threshold t that is fitted, and
//! either label weighing half; of a triplet the mean of `log(1 + exp(β (c(a, odd) − c(a, b))))` and the same for b. β is 10.
//! Adam: Kingma and Ba, <https://arxiv.org/abs/1412.6980>.

use nalgebra::DMatrix;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::judgments::{Judgment, Judgments};
use super::model::{Features, Model, ModelKind};
use crate::analysis::Folds;

/// The factor of cosines in the loss.
const SCALE: f64 = 10.0;
const STEPS: usize = 150;
const RATE: f64 = 0.03;

/// The penalties that are tried, times the squared distance from the start, divided by the number of judgments.
const PENALTIES: [f64; 4] = [1000.0, 100.0, 10.0, 1.0];

/// The folds of artists by which a penalty is chosen.
const FOLDS: usize = 3;

/// A cosine, and the two columns that it is of.
fn cosine(mapped: &DMatrix<f64>, norms: &[f64], a: usize, b: usize) -> f64 {
    let product = norms[a] * norms[b];
    if product > 0.0 { mapped.column(a).dot(&mapped.column(b)) / product } else { 0.0 }
}

fn norms(mapped: &DMatrix<f64>) -> Vec<f64> {
    mapped.column_iter().map(|column| column.norm()).collect()
}

/// The score of each judgment: the cosine of a pair, or whether a triplet's odd one out is found.
pub(super) fn scores(features: &Features, mapped: &DMatrix<f64>, judgments: &Judgments, indices: &[usize]) -> Vec<f64> {
    let norms = norms(mapped);
    let cosine = |a, b| cosine(mapped, &norms, features.column(a), features.column(b));
    let score = |&index: &usize| match judgments.items[index] {
        Judgment::Pair { a, b, .. } => cosine(a, b),
        Judgment::Triplet { a, b, odd } => f64::from(u8::from(cosine(a, b) > cosine(a, odd).max(cosine(b, odd)))),
    };
    indices.iter().map(score).collect()
}

/// The loss of the judgments and its gradients by the mapped vectors and by the threshold.
fn loss(
    features: &Features,
    mapped: &DMatrix<f64>,
    threshold: f64,
    judgments: &Judgments,
    indices: &[usize],
) -> (f64, DMatrix<f64>, f64) {
    let norms = norms(mapped);
    let mut gradient = DMatrix::zeros(mapped.nrows(), mapped.ncols());
    let (mut sum, mut by_threshold) = (0.0, 0.0);
    let mut add = |a: usize, b: usize, by_cosine: f64| {
        let (u, v) = (norms[a], norms[b]);
        if u > 0.0 && v > 0.0 {
            let c = cosine(mapped, &norms, a, b);
            for (from, to, own, other) in [(a, b, u, v), (b, a, v, u)] {
                gradient.column_mut(from).axpy(by_cosine / (own * other), &mapped.column(to), 1.0);
                gradient.column_mut(from).axpy(-by_cosine * c / (own * own), &mapped.column(from), 1.0);
            }
        }
    };
    let is_alike = |index: &&usize| matches!(judgments.items[**index], Judgment::Pair { alike: true, .. });
    let alike = indices.iter().filter(is_alike).count();
    let weights = [indices.len() - alike, alike].map(|count| 0.5 / count.max(1) as f64);
    let softplus = |value: f64| value.max(0.0) + (-value.abs()).exp().ln_1p();
    let logistic = |value: f64| 1.0 / (1.0 + (-value).exp());
    for &index in indices {
        match judgments.items[index] {
            Judgment::Pair { a, b, alike } => {
                let (a, b) = (features.column(a), features.column(b));
                let (sign, weight) = (if alike { 1.0 } else { -1.0 }, weights[usize::from(alike)]);
                let margin = -sign * (SCALE * cosine(mapped, &norms, a, b) - threshold);
                sum += weight * softplus(margin);
                let slope = weight * logistic(margin) * -sign;
                add(a, b, slope * SCALE);
                by_threshold -= slope;
            }
            Judgment::Triplet { a, b, odd } => {
                let (a, b, odd) = (features.column(a), features.column(b), features.column(odd));
                let weight = 0.5 / indices.len() as f64;
                let near = cosine(mapped, &norms, a, b);
                for (one, other) in [(a, odd), (b, odd)] {
                    let margin = SCALE * (cosine(mapped, &norms, one, other) - near);
                    sum += weight * softplus(margin);
                    let slope = weight * logistic(margin) * SCALE;
                    add(one, other, slope);
                    add(a, b, -slope);
                }
            }
        }
    }
    (sum, gradient, by_threshold)
}

/// Fits a model to the judgments `indices`.
pub(super) fn fit(
    kind: ModelKind,
    features: &Features,
    judgments: &Judgments,
    indices: &[usize],
    penalty: f64,
) -> Model {
    let start = features.start(kind);
    let mut model = start.clone();
    let scores = scores(features, &features.map(&start), judgments, indices);
    let mut threshold = SCALE * scores.iter().sum::<f64>() / scores.len().max(1) as f64;
    let penalty = penalty / indices.len().max(1) as f64;
    let zeros = DMatrix::zeros(start.parameters.nrows(), start.parameters.ncols());
    let (mut first, mut second) = (zeros.clone(), zeros);
    let (mut first_threshold, mut second_threshold) = (0.0, 0.0);
    for step in 1..=STEPS {
        let mapped = features.map(&model);
        let (_, gradient, by_threshold) = loss(features, &mapped, threshold, judgments, indices);
        let mut gradient = features.backward(&model, &mapped, &gradient);
        gradient += (&model.parameters - &start.parameters) * (2.0 * penalty);
        let corrections = [0.9, 0.999].map(|decay: f64| 1.0 - decay.powi(step as i32));
        first = first * 0.9 + &gradient * 0.1;
        second = second * 0.999 + gradient.component_mul(&gradient) * 0.001;
        let change = first.zip_map(&second, |a, b| a / corrections[0] / ((b / corrections[1]).sqrt() + 1e-8));
        model.parameters -= change * RATE;
        first_threshold = 0.9 * first_threshold + 0.1 * by_threshold;
        second_threshold = 0.999 * second_threshold + 0.001 * by_threshold * by_threshold;
        threshold -=
            RATE * SCALE * (first_threshold / corrections[0]) / ((second_threshold / corrections[1]).sqrt() + 1e-8);
    }
    model
}

/// Chooses a penalty by held-out judgments among `indices`, split by artist, and fits a model with it to all of them. Of
/// penalties that are equally good the largest is chosen.
pub(super) fn select_and_fit(
    kind: ModelKind,
    features: &Features,
    judgments: &Judgments,
    indices: &[usize],
    group_of: &(impl Fn(usize) -> usize + Sync),
    seed: u64,
) -> Model {
    let splits = splits(judgments, indices, group_of, FOLDS, seed);
    let quality = |penalty: f64| {
        let mut sum = 0.0;
        let mut tested = 0.0;
        for (train, test) in &splits {
            let model = fit(kind, features, judgments, train, penalty);
            let scores = scores(features, &features.map(&model), judgments, test);
            let weights = vec![1.0; test.len()];
            let (right, all) = super::gain::right(judgments, test, &scores, &weights);
            sum += right;
            tested += all;
        }
        if tested > 0.0 { sum / tested } else { 0.0 }
    };
    let mut best = (PENALTIES[1], f64::NEG_INFINITY);
    if !splits.is_empty() {
        for penalty in PENALTIES {
            let quality = quality(penalty);
            if quality > best.1 {
                best = (penalty, quality);
            }
        }
    }
    fit(kind, features, judgments, indices, best.0)
}

/// Divisions of judgments by artists: those of artists outside a fold, and those of artists inside it. Judgments of both are
/// in neither. Folds that leave nothing to learn from or to test on are left out.
pub(super) fn splits(
    judgments: &Judgments,
    indices: &[usize],
    group_of: &impl Fn(usize) -> usize,
    count: usize,
    seed: u64,
) -> Vec<(Vec<usize>, Vec<usize>)> {
    let tracks: Vec<usize> = {
        let mut tracks: Vec<usize> = indices.iter().flat_map(|&index| judgments.items[index].tracks()).collect();
        tracks.sort_unstable();
        tracks.dedup();
        tracks
    };
    let groups: Vec<usize> = tracks.iter().map(|&track| group_of(track)).collect();
    let folds = Folds::new(&groups, count, &mut ChaCha8Rng::seed_from_u64(seed));
    let fold_of = |track: usize| tracks.binary_search(&track).ok().map(|place| folds.of_item[place]);
    let split = |fold: usize| {
        let inside = |index: &usize| {
            let tracks = judgments.items[*index].tracks();
            let (inside, all) = tracks
                .fold((0, 0), |(inside, all), track| (inside + usize::from(fold_of(track) == Some(fold)), all + 1));
            (inside, all)
        };
        let train = indices.iter().copied().filter(|index| inside(index).0 == 0).collect::<Vec<_>>();
        let test = indices
            .iter()
            .copied()
            .filter(|index| {
                let (inside, all) = inside(index);
                inside == all
            })
            .collect::<Vec<_>>();
        (train, test)
    };
    let has_both = |(train, test): &(Vec<usize>, Vec<usize>)| {
        let labels = |indices: &[usize]| {
            let alike = |index: &usize| matches!(judgments.items[*index], Judgment::Pair { alike: true, .. });
            let other = |index: &usize| matches!(judgments.items[*index], Judgment::Pair { alike: false, .. });
            let triplet = |index: &usize| matches!(judgments.items[*index], Judgment::Triplet { .. });
            indices.iter().any(triplet) || indices.iter().any(alike) && indices.iter().any(other)
        };
        labels(train) && labels(test)
    };
    (0..count).map(split).filter(has_both).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The largest relative difference of the gradient from differences of the loss.
    pub(crate) fn gradient_error(kind: ModelKind, features: &Features, judgments: &Judgments) -> f64 {
        let indices: Vec<usize> = (0..judgments.items.len()).collect();
        let mut model = features.start(kind);
        model.parameters.iter_mut().enumerate().for_each(|(index, value)| *value += 0.1 * ((index as f64) * 1.7).sin());
        let value = |model: &Model| loss(features, &features.map(model), 0.5, judgments, &indices).0;
        let mapped = features.map(&model);
        let gradient = features.backward(&model, &mapped, &loss(features, &mapped, 0.5, judgments, &indices).1);
        let largest = gradient.amax();
        (0..gradient.len())
            .step_by(7)
            .map(|index| {
                let step = 1e-5;
                let moved = |by: f64| {
                    let mut model = model.clone();
                    model.parameters[index] += by;
                    value(&model)
                };
                ((moved(step) - moved(-step)) / (2.0 * step) - gradient[index]).abs() / largest
            })
            .fold(0.0, f64::max)
    }
}
