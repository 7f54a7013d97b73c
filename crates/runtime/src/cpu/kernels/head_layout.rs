//! The keys and values of one attention head, packed as the right operands of the two products of attention.

use mert_simd::{Factors, Kernel, LINE, TileShape, pack_bf16, pack_bf16_row, pair_words};
use pulp::Simd;

use super::super::arithmetic::Arithmetic;

/// The layout of the packed keys and values of one head. Both are right operands of products: first the transposed keys
/// in panels of keys, `[panel][channel word][key of the panel]`, then the values in panels of channels,
/// `[panel][key word][channel of the panel]`. Zeros fill up panels and lines. Words of bf16 are in pairs if products take them so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadLayout {
    pub(super) frames: usize,
    pub(super) head_dim: usize,
    /// Columns of a panel.
    pub(super) panel: usize,
    /// The numbers that attention multiplies, f32 or bf16.
    pub(super) factors: Factors,
}

impl HeadLayout {
    pub(crate) fn new(arithmetic: Arithmetic, frames: usize, head_dim: usize) -> Self {
        let panel = arithmetic.isa.tile(TileShape::Square).columns;
        HeadLayout { frames, head_dim, panel, factors: arithmetic.attention_factors() }
    }

    /// The number of keys, with those that fill up the last panel or line.
    pub(super) fn keys(&self) -> usize {
        // A panel is a line or two, and so is a line of words in values.
        self.frames.next_multiple_of(self.panel.max(self.factors.in_line()))
    }

    /// The words of the inner dimension of queries · keys: the channels in whole lines.
    pub(super) fn inner(&self) -> usize {
        self.factors.words(self.head_dim)
    }

    /// The words of keys, the inner dimension of the product with the values.
    pub(super) fn key_words(&self) -> usize {
        self.keys() / self.factors.in_word()
    }

    /// The number of words that the packed keys and values take.
    pub(crate) fn size(&self) -> usize {
        self.keys() * self.inner() + self.key_words() * self.head_dim.next_multiple_of(self.panel)
    }

    /// Packs the keys and values that start at columns `[keys, values]` of the rows of `qkv`.
    pub(crate) fn pack(
        &self,
        arithmetic: Arithmetic,
        qkv: &[f32],
        row_stride: usize,
        columns: [usize; 2],
        packed: &mut [u32],
    ) {
        let (packed_keys, packed_values) = packed.split_at_mut(self.keys() * self.inner());
        match self.factors {
            Factors::F32 => {
                self.pack_keys(qkv, row_stride, columns[0], bytemuck::cast_slice_mut(packed_keys));
                self.pack_values(qkv, row_stride, columns[1], bytemuck::cast_slice_mut(packed_values));
            }
            _ => {
                let kernel = PackBf16 { layout: *self, qkv, row_stride, columns, packed_keys, packed_values };
                arithmetic.isa.run(TileShape::Square, kernel);
                if arithmetic.bf16.pairs_words() {
                    pair_words(packed);
                }
            }
        }
    }

    fn pack_keys(&self, qkv: &[f32], row_stride: usize, keys: usize, packed: &mut [f32]) {
        let panels = packed.chunks_mut(self.panel * self.inner());
        for (rows, packed) in qkv.chunks(self.panel * row_stride).zip(panels) {
            let (channels, fill) = packed.split_at_mut(self.head_dim * self.panel);
            for (channel, packed) in channels.chunks_mut(self.panel).enumerate() {
                let (packed, fill) = packed.split_at_mut(rows.len() / row_stride);
                for (packed, row) in packed.iter_mut().zip(rows.chunks(row_stride)) {
                    *packed = row[keys + channel];
                }
                fill.fill(0.0);
            }
            fill.fill(0.0);
        }
    }

    fn pack_values(&self, qkv: &[f32], row_stride: usize, values: usize, packed: &mut [f32]) {
        let panels = packed.chunks_mut(self.keys() * self.panel);
        for (panel, packed) in panels.enumerate() {
            let width = self.panel.min(self.head_dim - panel * self.panel);
            let (rows, fill) = packed.split_at_mut(self.frames * self.panel);
            for (row, packed) in qkv.chunks(row_stride).zip(rows.chunks_mut(self.panel)) {
                let (packed, fill) = packed.split_at_mut(width);
                packed.copy_from_slice(&row[values + panel * self.panel..][..width]);
                fill.fill(0.0);
            }
            fill.fill(0.0);
        }
    }
}

/// Packs keys and values in bf16.
struct PackBf16<'a> {
    layout: HeadLayout,
    qkv: &'a [f32],
    row_stride: usize,
    columns: [usize; 2],
    packed_keys: &'a mut [u32],
    packed_values: &'a mut [u32],
}

/// More lines of words than the channels of a head take.
const MAX_LINES: usize = 16;

impl Kernel for PackBf16<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let PackBf16 { layout, qkv, row_stride, columns: [keys, values], packed_keys, packed_values } = self;
        let HeadLayout { head_dim, panel, .. } = layout;
        packed_keys.fill(0);
        let panels = packed_keys.chunks_mut(panel * layout.inner());
        for (rows, packed) in qkv.chunks(panel * row_stride).zip(panels) {
            for (key, row) in rows.chunks(row_stride).enumerate() {
                // The channels of a key, some lines at a time.
                let row = &row[keys..][..head_dim];
                for (row, packed) in row.chunks(MAX_LINES * 2 * LINE).zip(packed.chunks_mut(MAX_LINES * LINE * panel)) {
                    let mut words = [[0; LINE]; MAX_LINES];
                    let lines = row.len().div_ceil(2 * LINE);
                    pack_bf16_row(simd, row, words.iter_mut().take(lines));
                    let column = packed[key..].iter_mut().step_by(panel);
                    column.zip(words.as_flattened()).for_each(|(packed, &word)| *packed = word);
                }
            }
        }
        let zeros = [0.0; LINE];
        for (i, packed) in packed_values.chunks_mut(layout.key_words() * panel).enumerate() {
            for (word, packed) in packed.chunks_mut(panel).enumerate() {
                let key = word / LINE * 2 * LINE + word % LINE;
                for (line, packed) in packed.as_chunks_mut::<LINE>().0.iter_mut().enumerate() {
                    let channel = i * panel + line * LINE;
                    let width = LINE.min(head_dim.saturating_sub(channel));
                    let [mut first, mut second] = [zeros; 2];
                    for (frame, out) in [(key, &mut first), (key + LINE, &mut second)] {
                        if frame < layout.frames && width > 0 {
                            let source = &qkv[frame * row_stride + values + channel..];
                            match source.first_chunk::<LINE>() {
                                Some(source) if width == LINE => *out = *source,
                                _ => out[..width].copy_from_slice(&source[..width]),
                            }
                        }
                    }
                    pack_bf16(simd, &first, &second, packed);
                }
            }
        }
    }
}
