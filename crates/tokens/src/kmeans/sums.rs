//! New centres from labels: the sums of the frames of each cluster, in f64 and in the order of the frames.

use rayon::prelude::*;

use super::{Frames, Nearest};

/// The sums and counts of the frames of each cluster.
#[derive(Debug)]
pub(super) struct Sums {
    /// The sums `(k, dim)`.
    pub(super) values: Vec<f64>,
    /// The number of frames of each cluster.
    pub(super) counts: Vec<u64>,
    dim: usize,
}

impl Sums {
    /// Sums of no frames.
    pub(super) fn new(k: usize, dim: usize) -> Self {
        Sums { values: vec![0.0; k * dim], counts: vec![0; k], dim }
    }

    /// Adds `frames` to the clusters of their nearest centres. Each cluster is summed by one thread in the order of the
    /// frames, so that the result does not depend on the number of threads.
    pub(super) fn add(&mut self, frames: Frames<'_>, nearest: &[Nearest]) {
        let k = self.counts.len();
        // The rows in the order of their clusters, by counting.
        let mut ends = vec![0usize; k + 1];
        nearest.iter().for_each(|found| ends[found.centre as usize + 1] += 1);
        for cluster in 0..k {
            self.counts[cluster] += ends[cluster + 1] as u64;
            ends[cluster + 1] += ends[cluster];
        }
        let mut next = ends.clone();
        let mut rows = vec![0u32; nearest.len()];
        for (row, found) in nearest.iter().enumerate() {
            let place = &mut next[found.centre as usize];
            rows[*place] = row as u32;
            *place += 1;
        }
        let (rows, ends) = (&rows, &ends);
        self.values.par_chunks_exact_mut(self.dim).enumerate().for_each(|(cluster, sum)| {
            for &row in &rows[ends[cluster]..ends[cluster + 1]] {
                for (sum, &value) in sum.iter_mut().zip(frames.row(row as usize)) {
                    *sum += f64::from(value);
                }
            }
        });
    }

    /// The centre of a cluster that has frames.
    pub(super) fn mean(&self, cluster: usize) -> impl Iterator<Item = f64> {
        let count = self.counts[cluster] as f64;
        self.values[cluster * self.dim..][..self.dim].iter().map(move |sum| sum / count)
    }

    /// Moves the frame `row` from cluster `from` to `to`, which has none.
    pub(super) fn relocate(&mut self, row: &[f32], from: usize, to: usize) {
        for (index, &value) in row.iter().enumerate() {
            self.values[from * self.dim + index] -= f64::from(value);
            self.values[to * self.dim + index] = f64::from(value);
        }
        self.counts[from] -= 1;
        self.counts[to] = 1;
    }
}
