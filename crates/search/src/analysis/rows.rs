//! Tracks of a space as vectors of length 1, and the products of many with many, block by block.

use nalgebra::DMatrix;
use rayon::prelude::*;

use crate::vectors::Level;
use crate::{Scored, Space};

/// The rows that are in memory at once: of 2,304 values each, 9 MB.
const BLOCK: usize = 512;

/// The blocks whose results are added to a sum at once.
const SUMMED: usize = 16;

/// The queries that share a pass over all rows, at most, and the scores that are in memory at once: 256 MB.
const QUERIES: usize = 256;
const SCORES: usize = 1 << 25;

/// Some tracks of a space.
#[derive(Debug)]
pub struct Rows<'s, 'c> {
    space: &'s Space<'c>,
    tracks: Vec<usize>,
    dim: usize,
}

impl<'s, 'c> Rows<'s, 'c> {
    /// The tracks `tracks` of `space`.
    pub fn new(space: &'s Space<'c>, tracks: Vec<usize>) -> Self {
        let dim = tracks.first().map_or(0, |&track| space.mapped(Level::Tracks, track).len());
        Rows { space, tracks, dim }
    }

    /// Other tracks of the same space.
    pub fn with_tracks(&self, tracks: Vec<usize>) -> Self {
        Rows { space: self.space, tracks, dim: self.dim }
    }

    /// The tracks.
    pub fn tracks(&self) -> &[usize] {
        &self.tracks
    }

    /// The number of values in a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The vectors of some rows, by their index in [`Rows::tracks`]: a column for each, of shape `(dim, rows)`.
    pub fn columns(&self, rows: impl IntoIterator<Item = usize>) -> DMatrix<f64> {
        let mut values = Vec::new();
        let mut count = 0;
        for row in rows {
            values.extend(self.space.mapped(Level::Tracks, self.tracks[row]));
            count += 1;
        }
        DMatrix::from_vec(self.dim, count, values)
    }

    /// The results of `each` for blocks of rows, in order: given the first row of a block and its vectors as columns.
    pub fn map_blocks<T: Send>(&self, each: impl Fn(usize, DMatrix<f64>) -> T + Sync) -> Vec<T> {
        let starts: Vec<usize> = (0..self.tracks.len()).step_by(BLOCK).collect();
        let block = |&start: &usize| each(start, self.columns(start..(start + BLOCK).min(self.tracks.len())));
        starts.par_iter().map(block).collect()
    }

    /// The sum of the matrices of shape `(height, width)` that `each` makes of blocks of rows, added in the order of the blocks.
    pub fn sum_blocks(
        &self,
        height: usize,
        width: usize,
        each: impl Fn(DMatrix<f64>) -> DMatrix<f64> + Sync,
    ) -> DMatrix<f64> {
        let starts: Vec<usize> = (0..self.tracks.len()).step_by(BLOCK).collect();
        let block = |&start: &usize| each(self.columns(start..(start + BLOCK).min(self.tracks.len())));
        let mut sum = DMatrix::zeros(height, width);
        // A few at a time, so that their results are not all in memory.
        for starts in starts.chunks(SUMMED) {
            let parts: Vec<DMatrix<f64>> = starts.par_iter().map(block).collect();
            parts.iter().for_each(|part| sum += part);
        }
        sum
    }

    /// The results of `each` for the rows `queries`, in order: given the query and its products with all rows.
    pub fn map_queries<T: Send>(
        &self,
        queries: &[usize],
        progress: &(dyn Fn(u64) + Sync),
        each: impl Fn(usize, &[f64]) -> T + Sync,
    ) -> Vec<T> {
        let mut results = Vec::with_capacity(queries.len());
        let shared = (SCORES / self.tracks.len().max(1)).clamp(1, QUERIES);
        for queries in queries.chunks(shared) {
            let points = self.columns(queries.iter().copied());
            // A column of products for each query, so that its scores are read one after the other.
            let blocks = self.map_blocks(|_, block| block.transpose() * &points);
            let result = |(index, &query): (usize, &usize)| {
                let mut scores = Vec::with_capacity(self.tracks.len());
                blocks.iter().for_each(|block| scores.extend_from_slice(block.column(index).as_slice()));
                each(query, &scores)
            };
            results.par_extend(queries.par_iter().enumerate().map(result));
            progress(queries.len() as u64);
        }
        results
    }

    /// For each of the rows `queries` its `count` best other rows by index in [`Rows::tracks`], best first, rows of equal
    /// score in ascending order.
    pub fn neighbours(&self, queries: &[usize], count: usize, progress: &(dyn Fn(u64) + Sync)) -> Vec<Vec<Scored>> {
        self.map_queries(queries, progress, |query, scores| best(query, scores, count))
    }
}

/// The `count` best rows but for `query`.
pub(crate) fn best(query: usize, scores: &[f64], count: usize) -> Vec<Scored> {
    let scored = scores.iter().enumerate().map(|(row, &score)| Scored { row, score });
    let mut scored: Vec<Scored> = scored.filter(|scored| scored.row != query).collect();
    let order = |a: &Scored, b: &Scored| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row));
    if count < scored.len() {
        scored.select_nth_unstable_by(count, order);
        scored.truncate(count);
    }
    scored.sort_unstable_by(order);
    // The vector had room for all rows.
    scored.shrink_to_fit();
    scored
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Geometry, testing};

    #[test]
    fn neighbours_are_those_of_a_scan() {
        let folder = tempfile::tempdir().unwrap();
        let catalogue = testing::catalogue(folder.path(), 40);
        let space = Space::new(&catalogue, Geometry::of(&catalogue)).unwrap();
        let rows = Rows::new(&space, catalogue.live().ones().collect());
        let found = rows.neighbours(&[3, 17, 39], 5, &|_| ());
        for (query, found) in [3, 17, 39].into_iter().zip(&found) {
            let scan = space.scan(Level::Tracks, &[space.point(Level::Tracks, query)], catalogue.live(), 6);
            let expected: Vec<usize> = scan[0].iter().map(|hit| hit.row).filter(|&row| row != query).collect();
            assert_eq!(found.iter().map(|hit| hit.row).collect::<Vec<_>>(), expected);
            assert!(found.iter().zip(&scan[0][1..]).all(|(a, b)| (a.score - b.score).abs() < 1e-12));
        }
    }
}
