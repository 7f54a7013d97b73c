//! The centres of clusters, and the nearest of them for each frame, exactly.

use mert_simd::{Buffer, Isa, TileShape, pack_columns, packed_columns};
use rayon::prelude::*;

use super::scores::{ScoreScratch, Scores, block_rows};
use super::{BLOCK, Frames, squared_distance, squared_norm};

/// The centre that is nearest to a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nearest {
    /// The index of the centre; of several that are as near, the lowest.
    pub centre: u32,
    /// The squared Euclidean distance, in f64.
    pub distance: f64,
}

/// Centres `(k, dim)` as they are, and packed for products with frames.
#[derive(Debug)]
pub struct Centres {
    values: Vec<f32>,
    dim: usize,
    /// Panels of centres as columns.
    pub(super) panels: Buffer,
    /// Half the squared length of each centre, and infinity for the columns that fill up the last panel.
    pub(super) half_norms: Buffer,
    /// The length of the longest centre.
    longest: f64,
    isa: Isa,
}

impl Centres {
    /// The centres in `values`, `dim` finite values each; `None` if they are not whole centres, or none.
    pub fn new(values: Vec<f32>, dim: usize) -> Option<Self> {
        Centres::on(Isa::detect(), values, dim)
    }

    /// The centres in `values`, for products with the instructions `isa`.
    pub(super) fn on(isa: Isa, values: Vec<f32>, dim: usize) -> Option<Self> {
        if dim == 0 || values.is_empty() || !values.len().is_multiple_of(dim) {
            return None;
        }
        let columns = isa.tile(TileShape::Square).columns;
        let (k, size) = (values.len() / dim, packed_columns(dim, columns));
        let mut panels = Buffer::zeroed(k.div_ceil(columns) * size);
        panels.par_chunks_mut(size).zip(values.par_chunks(columns * dim)).for_each(|(panel, centres)| {
            pack_columns(panel, columns, centres.chunks_exact(dim));
        });
        let norms: Vec<f64> = values.par_chunks_exact(dim).map(squared_norm).collect();
        let mut half_norms = Buffer::zeroed(k.next_multiple_of(columns));
        half_norms.fill(f32::INFINITY);
        half_norms.iter_mut().zip(&norms).for_each(|(half, norm)| *half = (norm / 2.0) as f32);
        let longest = norms.iter().copied().fold(0.0, f64::max).sqrt();
        Some(Centres { values, dim, panels, half_norms, longest, isa })
    }

    /// The number of centres.
    pub fn k(&self) -> usize {
        self.values.len() / self.dim
    }

    /// The length of a centre.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The centres, one after the other.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Centre `index`, which exists.
    pub fn centre(&self, index: usize) -> &[f32] {
        &self.values[index * self.dim..][..self.dim]
    }

    /// The nearest centre of each of `frames`, which have the centres' width and finite values, on all threads.
    pub fn nearest(&self, frames: Frames<'_>) -> Vec<Nearest> {
        let rows = block_rows(self.isa, self.dim);
        let mut nearest = vec![Nearest { centre: 0, distance: 0.0 }; frames.len()];
        let blocks = frames.values().par_chunks(rows * self.dim).zip(nearest.par_chunks_mut(rows));
        blocks.for_each_init(ScoreScratch::default, |scratch, (values, nearest)| {
            self.isa.run(TileShape::Square, Scores { centres: self, values, scratch: &mut *scratch });
            let columns = self.isa.tile(TileShape::Square).columns;
            for (row, (frame, nearest)) in values.chunks_exact(self.dim).zip(nearest).enumerate() {
                *nearest = self.decide(frame, &scratch.row(row, columns));
            }
        });
        nearest
    }

    /// The nearest centre of each of `frames`, which may be in a mapped file larger than memory. `on_frames` gets the number
    /// of frames of each block.
    pub fn nearest_in_blocks(&self, frames: Frames<'_>, on_frames: &dyn Fn(usize)) -> Vec<Nearest> {
        let blocks = frames.blocks(BLOCK).map(|block| {
            let nearest = self.nearest(*block);
            on_frames(nearest.len());
            nearest
        });
        blocks.collect::<Vec<_>>().concat()
    }

    /// The nearest centre of `frame`, of those that its scores leave possible.
    fn decide(&self, frame: &[f32], scores: &RowScores<'_>) -> Nearest {
        let lowest = scores.best.iter().copied().fold(f32::INFINITY, f32::min);
        // Neither the lowest score nor another is farther from the true one than the bound.
        let limit = (f64::from(lowest) + 2.0 * self.error_bound(squared_norm(frame).sqrt())).next_up();
        let columns = scores.best.len();
        let mut found: Option<Nearest> = None;
        let mut consider = |centre: usize| {
            let distance = squared_distance(frame, self.centre(centre));
            let centre = centre as u32;
            let nearer = |found: &Nearest| (distance, centre) < (found.distance, found.centre);
            if found.as_ref().is_none_or(nearer) {
                found = Some(Nearest { centre, distance });
            }
        };
        for (column, (&best, &second)) in scores.best.iter().zip(scores.second).enumerate() {
            if f64::from(second) <= limit {
                (column..self.k()).step_by(columns).for_each(&mut consider);
            } else if f64::from(best) <= limit {
                consider(scores.panel[column] as usize * columns + column);
            }
        }
        found.unwrap_or(Nearest { centre: 0, distance: f64::NAN })
    }

    /// The largest error of a score `½‖c‖² − x·c` of a frame of the length `length`, in f32.
    ///
    /// A sum of n products has an error of at most n·u/(1 − n·u) times the sum of their magnitudes (Higham, *Accuracy
    /// and Stability of Numerical Algorithms*, section 3.1), which is at most ‖x‖·‖c‖.
    fn error_bound(&self, length: f64) -> f64 {
        let unit = f64::from(f32::EPSILON) / 2.0;
        let roundings = super::scores::roundings(self.dim) as f64 * unit;
        let product = length * self.longest;
        let score = product + self.longest * self.longest / 2.0;
        // The rounding of ½‖c‖², of the difference, and of what is smaller than any normal number.
        product * roundings / (1.0 - roundings) + score * 2.5 * unit + self.dim as f64 * f64::from(f32::MIN_POSITIVE)
    }
}

/// The scores of one frame: for each column of a panel the lowest, the next and the panel of the lowest.
pub(super) struct RowScores<'a> {
    pub(super) best: &'a [f32],
    pub(super) second: &'a [f32],
    pub(super) panel: &'a [u32],
}
