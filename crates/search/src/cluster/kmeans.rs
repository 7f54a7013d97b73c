//! k-means: Lloyd's algorithm from k-means++ (Arthur and Vassilvitskii, 2007), the best of ten starts. Written here, because
//! linfa-clustering needs an older ndarray and rand beside the workspace's, and its result depends on the number of threads.
//!
//! Distances are `‖x‖² − 2 x·c + ‖c‖²`, so that nearly all work is in products of matrices. Each start ends when its centres
//! move by less than scikit-learn's tolerance; the best goes on until no point changes its cluster.

use nalgebra::{DMatrix, DVector};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// The starts, of which the best is returned.
const STARTS: u64 = 10;

/// The most iterations of a start, and of the best once more.
const ITERATIONS: usize = 300;

/// The squared movement of the centres at which a start ends, as a share of the mean variance of a value.
const TOLERANCE: f64 = 1e-4;

/// Points in blocks of columns, with their squared lengths.
pub(super) struct Points {
    blocks: Vec<DMatrix<f64>>,
    squares: Vec<Vec<f64>>,
}

/// Clusters of points.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Clusters {
    /// The cluster of each point.
    pub(super) labels: Vec<usize>,
    /// The sum of squared distances of points from the centres of their clusters.
    pub(super) inertia: f64,
    /// The centres as columns.
    pub(super) centres: DMatrix<f64>,
}

/// Where points belong with given centres.
struct Assignment {
    labels: Vec<usize>,
    distances: Vec<f64>,
    sums: DMatrix<f64>,
    counts: Vec<usize>,
}

impl Points {
    /// Points that are the columns of matrices of the same height, one or more.
    pub(super) fn new(blocks: Vec<DMatrix<f64>>) -> Self {
        let squares = |block: &DMatrix<f64>| block.column_iter().map(|column| column.norm_squared()).collect();
        Points { squares: blocks.par_iter().map(squares).collect(), blocks }
    }

    fn len(&self) -> usize {
        self.squares.iter().map(Vec::len).sum()
    }

    fn point(&self, index: usize) -> DVector<f64> {
        let (mut block, mut index) = (0, index);
        while index >= self.blocks[block].ncols() {
            index -= self.blocks[block].ncols();
            block += 1;
        }
        self.blocks[block].column(index).into_owned()
    }

    /// The mean variance of a value.
    fn variance(&self) -> f64 {
        let count = self.len() as f64;
        let sum = self.blocks.par_iter().map(|block| block.column_sum()).collect::<Vec<_>>();
        let mean = sum.into_iter().reduce(|a, b| a + b).unwrap_or_default() / count;
        let squares = self.squares.iter().flatten().sum::<f64>() / count;
        (squares - mean.norm_squared()).max(0.0) / mean.len().max(1) as f64
    }

    /// The nearest centre of each point, the first of equally near ones.
    fn assign(&self, centres: &DMatrix<f64>) -> Assignment {
        let (dim, clusters) = centres.shape();
        let lengths: Vec<f64> = centres.column_iter().map(|centre| centre.norm_squared()).collect();
        let transposed = centres.transpose();
        let block = |(block, squares): (&DMatrix<f64>, &Vec<f64>)| {
            let products = &transposed * block;
            let (mut sums, mut counts) = (DMatrix::zeros(dim, clusters), vec![0; clusters]);
            let mut nearest = Vec::with_capacity(squares.len());
            for (index, (products, square)) in products.column_iter().zip(squares).enumerate() {
                let distances = lengths.iter().zip(products.iter()).map(|(length, product)| length - 2.0 * product);
                let (label, distance) = distances.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0));
                nearest.push((label, (square + distance).max(0.0)));
                let mut sum = sums.column_mut(label);
                sum += block.column(index);
                counts[label] += 1;
            }
            (nearest, sums, counts)
        };
        let found: Vec<_> = self.blocks.par_iter().zip(&self.squares).map(block).collect();
        let mut all = Assignment {
            labels: Vec::with_capacity(self.len()),
            distances: Vec::with_capacity(self.len()),
            sums: DMatrix::zeros(dim, clusters),
            counts: vec![0; clusters],
        };
        // One after the other, so that sums do not depend on the number of threads.
        for (nearest, sums, counts) in found {
            all.labels.extend(nearest.iter().map(|(label, _)| label));
            all.distances.extend(nearest.iter().map(|(_, distance)| distance));
            all.sums += sums;
            all.counts.iter_mut().zip(counts).for_each(|(all, count)| *all += count);
        }
        all
    }
}

