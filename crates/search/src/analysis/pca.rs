//! Principal components of tracks in a space, by subspace iteration: Halko, Martinsson and Tropp,
//! <https://arxiv.org/abs/0909.4061>, algorithm 4.4, repeated until the variances do not change.

use nalgebra::{DMatrix, DVector, SymmetricEigen};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Rows, sample};

/// Components beyond those that are asked for, which make the iteration converge sooner.
const MORE: usize = 8;

/// The most rows that components are computed from; of more, so many are drawn.
const SAMPLE: usize = 50_000;

/// The most values of a vector for which the covariance is computed once, instead of its products from all rows in each
/// iteration: 8 MB.
const COVARIANCE: usize = 1024;

/// The change of variances, as a share of the whole, at which the iteration ends.
const TOLERANCE: f64 = 1e-12;

/// The largest principal components.
#[derive(Debug, Clone, PartialEq)]
pub struct Pca {
    /// The mean.
    pub mean: DVector<f64>,
    /// The components as columns of length 1, the largest first, of shape `(dim, components)`. The value of the largest
    /// magnitude in each is above zero.
    pub components: DMatrix<f64>,
    /// The variance along each component.
    pub variances: Vec<f64>,
    /// The variance of all values.
    pub total_variance: f64,
    /// The number of rows that they were computed from.
    pub fitted: usize,
}

impl Pca {
    /// Iterations after which components are exact for all practical purposes.
    pub const EXACT: usize = 100;

    /// Iterations after which components span what matters, for a reduction of the number of values.
    pub const REDUCTION: usize = 8;

    /// The `count` largest components of `rows`, or as many as there are, after at most `iterations`. Of more than 50,000
    /// rows a sample is used. The result does not depend on the number of threads.
    pub fn of(rows: &Rows<'_, '_>, count: usize, iterations: usize, seed: u64) -> Self {
        if rows.tracks().len() > SAMPLE {
            let sampled = sample(rows.tracks(), SAMPLE, &mut ChaCha8Rng::seed_from_u64(seed));
            return Pca::of(&rows.with_tracks(sampled), count, iterations, seed);
        }
        let (n, dim) = (rows.tracks().len(), rows.dim());
        let degrees = n.max(2) as f64 - 1.0;
        let mean = rows.sum_blocks(dim, 1, |block| DMatrix::from_column_slice(dim, 1, block.column_sum().as_slice()));
        let mean = mean.column(0) / n.max(1) as f64;
        let centred = |mut block: DMatrix<f64>| {
            block.column_iter_mut().for_each(|mut column| column -= &mean);
            block
        };
        let total = rows.map_blocks(|_, block| centred(block).norm_squared());
        let total_variance = total.iter().sum::<f64>() / degrees;
        let count = count.min(dim).min(n.saturating_sub(1));
        let width = (count + MORE).min(dim).min(n.max(1));
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut basis = DMatrix::from_fn(dim, width, |_, _| random.random_range(-1.0..1.0)).qr().q();
        let mut variances: Vec<f64> = Vec::new();
        let covariance = (dim <= COVARIANCE && n > dim).then(|| {
            let product = |block| {
                let block = centred(block);
                &block * block.transpose()
            };
            rows.sum_blocks(dim, dim, product) / degrees
        });
        for _ in 0..iterations {
            let product = match &covariance {
                Some(covariance) => covariance * &basis,
                None => {
                    let product = |block| {
                        let block = centred(block);
                        let projected = block.transpose() * &basis;
                        block * projected
                    };
                    rows.sum_blocks(dim, width, product) / degrees
                }
            };
            let SymmetricEigen { eigenvalues, eigenvectors } = (basis.transpose() * &product).symmetric_eigen();
            let mut order: Vec<usize> = (0..width).collect();
            order.sort_by(|&a, &b| eigenvalues[b].total_cmp(&eigenvalues[a]).then(a.cmp(&b)));
            let rotation = DMatrix::from_fn(width, width, |row, column| eigenvectors[(row, order[column])]);
            let found: Vec<f64> = order.iter().take(count).map(|&index| eigenvalues[index].max(0.0)).collect();
            let change = found.iter().zip(&variances).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            let is_done = variances.len() == found.len() && change <= TOLERANCE * total_variance;
            variances = found;
            if is_done {
                basis *= rotation;
                break;
            }
            basis = (product * rotation).qr().q();
        }
        let mut components = basis.columns(0, count).into_owned();
        for mut column in components.column_iter_mut() {
            let largest = column.iter().copied().fold(0.0, |a: f64, b| if b.abs() > a.abs() { b } else { a });
            if largest < 0.0 {
                column.neg_mut();
            }
        }
        Pca { mean: mean.into_owned(), components, variances, total_variance, fitted: n }
    }

    /// The coordinates of all rows along the components: a row for each, one after the other.
    pub fn project(&self, rows: &Rows<'_, '_>) -> Vec<Vec<f64>> {
        let blocks = self.project_blocks(rows);
        blocks.iter().flat_map(|block| block.column_iter()).map(|column| column.iter().copied().collect()).collect()
    }

    /// The coordinates of all rows along the components, as blocks of columns in order.
    pub fn project_blocks(&self, rows: &Rows<'_, '_>) -> Vec<DMatrix<f64>> {
        rows.map_blocks(|_, mut block: DMatrix<f64>| {
            block.column_iter_mut().for_each(|mut column| column -= &self.mean);
            self.components.transpose() * block
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Geometry, Space, testing};

    #[test]
    fn components_are_the_eigenvectors_of_the_covariance() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = testing::catalogue(folder.path(), 60);
        let space = Space::new(&catalogue, Geometry::of(&catalogue)).unwrap();
        let rows = Rows::new(&space, catalogue.live().ones().collect());
        let pca = Pca::of(&rows, 6, Pca::EXACT, 1);
        let mut all = rows.columns(0..60);
        let mean = all.column_mean();
        all.column_iter_mut().for_each(|mut column| column -= &mean);
        let covariance = &all * all.transpose() / 59.0;
        let mut expected: Vec<f64> = covariance.clone().symmetric_eigen().eigenvalues.iter().copied().collect();
        expected.sort_by(|a, b| b.total_cmp(a));
        for (index, (variance, expected)) in pca.variances.iter().zip(&expected).enumerate() {
            assert!((variance - expected).abs() < 1e-9 * expected, "{variance} {expected}");
            let component = pca.components.column(index);
            // The variance has the square of the error of the direction.
            assert!((&covariance * component - component * *variance).norm() < 1e-4 * variance);
        }
        assert!((pca.total_variance - covariance.trace()).abs() < 1e-12);
        let projected = pca.project(&rows);
        let variance = projected.iter().map(|row| row[0] * row[0]).sum::<f64>() / 59.0;
        assert!((variance - pca.variances[0]).abs() < 1e-9);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(pool.install(|| Pca::of(&rows, 6, Pca::EXACT, 1)), pca);
    }
}
