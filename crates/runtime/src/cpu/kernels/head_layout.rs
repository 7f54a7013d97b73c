//! The keys and values of one attention head, packed as the right operands of the two products of attention.

use mert_simd::{Isa, LINE, TileShape};

/// The layout of the packed keys and values of one head. Both are right operands of products: first the transposed keys
/// in panels of keys, `[panel][channel][key of the panel]`, then the values in panels of channels,
/// `[panel][key][channel of the panel]`. Zeros fill up panels and lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeadLayout {
    pub(super) frames: usize,
    pub(super) head_dim: usize,
    /// Columns of a panel.
    pub(super) panel: usize,
}

impl HeadLayout {
    pub(crate) fn new(isa: Isa, frames: usize, head_dim: usize) -> Self {
        HeadLayout { frames, head_dim, panel: isa.tile(TileShape::Square).columns }
    }

    /// The number of keys, with those that fill up the last panel.
    pub(super) fn keys(&self) -> usize {
        self.frames.next_multiple_of(self.panel)
    }

    /// The inner dimension of queries · keys: the channels in whole lines.
    pub(super) fn inner(&self) -> usize {
        self.head_dim.next_multiple_of(LINE)
    }

    /// The number of values that the packed keys and values take.
    pub(crate) fn size(&self) -> usize {
        self.keys() * (self.inner() + self.head_dim.next_multiple_of(self.panel))
    }

    /// Packs the keys and values that start at columns `[keys, values]` of the rows of `qkv`.
    pub(crate) fn pack(&self, qkv: &[f32], row_stride: usize, [keys, values]: [usize; 2], packed: &mut [f32]) {
        let (packed_keys, packed_values) = packed.split_at_mut(self.keys() * self.inner());
        let panels = packed_keys.chunks_mut(self.panel * self.inner());
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
        let panels = packed_values.chunks_mut(self.keys() * self.panel);
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
