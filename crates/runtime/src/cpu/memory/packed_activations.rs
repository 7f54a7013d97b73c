//! The left operand of a product: activations in the order in which the microkernel reads them.

use mert_simd::{Buffer, Factors, LINE, Tile, bf16_parts, int8_code};
use rayon::prelude::*;

use super::super::arithmetic::inner_block;

/// Activations `(rows, width)` in the order in which a product reads its left operand:
/// `[tile of rows][line of words][row][word]`, the columns filled up with zeros to whole lines.
///
/// Each step writes the operand of the next product in this order, so that no product has to copy it first.
#[derive(Debug, Default)]
pub(crate) struct PackedActivations {
    words: Buffer<u32>,
    /// The scales and offsets of 8-bit integers, `[tile of rows][block of the inner dimension][scale or offset][row]`.
    scales: Buffer,
    factors: Factors,
    /// The bits in which the bytes of integers are stored otherwise.
    flip: u32,
    rows: usize,
    width: usize,
    tile_rows: usize,
}

/// One tile of packed activations, to be written.
pub(crate) struct TileMut<'a> {
    pub(crate) words: &'a mut [u32],
    pub(crate) scales: &'a mut [f32],
    pub(crate) factors: Factors,
    pub(crate) flip: u32,
}

/// Rows of [`PackedActivations`], from the first row of a tile on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PackedRows<'a> {
    activations: &'a PackedActivations,
    first_tile: usize,
    rows: usize,
}

impl<'a> PackedRows<'a> {
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn tile_rows(&self) -> usize {
        self.activations.tile_rows
    }

    /// Words in a tile.
    pub(crate) fn tile_size(&self) -> usize {
        self.activations.tile_size()
    }

    /// Scales and offsets in a tile.
    pub(crate) fn tile_scales(&self) -> usize {
        self.activations.tile_scales()
    }

    /// The rows from `row` on, which is the first of a tile.
    pub(crate) fn after(self, row: usize) -> Self {
        let first_tile = self.first_tile + row / self.activations.tile_rows;
        PackedRows { first_tile, rows: self.rows.saturating_sub(row), ..self }
    }

    /// The first `count` tiles, one after the other.
    pub(crate) fn tiles(&self, count: usize) -> &'a [u32] {
        let size = self.tile_size();
        &self.activations.words[self.first_tile * size..][..count * size]
    }

    /// The scales and offsets of the first `count` tiles.
    pub(crate) fn scales(&self, count: usize) -> &'a [f32] {
        let size = self.tile_scales();
        &self.activations.scales[self.first_tile * size..][..count * size]
    }
}

impl PackedActivations {
    /// Makes room for activations `(rows, width)` as `factors` in tiles of the size `tile`; `flip` applies to integers.
    ///
    /// The rows that fill up the last tile hold any values: no result depends on them.
    pub(crate) fn resize(&mut self, tile: Tile, (factors, flip): (Factors, u32), rows: usize, width: usize) {
        (self.factors, self.flip) = (factors, flip);
        (self.rows, self.width, self.tile_rows) = (rows, width, tile.rows);
        self.words.reserve(self.tiles() * self.tile_size());
        self.scales.reserve(self.tiles() * self.tile_scales());
    }

    pub(crate) fn factors(&self) -> Factors {
        self.factors
    }

    /// Chunks of about `rows` rows, in whole tiles.
    pub(crate) fn chunks(&self, rows: usize) -> impl Iterator<Item = PackedRows<'_>> {
        let tiles = (rows / self.tile_rows).max(1);
        (0..self.tiles()).step_by(tiles).map(move |first_tile| {
            let first = first_tile * self.tile_rows;
            PackedRows { activations: self, first_tile, rows: (tiles * self.tile_rows).min(self.rows - first) }
        })
    }

    /// All rows.
    pub(crate) fn all(&self) -> PackedRows<'_> {
        PackedRows { activations: self, first_tile: 0, rows: self.rows }
    }

    /// The words of all tiles, one tile after the other.
    pub(crate) fn tiles_mut(&mut self) -> &mut [u32] {
        let size = self.tiles() * self.tile_size();
        &mut self.words[..size]
    }

    /// Calls `fill` for each tile, with the rows of `x` `(rows, width)` that belong to it and the tile, on all threads.
    pub(crate) fn fill_from(&mut self, x: &mut [f32], fill: impl Fn(&mut [f32], TileMut<'_>) + Sync) {
        let (tile_size, tile_scales, rows) = (self.tile_size(), self.tile_scales(), self.tile_rows * self.width);
        let (tiles, factors, flip) = (self.tiles(), self.factors, self.flip);
        let x = x.par_chunks_mut(rows).with_min_len(4);
        let words = self.words[..tiles * tile_size].par_chunks_exact_mut(tile_size);
        if tile_scales == 0 {
            words.zip(x).for_each(|(words, x)| fill(x, TileMut { words, scales: &mut [], factors, flip }));
        } else {
            let scales = self.scales[..tiles * tile_scales].par_chunks_exact_mut(tile_scales);
            let tiles = words.zip(scales).zip(x);
            tiles.for_each(|((words, scales), x)| fill(x, TileMut { words, scales, factors, flip }));
        }
    }

    /// The values of row `row` by lines, the last filled up with zeros.
    pub(crate) fn lines(&self, row: usize) -> impl Iterator<Item = [f32; LINE]> {
        let (tile, within) = (row / self.tile_rows, row % self.tile_rows);
        let words = self.words[tile * self.tile_size()..][..self.tile_size()].as_chunks::<LINE>().0;
        let (in_word, block) = (self.factors.in_word(), inner_block(self.factors, self.width) / LINE);
        let lines = words.iter().skip(within).step_by(self.tile_rows).enumerate();
        lines.flat_map(move |(line, words)| {
            (0..in_word).map(move |part| match self.factors {
                Factors::F32 => bytemuck::cast(*words),
                Factors::Bf16 => words.map(|word| bf16_parts(word)[part]),
                Factors::Int8 => {
                    let block = &self.scales[tile * self.tile_scales() + line / block * 2 * self.tile_rows..];
                    let (scale, offset) = (block[within], block[self.tile_rows + within]);
                    words.map(|word| scale * (f32::from(int8_code(word ^ self.flip, part)) + offset))
                }
            })
        })
    }

    fn tiles(&self) -> usize {
        self.rows.div_ceil(self.tile_rows)
    }

    /// Words in a tile.
    pub(crate) fn tile_size(&self) -> usize {
        self.factors.words(self.width) * self.tile_rows
    }

    /// Scales and offsets in a tile.
    fn tile_scales(&self) -> usize {
        match self.factors {
            Factors::Int8 => blocks(self.factors, self.width) * 2 * self.tile_rows,
            Factors::F32 | Factors::Bf16 => 0,
        }
    }
}

/// The number of parts of the inner dimension.
fn blocks(factors: Factors, width: usize) -> usize {
    factors.words(width).div_ceil(inner_block(factors, width).max(1))
}
