//! The centres to start from: k-means++ with several tries for each centre.

// Only constant indices keep the sums in registers.
#![allow(clippy::needless_range_loop)]

use mert_simd::{Buffer, Isa, Kernel, LINE, TileShape, left_groups, multiply, pack_columns, pack_rows, packed_columns};
use pulp::Simd;
use rand::{Rng, RngCore};
use rayon::prelude::*;

use super::{Frames, squared_norm};

/// Frames whose distances are found and summed at a time.
const BLOCK: usize = 960;

/// The candidates for each centre: 2 + ⌊ln k⌋, as in scikit-learn.
pub fn start_tries(k: usize) -> usize {
    2 + (k.max(1) as f64).ln() as usize
}

/// The rows of `k` of `frames` as centres to start from; all rows if there are no more.
///
/// k-means++ of [Arthur and Vassilvitskii (2007)](https://dl.acm.org/doi/10.5555/1283383.1283494): each centre is drawn with
/// the probability of its squared distance from the nearest centre so far. As in scikit-learn, several candidates are
/// drawn, and the one that leaves the smallest sum of squared distances is taken. `on_centre` gets the number of centres
/// so far, and returns whether to go on; otherwise the result is `None`.
pub fn kmeans_plus_plus(
    frames: Frames<'_>,
    k: usize,
    random: &mut impl RngCore,
    on_centre: &dyn Fn(usize) -> bool,
) -> Option<Vec<usize>> {
    if frames.len() <= k {
        return Some((0..frames.len()).collect());
    }
    let isa = Isa::detect();
    // As many candidates as fit a panel cost the same as one.
    let tries = start_tries(k).min(isa.tile(TileShape::Square).columns);
    let packed = PackedFrames::new(isa, frames);
    let first = random.random_range(0..frames.len());
    let mut chosen = vec![first];
    let mut nearest = vec![f32::INFINITY; frames.len()];
    let mut best = packed.compare(frames, &[first], &nearest).swap_remove(0);
    best.apply(&mut nearest);
    while chosen.len() < k {
        if !on_centre(chosen.len()) {
            return None;
        }
        let sums = cumulative(&nearest);
        let total = sums.last().copied().unwrap_or(0.0);
        let candidates: Vec<usize> = match total > 0.0 {
            true => (0..tries).map(|_| draw(&sums, random.random::<f64>() * total)).collect(),
            // All frames that are left equal a centre.
            false => vec![(0..frames.len()).find(|row| !chosen.contains(row)).unwrap_or(first)],
        };
        let tried = packed.compare(frames, &candidates, &nearest);
        let winner = (0..tried.len()).min_by(|&a, &b| tried[a].total().total_cmp(&tried[b].total())).unwrap_or(0);
        best = tried.into_iter().nth(winner)?;
        best.apply(&mut nearest);
        chosen.push(candidates[winner]);
    }
    Some(chosen)
}

/// The running sums of `values`, whose order is fixed.
fn cumulative(values: &[f32]) -> Vec<f64> {
    let mut sum = 0.0;
    values
        .iter()
        .map(|&value| {
            sum += f64::from(value);
            sum
        })
        .collect()
}

/// The first row whose running sum is above `at`.
fn draw(sums: &[f64], at: f64) -> usize {
    sums.partition_point(|&sum| sum <= at).min(sums.len() - 1)
}

/// Frames as the left operand of products with candidates.
struct PackedFrames {
    isa: Isa,
    tiles: Buffer,
    /// The squared length of each frame.
    norms: Vec<f32>,
    tile_rows: usize,
    dim: usize,
}

/// The squared distances of all frames from the nearest centre, if a candidate becomes one.
struct Tried {
    distances: Vec<f32>,
    /// The sum of the distances of each block.
    sums: Vec<f64>,
}

impl Tried {
    fn total(&self) -> f64 {
        self.sums.iter().sum()
    }

    fn apply(&self, nearest: &mut [f32]) {
        nearest.copy_from_slice(&self.distances);
    }
}

