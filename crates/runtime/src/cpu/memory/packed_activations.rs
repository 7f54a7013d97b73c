//! The left operand of a product: activations in the order in which the microkernel reads them.

use mert_simd::{Buffer, LINE, Tile, pack_rows};
use rayon::prelude::*;

/// Activations `(rows, width)` in the order in which a product reads its left operand:
/// `[tile of rows][line of columns][row][column]`, the columns filled up with zeros to whole lines.
///
/// Each step writes the operand of the next product in this order, so that no product has to copy it first.
#[derive(Debug, Default)]
pub(crate) struct PackedActivations {
    values: Buffer,
    rows: usize,
    width: usize,
    tile_rows: usize,
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

    /// Floats in a tile.
    pub(crate) fn tile_size(&self) -> usize {
        self.activations.tile_size()
    }

    /// The rows from `row` on, which is the first of a tile.
    pub(crate) fn after(self, row: usize) -> Self {
        let first_tile = self.first_tile + row / self.activations.tile_rows;
        PackedRows { first_tile, rows: self.rows.saturating_sub(row), ..self }
    }

    /// The first `count` tiles, one after the other.
    pub(crate) fn tiles(&self, count: usize) -> &'a [f32] {
        let size = self.tile_size();
        &self.activations.values[self.first_tile * size..][..count * size]
    }
}

impl PackedActivations {
    /// Makes room for activations `(rows, width)` in tiles of the size `tile`.
    ///
    /// The rows that fill up the last tile hold any values: no result depends on them.
    pub(crate) fn resize(&mut self, tile: Tile, rows: usize, width: usize) {
        (self.rows, self.width, self.tile_rows) = (rows, width, tile.rows);
        let size = self.tiles() * self.tile_size();
        self.values.take(size);
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

    /// All tiles, one after the other.
    pub(crate) fn tiles_mut(&mut self) -> &mut [f32] {
        let size = self.tiles() * self.tile_size();
        &mut self.values[..size]
    }

    /// Calls `fill` for each tile, with the rows of `x` `(rows, width)` that belong to it and the tile, on all threads.
    pub(crate) fn fill_from(&mut self, x: &mut [f32], fill: impl Fn(&mut [f32], &mut [f32]) + Sync) {
        let (tile_size, rows) = (self.tile_size(), self.tile_rows * self.width);
        let tiles = self.tiles_mut().par_chunks_exact_mut(tile_size);
        tiles.zip(x.par_chunks_mut(rows)).with_min_len(4).for_each(|(tile, x)| fill(x, tile));
    }

    /// Copies `x` `(rows, width)`, on all threads.
    pub(crate) fn copy_from(&mut self, x: &mut [f32]) {
        let width = self.width;
        self.fill_from(x, |x, tile| pack_rows(tile, x, width));
    }

    /// The lines of row `row`.
    pub(crate) fn lines(&self, row: usize) -> impl Iterator<Item = &[f32; LINE]> {
        let tile = &self.values[row / self.tile_rows * self.tile_size()..][..self.tile_size()];
        tile.as_chunks().0.iter().skip(row % self.tile_rows).step_by(self.tile_rows)
    }

    fn tiles(&self) -> usize {
        self.rows.div_ceil(self.tile_rows)
    }

    /// Floats in a tile.
    pub(crate) fn tile_size(&self) -> usize {
        self.width.next_multiple_of(LINE) * self.tile_rows
    }
}
