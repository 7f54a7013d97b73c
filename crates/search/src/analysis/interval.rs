//! Percentile intervals by the bootstrap: Efron, "Bootstrap methods: another look at the jackknife", 1979.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

/// A figure with a percentile interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// The figure of the data itself.
    pub value: f64,
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

/// Figures of resampled data. `figures` returns them given the number of times that each of `units` was drawn; each draw
/// is of as many units, with replacement. `level` is what the interval covers, such as 0.95. Figures that are NaN in a draw
/// are left out of the interval.
pub fn bootstrap<const N: usize>(
    units: usize,
    draws: usize,
    level: f64,
    seed: u64,
    figures: impl Fn(&[u32]) -> [f64; N] + Sync,
) -> [Interval; N] {
    let values = figures(&vec![1; units]);
    let drawn: Vec<[f64; N]> = (0..draws)
        .into_par_iter()
        .map(|draw| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(draw as u64);
            let mut counts = vec![0; units];
            for _ in 0..units {
                counts[random.random_range(0..units)] += 1;
            }
            figures(&counts)
        })
        .collect();
    std::array::from_fn(|figure| {
        let mut sorted: Vec<f64> = drawn.iter().map(|values| values[figure]).filter(|value| !value.is_nan()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let (low, high) = (quantile(&sorted, (1.0 - level) / 2.0), quantile(&sorted, (1.0 + level) / 2.0));
        Interval { value: values[figure], low, high }
    })
}

/// The quantile of sorted values, interpolated linearly as `numpy.quantile` does; NaN of none.
pub(crate) fn quantile(sorted: &[f64], probability: f64) -> f64 {
    let place = probability * (sorted.len().max(1) - 1) as f64;
    match (sorted.get(place.floor() as usize), sorted.get(place.ceil() as usize)) {
        (Some(below), Some(above)) => below + (above - below) * place.fract(),
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_mean_is_that_of_the_central_limit() {
        let values: Vec<f64> = (0..400).map(|item| f64::from(item % 20)).collect();
        let mean = |counts: &[u32]| {
            let sum: f64 = counts.iter().zip(&values).map(|(&count, value)| f64::from(count) * value).sum();
            [sum / counts.iter().map(|&count| f64::from(count)).sum::<f64>()]
        };
        let [interval] = bootstrap(400, 2000, 0.95, 3, mean);
        // The variance of 0, …, 19 is (20² − 1) / 12.
        let expected = 1.96 * (399.0 / 12.0 / 400.0f64).sqrt();
        assert_eq!(interval.value, 9.5);
        // The error of a percentile of 2,000 draws is some 5% of the width.
        assert!((interval.high - 9.5 - expected).abs() < 0.1 * expected, "{interval:?}");
        assert!((9.5 - interval.low - expected).abs() < 0.1 * expected, "{interval:?}");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(pool.install(|| bootstrap(400, 2000, 0.95, 3, mean)), [interval]);
    }

    #[test]
    fn quantiles_are_those_of_numpy() {
        // numpy.quantile([1, 2, 4, 8], [0, 0.1, 0.5, 0.975])
        for (probability, expected) in [(0.0, 1.0), (0.1, 1.3), (0.5, 3.0), (0.975, 7.7)] {
            assert!((quantile(&[1.0, 2.0, 4.0, 8.0], probability) - expected).abs() < 1e-12);
        }
        assert!(quantile(&[], 0.5).is_nan());
    }
}