impl PackedFrames {
    fn new(isa: Isa, frames: Frames<'_>) -> Self {
        let (dim, tile_rows) = (frames.dim(), isa.tile(TileShape::Square).rows);
        let size = dim.next_multiple_of(LINE) * tile_rows;
        let mut tiles = Buffer::zeroed(frames.len().div_ceil(tile_rows) * size);
        let rows = frames.values().par_chunks(tile_rows * dim);
        tiles.par_chunks_mut(size).zip(rows).for_each(|(tile, rows)| pack_rows(tile, rows, dim));
        let norms = frames.values().par_chunks_exact(dim).map(|frame| squared_norm(frame) as f32).collect();
        PackedFrames { isa, tiles, norms, tile_rows, dim }
    }

    /// The distances that remain with each of `candidates`, which are rows of `frames`.
    fn compare(&self, frames: Frames<'_>, candidates: &[usize], nearest: &[f32]) -> Vec<Tried> {
        let columns = self.isa.tile(TileShape::Square).columns;
        let mut panel = Buffer::zeroed(packed_columns(self.dim, columns));
        pack_columns(&mut panel, columns, candidates.iter().map(|&row| frames.row(row)));
        let norms: Vec<f32> = candidates.iter().map(|&row| self.norms[row]).collect();
        let block = BLOCK / self.tile_rows * self.tile_rows;
        let size = self.dim.next_multiple_of(LINE) * block;
        let blocks = self.tiles.par_chunks(size).zip(self.norms.par_chunks(block)).zip(nearest.par_chunks(block));
        let blocks: Vec<Vec<(Vec<f32>, f64)>> = blocks
            .map(|((tiles, lengths), nearest)| {
                let mut products = vec![0.0; lengths.len().next_multiple_of(self.tile_rows) * columns];
                self.isa.run(TileShape::Square, Products { tiles, panel: &panel, dim: self.dim, out: &mut products });
                let distances = |candidate: usize| {
                    let rows = lengths.iter().zip(nearest).zip(products.chunks_exact(columns));
                    let left = rows.map(|((&length, &nearest), products)| {
                        let distance = length + norms[candidate] - 2.0 * products[candidate];
                        nearest.min(distance.max(0.0))
                    });
                    left.collect::<Vec<f32>>()
                };
                let sum = |values: &[f32]| values.iter().map(|&value| f64::from(value)).sum();
                (0..candidates.len())
                    .map(distances)
                    .map(|values| {
                        let sum = sum(&values);
                        (values, sum)
                    })
                    .collect()
            })
            .collect();
        let mut tried: Vec<Tried> = candidates
            .iter()
            .map(|_| Tried { distances: Vec::with_capacity(nearest.len()), sums: Vec::with_capacity(blocks.len()) })
            .collect();
        for block in blocks {
            for (tried, (values, sum)) in tried.iter_mut().zip(block) {
                tried.distances.extend(values);
                tried.sums.push(sum);
            }
        }
        // A candidate is its own centre, whatever rounding left.
        for (tried, &row) in tried.iter_mut().zip(candidates) {
            tried.distances[row] = 0.0;
        }
        tried
    }
}

/// The products of packed frames with one panel, `[frame][column]`.
struct Products<'a> {
    tiles: &'a [f32],
    panel: &'a [f32],
    dim: usize,
    out: &'a mut [f32],
}

impl Kernel for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Products { tiles, panel, dim, out } = self;
        let (size, columns) = (dim.next_multiple_of(LINE) * ROWS, VECTORS * S::F32_LANES);
        for (tile, out) in tiles.chunks_exact(size).zip(out.chunks_exact_mut(ROWS * columns)) {
            let sums = multiply::<S, ROWS, VECTORS>(simd, left_groups::<ROWS>(tile), panel, &[]);
            let out = S::as_mut_simd_f32s(out).0;
            for row in 0..ROWS {
                for vector in 0..VECTORS {
                    out[row * VECTORS + vector] = sums[row][vector];
                }
            }
        }
    }
}
