//! The results of products: where they are stored, in which order, and what is applied to each value on the way.

// Only constant indices keep the sums of a tile in registers.
#![allow(clippy::needless_range_loop)]

use mert_arch::Activation;
use mert_simd::{Factors, LINE, pack_bf16_part};
use pulp::Simd;

use super::math::{self, Accuracy};

/// The memory that a result is stored in.
#[derive(Debug)]
pub(crate) enum Output<'a> {
    /// All columns of the rows, or some of them.
    Rows(&'a mut [&'a mut [f32]]),
    /// Rows of `columns` values that start every `stride` values, as many as there is room for.
    Strided { values: &'a mut [f32], stride: usize, columns: usize },
    /// The words that the columns take in each tile of packed activations of f32 or bf16; in bf16 the first column is the
    /// first of a line of words.
    Tiles { lines: &'a mut [&'a mut [u32]], columns: usize, factors: Factors },
}

/// The operations on each element of the product as it is stored.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Epilogue {
    /// Whether the product is added to the values that are there, or replaces them.
    pub(crate) accumulate: bool,
    /// The activation, applied last.
    pub(crate) activation: Option<Activation>,
}

/// The columns that one panel of the weight gives, and the operations on them as they are stored.
pub(super) struct PanelStore<'a> {
    /// The first column and the one after the last.
    pub(super) columns: (usize, usize),
    pub(super) bias: Option<&'a [f32]>,
    pub(super) accumulate: bool,
    pub(super) activation: Option<Activation>,
    pub(super) accuracy: Accuracy,
}

/// The order of the values of a result in memory.
pub(super) trait Destination {
    /// Stores tile `tile`. The sums are indexed with constants only, which keeps them in registers.
    fn store<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &mut self,
        simd: S,
        panel: &PanelStore<'_>,
        sums: &[[S::f32s; VECTORS]; ROWS],
        tile: usize,
    );
}

/// Rows in any memory.
pub(super) trait RowsMut {
    /// The columns `start..end` of row `index`, if there is such a row.
    fn row(&mut self, index: usize, start: usize, end: usize) -> Option<&mut [f32]>;
}

/// The rows of [`Output::Rows`].
pub(super) struct Listed<'a, 'b>(pub(super) &'a mut [&'b mut [f32]]);

impl RowsMut for Listed<'_, '_> {
    #[inline(always)]
    fn row(&mut self, index: usize, start: usize, end: usize) -> Option<&mut [f32]> {
        self.0.get_mut(index).map(|row| &mut row[start..end])
    }
}

/// The rows of [`Output::Strided`].
pub(super) struct Strided<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) stride: usize,
}

impl RowsMut for Strided<'_> {
    #[inline(always)]
    fn row(&mut self, index: usize, start: usize, end: usize) -> Option<&mut [f32]> {
        let row = index * self.stride;
        self.values.get_mut(row + start..row + end)
    }
}

/// Row-major order.
pub(super) struct RowMajor<R>(pub(super) R);

impl<R: RowsMut> Destination for RowMajor<R> {
    #[inline(always)]
    fn store<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &mut self,
        simd: S,
        panel: &PanelStore<'_>,
        sums: &[[S::f32s; VECTORS]; ROWS],
        tile: usize,
    ) {
        let (start, end) = panel.columns;
        let whole = end - start == VECTORS * S::F32_LANES;
        for row in 0..ROWS {
            let Some(out) = self.0.row(tile * ROWS + row, start, end) else { break };
            if whole {
                panel.store_row(simd, &sums[row], out);
            } else {
                let mut padded = [0.0; MAX_COLUMNS];
                padded[..out.len()].copy_from_slice(out);
                panel.store_row(simd, &sums[row], &mut padded[..VECTORS * S::F32_LANES]);
                out.copy_from_slice(&padded[..out.len()]);
            }
        }
        if let Some(activation) = panel.activation {
            for row in 0..ROWS {
                let Some(out) = self.0.row(tile * ROWS + row, start, end) else { break };
                math::activate(simd, activation, panel.accuracy, out);
            }
        }
    }
}

