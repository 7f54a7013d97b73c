//! The mean and the principal components of vectors. Sums are grouped the same for any number of threads, so that the
//! results are the same to the last bit.

use nalgebra::DMatrix;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::Vectors;

/// The most principal components that a catalogue has, and that a geometry can remove.
pub(crate) const MAX_COMPONENTS: usize = 16;

/// The most vectors that a covariance is computed of; of more, a sample with a fixed seed is taken.
const MAX_SAMPLE: usize = 100_000;

/// The seed of that sample.
const SEED: u64 = 0x6d65_7274;

/// The vectors that are summed in turn.
const BLOCK: usize = 4096;

/// The covariances that are summed apart from each other.
const STRIPES: usize = 8;

/// The vectors that are centred at once for a covariance.
const CENTERED: usize = 256;

/// The share of the largest variance below which a component is only rounding.
const LEAST_VARIANCE: f64 = 1e-10;

/// The mean of `rows`, zeros if there are none.
pub(crate) fn mean(vectors: &Vectors, rows: &[usize]) -> Vec<f64> {
    let sum = |rows: &[usize]| {
        let mut sum = vec![0.0; vectors.dim()];
        for &row in rows {
            sum.iter_mut().zip(vectors.row(row)).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        sum
    };
    let mut total = vec![0.0; vectors.dim()];
    for sum in rows.par_chunks(BLOCK).map(sum).collect::<Vec<_>>() {
        total.iter_mut().zip(sum).for_each(|(total, sum)| *total += sum);
    }
    total.iter_mut().for_each(|total| *total /= rows.len().max(1) as f64);
    total
}

/// The largest principal components of `rows` about their `mean`, the largest first, at most `count`: eigenvectors of the
/// covariance, of length 1, the entry of the largest magnitude positive. Directions in which the rows do not vary are not
/// among them. The covariance is that of all rows up to 100,000, of a sample with a fixed seed above.
pub(crate) fn principal_components(vectors: &Vectors, rows: &[usize], mean: &[f64], count: usize) -> Vec<Vec<f64>> {
    let covariance = covariance(vectors, &sample(rows, MAX_SAMPLE), mean);
    let eigen = covariance.symmetric_eigen();
    let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    let least = order.first().map_or(0.0, |&largest| LEAST_VARIANCE * eigen.eigenvalues[largest]);
    let component = |&index: &usize| {
        let vector = eigen.eigenvectors.column(index);
        let largest = vector.iter().copied().reduce(|a, b| if b.abs() > a.abs() { b } else { a });
        let sign = if largest.is_some_and(|largest| largest < 0.0) { -1.0 } else { 1.0 };
        vector.iter().map(|value| sign * value).collect()
    };
    let varies = |&&index: &&usize| eigen.eigenvalues[index] > least && eigen.eigenvalues[index] > 0.0;
    order.iter().take(count).filter(varies).map(component).collect()
}

/// `Σ (x − mean)(x − mean)ᵀ / n` over `rows`.
fn covariance(vectors: &Vectors, rows: &[usize], mean: &[f64]) -> DMatrix<f64> {
    let dim = vectors.dim();
    let sum = |rows: &[usize]| {
        let mut sum = DMatrix::zeros(dim, dim);
        for rows in rows.chunks(CENTERED) {
            let values = rows
                .iter()
                .flat_map(|&row| vectors.row(row).iter().zip(mean).map(|(&value, mean)| f64::from(value) - mean));
            let centered = DMatrix::from_iterator(dim, rows.len(), values);
            sum.gemm(1.0, &centered, &centered.transpose(), 1.0);
        }
        sum
    };
    let stripe = rows.len().div_ceil(STRIPES).max(1);
    let mut total = DMatrix::zeros(dim, dim);
    for sum in rows.par_chunks(stripe).map(sum).collect::<Vec<_>>() {
        total += sum;
    }
    total / rows.len().max(1) as f64
}

/// At most `count` of `rows`, in order, each with the same probability: selection sampling, Knuth, *The Art of Computer
/// Programming*, volume 2, algorithm 3.4.2 S.
pub(crate) fn sample(rows: &[usize], count: usize) -> Vec<usize> {
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut wanted = count.min(rows.len());
    let mut chosen = Vec::with_capacity(wanted);
    for (index, &row) in rows.iter().enumerate() {
        if wanted > 0 && random.random_range(0..rows.len() - index) < wanted {
            chosen.push(row);
            wanted -= 1;
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::vectors::{Matrix, write_matrix};

    /// Rows of 12 values that vary by different amounts along random directions, about a mean.
    fn vectors(folder: &std::path::Path, rows: usize) -> Vectors {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let directions: Vec<[f32; 12]> =
            (0..6).map(|_| std::array::from_fn(|_| random.random_range(-1.0..1.0))).collect();
        let mut values = Vec::new();
        for _ in 0..rows {
            let sizes: Vec<f32> =
                (0..6).map(|index| random.random_range(-1.0..1.0f32) * 4.0 / (index + 1) as f32).collect();
            values
                .extend((0..12).map(|i| 5.0 + directions.iter().zip(&sizes).map(|(d, size)| d[i] * size).sum::<f32>()));
        }
        let path = folder.join("values.npy");
        write_matrix(&path, 12, &values).unwrap();
        Vectors::new(vec![Arc::new(Matrix::open(&path, rows, 12).unwrap())], 12)
    }

    #[test]
    fn components_are_orthonormal_eigenvectors_of_the_covariance_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let vectors = vectors(folder.path(), 5000);
        let rows: Vec<usize> = (0..5000).filter(|row| row % 3 != 1).collect();
        let mean = mean(&vectors, &rows);
        for (index, mean) in mean.iter().enumerate() {
            let sum: f64 = rows.iter().map(|&row| f64::from(vectors.row(row)[index])).sum();
            assert!((mean - sum / rows.len() as f64).abs() < 1e-12);
        }
        let mut covariance = vec![vec![0.0; 12]; 12];
        for &row in &rows {
            let x: Vec<f64> = vectors.row(row).iter().zip(&mean).map(|(&x, mean)| f64::from(x) - mean).collect();
            (0..12).for_each(|i| (0..12).for_each(|j| covariance[i][j] += x[i] * x[j] / rows.len() as f64));
        }
        let components = principal_components(&vectors, &rows, &mean, MAX_COMPONENTS);
        // The other six directions vary by nothing but the rounding of f32, which is far less than their share.
        assert!((6..=12).contains(&components.len()), "{}", components.len());
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut before = f64::INFINITY;
        for (index, component) in components[..6].iter().enumerate() {
            let image: Vec<f64> = covariance.iter().map(|row| product(row, component)).collect();
            let variance = product(component, &image);
            assert!(image.iter().zip(component).all(|(image, value)| (image - variance * value).abs() < 1e-9));
            assert!(variance < before && variance > 1e-3);
            before = variance;
            for (other, second) in components.iter().enumerate() {
                let expected = f64::from(u8::from(index == other));
                assert!((product(component, second) - expected).abs() < 1e-12);
            }
            let largest = component.iter().copied().reduce(|a, b| if b.abs() > a.abs() { b } else { a }).unwrap();
            assert!(largest > 0.0);
        }
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let again = alone.install(|| principal_components(&vectors, &rows, &mean, 3));
        assert_eq!(components[..3], again, "the number of threads changes the components");
    }

    #[test]
    fn a_sample_has_the_same_rows_each_time_in_order_and_from_everywhere() {
        let rows: Vec<usize> = (100..1100).collect();
        let sampled = sample(&rows, 100);
        assert_eq!((sampled.len(), sampled.is_sorted()), (100, true));
        assert_eq!(sampled, sample(&rows, 100));
        let first = sampled.iter().filter(|&&row| row < 600).count();
        assert!((30..70).contains(&first), "{first} of 100 are of the first half");
        assert_eq!(sample(&rows[..50], 100), rows[..50]);
    }
}