/// The best of ten starts. `progress` gets the share that is done, from 0 to 1.
pub(super) fn kmeans(points: &Points, clusters: usize, seed: u64, progress: &dyn Fn(f64)) -> Clusters {
    let tolerance = TOLERANCE * points.variance();
    let mut best: Option<Clusters> = None;
    for start in 0..STARTS {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(start);
        let found = lloyd(points, spread(points, clusters, &mut random), tolerance);
        if best.as_ref().is_none_or(|best| found.inertia < best.inertia) {
            best = Some(found);
        }
        progress((start + 1) as f64 / (STARTS + 1) as f64);
    }
    let centres = best.map(|best| best.centres).unwrap_or_default();
    lloyd(points, centres, -1.0)
}

/// Centres among the points, each drawn with a probability in proportion to the squared distance from those before.
fn spread(points: &Points, clusters: usize, random: &mut ChaCha8Rng) -> DMatrix<f64> {
    let count = points.len();
    let mut centres = vec![points.point(random.random_range(0..count))];
    let mut distances = vec![f64::INFINITY; count];
    while centres.len() < clusters {
        let last = &centres[centres.len() - 1];
        let length = last.norm_squared();
        let of_block = |(block, squares): (&DMatrix<f64>, &Vec<f64>)| -> Vec<f64> {
            let products = block.tr_mul(last);
            squares.iter().zip(products.iter()).map(|(square, product)| square - 2.0 * product + length).collect()
        };
        let found: Vec<Vec<f64>> = points.blocks.par_iter().zip(&points.squares).map(of_block).collect();
        distances
            .iter_mut()
            .zip(found.into_iter().flatten())
            .for_each(|(distance, other)| *distance = distance.min(other.max(0.0)));
        let mut left = distances.iter().sum::<f64>() * random.random::<f64>();
        let chosen = distances.iter().position(|distance| {
            left -= distance;
            left < 0.0
        });
        // Fewer different points than clusters: any will do.
        let chosen = chosen.unwrap_or_else(|| random.random_range(0..count));
        centres.push(points.point(chosen));
    }
    DMatrix::from_columns(&centres)
}

/// Lloyd's algorithm until no label changes, or the centres move by `tolerance` (a squared distance) or less.
fn lloyd(points: &Points, mut centres: DMatrix<f64>, tolerance: f64) -> Clusters {
    let mut found = points.assign(&centres);
    for _ in 0..ITERATIONS {
        let mut moved = found.sums.clone();
        for (cluster, &count) in found.counts.iter().enumerate() {
            if count > 0 {
                moved.column_mut(cluster).unscale_mut(count as f64);
            } else if let Some((farthest, _)) = found.distances.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)) {
                // A cluster that lost its points starts again at the point that is farthest from its centre.
                moved.set_column(cluster, &points.point(farthest));
                found.distances[farthest] = 0.0;
            }
        }
        let movement = (&moved - &centres).norm_squared();
        centres = moved;
        let next = points.assign(&centres);
        let is_done = next.labels == found.labels || movement <= tolerance;
        found = next;
        if is_done {
            break;
        }
    }
    Clusters { labels: found.labels, inertia: found.distances.iter().sum(), centres }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn centres_from_the_same_start_are_those_of_scikit_learn() {
        let block = DMatrix::from_fn(3, 40, |row, column| ((7 * column + 13 * row) as f64).sin() + (column % 4) as f64);
        let start = block.columns(0, 4).into_owned();
        let points = Points::new(vec![block.columns(0, 25).into_owned(), block.columns(25, 15).into_owned()]);
        let found = lloyd(&points, start, -1.0);
        // scikit-learn 1.9.1: x = numpy.array([[sin(7 c + 13 r) + c % 4 for r in range(3)] for c in range(40)]);
        // KMeans(4, init=x[:4], n_init=1, tol=0).fit(x): inertia_, cluster_centers_[0], numpy.bincount(labels_).
        let (inertia, first, sizes) =
            (24.82188640834236, [-0.14412462386439362, -0.11163970655020572, -0.0029576297877815794], [10, 12, 13, 5]);
        assert!((found.inertia - inertia).abs() < 1e-9, "{found:?}");
        assert!(found.centres.column(0).iter().zip(first).all(|(a, b)| (a - b).abs() < 1e-9), "{found:?}");
        let size = |label: usize| found.labels.iter().filter(|&&other| other == label).count();
        assert_eq!([0, 1, 2, 3].map(size), sizes);
    }

    #[test]
    fn as_many_clusters_as_points_and_equal_points_are_no_trouble() {
        let points = Points::new(vec![DMatrix::from_fn(2, 5, |row, column| (row + 3 * column) as f64)]);
        let found = kmeans(&points, 5, 1, &|_| ());
        assert!(found.inertia < 1e-9, "{found:?}");
        let equal = Points::new(vec![DMatrix::repeat(2, 5, 0.5)]);
        let found = kmeans(&equal, 3, 1, &|_| ());
        assert!(found.inertia < 1e-9 && found.labels.len() == 5, "{found:?}");
    }
}