/// The order of packed activations in f32, `[line of columns][row][column]` in each tile.
pub(super) struct Tiled<'a, 'b>(pub(super) &'a mut [&'b mut [u32]]);

impl Destination for Tiled<'_, '_> {
    #[inline(always)]
    fn store<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &mut self,
        simd: S,
        panel: &PanelStore<'_>,
        sums: &[[S::f32s; VECTORS]; ROWS],
        tile: usize,
    ) {
        let out: &mut [f32] = bytemuck::cast_slice_mut(&mut *self.0[tile]);
        let (start, end) = panel.columns;
        let lines = start / LINE * ROWS * LINE..end.div_ceil(LINE) * ROWS * LINE;
        let (vectors, _) = S::as_mut_simd_f32s(&mut out[lines.clone()]);
        let vectors_in_line = LINE / S::F32_LANES;
        for row in 0..ROWS {
            for vector in 0..VECTORS {
                let at = (vector / vectors_in_line * ROWS + row) * vectors_in_line + vector % vectors_in_line;
                // The columns that only fill up the panel have no room in the tile.
                if let Some(out) = vectors.get_mut(at) {
                    *out = panel.value(simd, sums[row][vector], vector, *out);
                }
            }
        }
        if let Some(activation) = panel.activation {
            math::activate(simd, activation, panel.accuracy, &mut out[lines]);
        }
    }
}

/// The order of packed activations in bf16, `[line of words][row][word]` in each tile. It takes results that are complete: no
/// sum fits into 16 bits.
pub(super) struct TiledBf16<'a, 'b>(pub(super) &'a mut [&'b mut [u32]]);

impl Destination for TiledBf16<'_, '_> {
    #[inline(always)]
    fn store<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &mut self,
        simd: S,
        panel: &PanelStore<'_>,
        sums: &[[S::f32s; VECTORS]; ROWS],
        tile: usize,
    ) {
        let (start, end) = panel.columns;
        let (words, _) = S::as_mut_simd_u32s(&mut *self.0[tile]);
        let vectors_in_line = LINE / S::F32_LANES;
        for row in 0..ROWS {
            let mut values = [0.0; MAX_COLUMNS];
            let values = &mut values[..VECTORS * S::F32_LANES];
            panel.store_row(simd, &sums[row], values);
            if let Some(activation) = panel.activation {
                math::activate(simd, activation, panel.accuracy, values);
            }
            for (vector, &values) in S::as_simd_f32s(values).0.iter().enumerate() {
                let column = start + vector * S::F32_LANES;
                let line = column / LINE;
                let at = (line / 2 * ROWS + row) * vectors_in_line + vector % vectors_in_line;
                // The columns that only fill up the panel have no room in the tile.
                if let (Some(words), true) = (words.get_mut(at), column < end.next_multiple_of(LINE)) {
                    pack_bf16_part(simd, line, values, words);
                }
            }
        }
    }
}

impl PanelStore<'_> {
    #[inline(always)]
    fn store_row<S: Simd, const VECTORS: usize>(&self, simd: S, sums: &[S::f32s; VECTORS], out: &mut [f32]) {
        let (out, _) = S::as_mut_simd_f32s(out);
        for vector in 0..VECTORS {
            out[vector] = self.value(simd, sums[vector], vector, out[vector]);
        }
    }

    /// The value to store for vector `vector` of a row.
    #[inline(always)]
    fn value<S: Simd>(&self, simd: S, sum: S::f32s, vector: usize, before: S::f32s) -> S::f32s {
        let mut value = sum;
        if let Some(bias) = self.bias {
            value = simd.add_f32s(value, S::as_simd_f32s(bias).0[vector]);
        }
        if self.accumulate {
            value = simd.add_f32s(value, before);
        }
        value
    }
}

/// More columns than any tile has.
pub(super) const MAX_COLUMNS: usize = 64;
