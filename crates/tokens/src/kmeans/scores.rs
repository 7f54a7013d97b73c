//! The kernel that compares a block of frames with all centres: a matrix product whose tiles are reduced while they are in
//! registers, so that no distance is ever written to memory.

// Only constant indices keep the sums in registers.
#![allow(clippy::needless_range_loop)]

use mert_simd::{Buffer, Isa, Kernel, LINE, TileShape, left_groups, multiply, pack_rows, packed_columns};
use pulp::Simd;

use super::centres::{Centres, RowScores};

/// Bytes of packed frames in a block: about half of a second-level cache of 1 MB, which also holds the lowest scores.
const BLOCK_BYTES: usize = 480 << 10;

/// Inner steps that are summed in one go. Fewer would cost time, more would widen the bound of the error.
const STEPS: usize = 256;

/// The rows of a block of frames of the width `dim`: whole tiles.
pub(super) fn block_rows(isa: Isa, dim: usize) -> usize {
    let tile = isa.tile(TileShape::Square).rows;
    (BLOCK_BYTES / size_of::<f32>() / dim.next_multiple_of(LINE) / tile).clamp(1, 64) * tile
}

/// The roundings that a product of frames of the width `dim` goes through, at most: of each product and sum within a go,
/// and of the sums of the goes.
pub(super) fn roundings(dim: usize) -> usize {
    STEPS.min(dim.next_multiple_of(LINE)) + 1 + dim.div_ceil(STEPS)
}

/// The memory of one thread.
#[derive(Debug, Default)]
pub(super) struct ScoreScratch {
    /// The frames of a block in tiles.
    packed: Buffer,
    best: Buffer,
    second: Buffer,
    panel: Buffer<u32>,
}

impl ScoreScratch {
    /// The scores of row `row`, with `columns` columns in a panel.
    pub(super) fn row(&self, row: usize, columns: usize) -> RowScores<'_> {
        let range = row * columns..(row + 1) * columns;
        RowScores { best: &self.best[range.clone()], second: &self.second[range.clone()], panel: &self.panel[range] }
    }
}

/// Scores a block of frames: `½‖c‖² − x·c`, which is half the squared distance less what all centres share.
pub(super) struct Scores<'a> {
    pub(super) centres: &'a Centres,
    /// The frames of the block.
    pub(super) values: &'a [f32],
    pub(super) scratch: &'a mut ScoreScratch,
}

impl Kernel for Scores<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Scores { centres, values, scratch } = self;
        let dim = centres.dim();
        let (padded, columns) = (dim.next_multiple_of(LINE), VECTORS * S::F32_LANES);
        let rows = values.len() / dim;
        let tiles = rows.div_ceil(ROWS);
        let tile_size = ROWS * padded;
        let packed = scratch.packed.take(tiles * tile_size);
        for (tile, values) in packed.chunks_exact_mut(tile_size).zip(values.chunks(ROWS * dim)) {
            pack_rows(tile, values, dim);
        }
        let count = tiles * ROWS * columns;
        let (best, second, panels) = (scratch.best.take(count), scratch.second.take(count), scratch.panel.take(count));
        best.fill(f32::INFINITY);
        second.fill(f32::INFINITY);
        let panel_size = packed_columns(dim, columns);
        for (number, panel) in centres.panels.chunks_exact(panel_size).enumerate() {
            let halves = S::as_simd_f32s(&centres.half_norms[number * columns..][..columns]).0;
            let index = simd.splat_u32s(number as u32);
            let next = centres.panels.get((number + 1) * panel_size..(number + 2) * panel_size).unwrap_or_default();
            let next: &[u8] = bytemuck::cast_slice(next);
            let part = next.len().div_ceil(tiles).next_multiple_of(64).max(64);
            let mut ahead = next.chunks(part);
            for tile in 0..tiles {
                let left = left_groups::<ROWS>(&packed[tile * tile_size..][..tile_size]);
                let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
                for (go, left) in left.chunks(STEPS / LINE).enumerate() {
                    let right = &panel[go * STEPS * columns..][..left.len() * LINE * columns];
                    let ahead = if go == 0 { ahead.next().unwrap_or_default() } else { &[] };
                    let part = multiply::<S, ROWS, VECTORS>(simd, left, right, ahead);
                    for row in 0..ROWS {
                        for vector in 0..VECTORS {
                            sums[row][vector] = simd.add_f32s(sums[row][vector], part[row][vector]);
                        }
                    }
                }
                for row in 0..ROWS {
                    let start = (tile * ROWS + row) * columns;
                    let best = S::as_mut_simd_f32s(&mut best[start..][..columns]).0;
                    let second = S::as_mut_simd_f32s(&mut second[start..][..columns]).0;
                    let panels = S::as_mut_simd_u32s(&mut panels[start..][..columns]).0;
                    for vector in 0..VECTORS {
                        let score = simd.sub_f32s(halves[vector], sums[row][vector]);
                        let lower = simd.less_than_f32s(score, best[vector]);
                        let loser = simd.select_f32s(lower, best[vector], score);
                        let closer = simd.less_than_f32s(loser, second[vector]);
                        second[vector] = simd.select_f32s(closer, loser, second[vector]);
                        best[vector] = simd.select_f32s(lower, score, best[vector]);
                        panels[vector] = simd.select_u32s(lower, index, panels[vector]);
                    }
                }
            }
        }
    }
}
