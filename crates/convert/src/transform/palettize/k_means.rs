//! K-means in one dimension, with the least possible error: dynamic programming over sorted values.
//!
//! After Grønlund et al., "Fast exact k-means, k-medians and Bregman divergence clustering in 1D" (2017,
//! <https://arxiv.org/abs/1701.07204>), section 2.2, which coremltools uses too.

use std::ops::Range;

/// A run of sorted values and their mean.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cluster {
    pub(super) range: Range<usize>,
    pub(super) centroid: f64,
}

/// Divides ascending, distinct values, each with a weight, into at most `k` runs with the least sum of squared distances from
/// their weighted means.
pub(super) fn k_means(values: &[f64], weights: &[f64], k: usize) -> Vec<Cluster> {
    let sums = PrefixSums::new(values, weights);
    let cluster =
        |range: Range<usize>| Cluster { centroid: mean(&values[range.clone()], &weights[range.clone()]), range };
    if values.len() <= k {
        return (0..values.len()).map(|i| cluster(i..i + 1)).collect();
    }
    // For each i the least error of the values up to i in one cluster, in two, and so on.
    let mut errors: Vec<f64> = (0..values.len()).map(|i| sums.error(0..i + 1)).collect();
    let mut starts = Vec::new();
    for _ in 1..k {
        let mut layer =
            Layer { sums: &sums, before: &errors, errors: vec![0.0; errors.len()], starts: vec![0; errors.len()] };
        layer.fill(1..values.len(), 1..values.len());
        starts.push(layer.starts);
        errors = layer.errors;
    }
    let mut clusters = Vec::new();
    let mut end = values.len();
    for starts in starts.iter().rev() {
        let start = usize::from(starts[end - 1]);
        clusters.push(cluster(start..end));
        end = start;
        if end == 0 {
            break;
        }
    }
    if end > 0 {
        clusters.push(cluster(0..end));
    }
    clusters.reverse();
    clusters
}

/// The weighted mean, updated value by value, which does not cancel.
fn mean(values: &[f64], weights: &[f64]) -> f64 {
    let (mut mean, mut total) = (0.0, 0.0);
    for (value, weight) in values.iter().zip(weights) {
        total += weight;
        mean += (value - mean) * weight / total;
    }
    mean
}

/// The errors with one cluster more than `before`.
struct Layer<'a> {
    sums: &'a PrefixSums,
    before: &'a [f64],
    errors: Vec<f64>,
    /// The first value of the last cluster. There are fewer than 2^16 finite f16 values.
    starts: Vec<u16>,
}

impl Layer<'_> {
    /// Computes the entries of `ends`, whose last clusters start in `candidates`. The best start does not decrease with the
    /// end, so that the one in the middle bounds those on either side.
    fn fill(&mut self, ends: Range<usize>, candidates: Range<usize>) {
        if ends.is_empty() {
            return;
        }
        let middle = ends.start + ends.len() / 2;
        let (mut best, mut least) = (candidates.start, f64::INFINITY);
        for start in candidates.start..candidates.end.min(middle + 1) {
            let error = self.before[start - 1] + self.sums.error(start..middle + 1);
            if error < least {
                (best, least) = (start, error);
            }
        }
        self.errors[middle] = least;
        self.starts[middle] = best as u16;
        self.fill(ends.start..middle, candidates.start..best + 1);
        self.fill(middle + 1..ends.end, best..candidates.end);
    }
}

/// The sums of weights, weighted values and weighted squares of the first values, 0 to all of them.
struct PrefixSums {
    sums: Vec<[f64; 3]>,
}

impl PrefixSums {
    fn new(values: &[f64], weights: &[f64]) -> Self {
        let mut sums = vec![[0.0; 3]];
        let mut sum = [0.0; 3];
        for (value, weight) in values.iter().zip(weights) {
            let terms = [*weight, weight * value, weight * value * value];
            sum = [sum[0] + terms[0], sum[1] + terms[1], sum[2] + terms[2]];
            sums.push(sum);
        }
        PrefixSums { sums }
    }

    /// The sum of squared distances of the values of a range, which is not empty, from their mean.
    fn error(&self, range: Range<usize>) -> f64 {
        let (to, from) = (self.sums[range.end], self.sums[range.start]);
        let [weight, sum, squares] = [to[0] - from[0], to[1] - from[1], to[2] - from[2]];
        let mean = sum / weight;
        squares + weight * (mean * mean) - 2.0 * mean * sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The least error over all divisions into `k` runs, by trying them.
    fn least_error(values: &[f64], weights: &[f64], k: usize) -> f64 {
        let error = |range: Range<usize>| -> f64 {
            let total: f64 = weights[range.clone()].iter().sum();
            let mean = range.clone().map(|i| values[i] * weights[i]).sum::<f64>() / total;
            range.map(|i| weights[i] * (values[i] - mean).powi(2)).sum()
        };
        if k == 1 || values.len() <= 1 {
            return error(0..values.len());
        }
        let last = |start: usize| least_error(&values[..start], &weights[..start], k - 1) + error(start..values.len());
        (1..values.len()).map(last).fold(error(0..values.len()), f64::min)
    }

    proptest! {
        #[test]
        fn the_error_is_the_least(
            mut values in proptest::collection::btree_set(-1000i32..1000, 1..10),
            weights in proptest::collection::vec(1u8..20, 10),
            k in 1usize..5,
        ) {
            values.insert(0);
            let values: Vec<f64> = values.into_iter().map(|value| f64::from(value) / 256.0).collect();
            let weights: Vec<f64> = weights.into_iter().map(f64::from).take(values.len()).collect();
            prop_assume!(weights.len() == values.len());
            let clusters = k_means(&values, &weights, k);
            prop_assert!(clusters.len() <= k);
            let ends = clusters.iter().map(|cluster| cluster.range.end);
            prop_assert!(clusters.iter().map(|cluster| cluster.range.start).eq(std::iter::once(0).chain(ends).take(clusters.len())));
            prop_assert_eq!(clusters.last().map(|cluster| cluster.range.end), Some(values.len()));
            let error: f64 = clusters
                .iter()
                .flat_map(|cluster| cluster.range.clone().map(|i| weights[i] * (values[i] - cluster.centroid).powi(2)))
                .sum();
            prop_assert!((error - least_error(&values, &weights, k)).abs() < 1e-9, "{error}");
        }
    }
}
