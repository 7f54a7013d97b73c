//! Quantized weights in panels: codes, scales and biases in the order in which a panel is decoded.

use mert_simd::{Buffer, LINE};
use rayon::prelude::*;

use crate::quantized::{QuantizedEncoding, QuantizedWeight};

/// Words in a cache line.
const LINE_WORDS: usize = LINE;

/// The codes of a weight as `[panel][group][word of the group][column of the panel]`, in the words of the file. Before the
/// codes of a group come the scales of the panel's columns and, if the mode has them, their biases, each filled up with zeros
/// to a cache line. Columns that fill up the last panel have zeros throughout, and so the value 0.
///
/// A vector of words holds the next codes of as many columns, so that a code of each is a shift and a mask away, whatever
/// the number of bits, and lies in the lane that multiplies it.
#[derive(Debug)]
pub(crate) struct QuantizedPanels {
    words: Buffer<u32>,
    layout: PanelLayout,
    groups: usize,
}

/// The extents of the groups of a panel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PanelLayout {
    pub(crate) encoding: QuantizedEncoding,
    /// Columns of the panel.
    columns: usize,
}

/// Some groups of a panel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QuantizedPanel<'a> {
    pub(crate) layout: PanelLayout,
    words: &'a [u32],
}

/// One group of each column of a panel.
pub(crate) struct PanelGroup<'a> {
    /// The scales of the columns, in the type of the file, as bytes.
    pub(crate) scales: &'a [u8],
    /// The biases of the columns; empty in modes without.
    pub(crate) biases: &'a [u8],
    /// The codes as `[word of the group][column]`.
    pub(crate) codes: &'a [u32],
}

impl PanelLayout {
    /// Words that hold a scale, or a bias, of each column.
    fn scale_words(&self) -> usize {
        (self.columns * self.encoding.scale.size()).div_ceil(size_of::<u32>()).next_multiple_of(LINE_WORDS)
    }

    /// Words before the codes of a group.
    fn header_words(&self) -> usize {
        self.scale_words() * if self.encoding.quantization.has_biases() { 2 } else { 1 }
    }

    fn group_words(&self) -> usize {
        self.header_words() + self.encoding.words_of_group() * self.columns
    }
}

impl QuantizedPanels {
    /// Packs a weight for panels of `columns` columns.
    pub(crate) fn pack(weight: &QuantizedWeight<'_>, columns: usize) -> Self {
        let layout = PanelLayout { encoding: weight.encoding, columns };
        let groups = weight.encoding.quantization.groups(weight.inputs);
        let panel_words = groups * layout.group_words();
        let mut words = Buffer::zeroed(panel_words * weight.outputs.div_ceil(columns));
        words.par_chunks_mut(panel_words.max(1)).enumerate().for_each(|(panel, words)| {
            for (group, words) in words.chunks_exact_mut(layout.group_words()).enumerate() {
                layout.pack_group(weight, panel * columns, group, words);
            }
        });
        QuantizedPanels { words, layout, groups }
    }

    /// Inner steps `first..first + steps` of `panel`, which are whole groups.
    pub(crate) fn panel(&self, panel: usize, first: usize, steps: usize) -> QuantizedPanel<'_> {
        QuantizedPanel { layout: self.layout, words: &self.words[self.range(panel, first, steps)] }
    }

    /// The bytes of [`QuantizedPanels::panel`]; empty after the last panel.
    pub(crate) fn panel_bytes(&self, panel: usize, first: usize, steps: usize) -> &[u8] {
        bytemuck::cast_slice(self.words.get(self.range(panel, first, steps)).unwrap_or_default())
    }

    /// The number of inner steps of which a part of a panel is a multiple.
    pub(crate) fn group_size(&self) -> usize {
        self.layout.encoding.quantization.group_size
    }

    fn range(&self, panel: usize, first: usize, steps: usize) -> std::ops::Range<usize> {
        let start = panel * self.groups + first / self.group_size();
        start * self.layout.group_words()..(start + steps / self.group_size()) * self.layout.group_words()
    }
}

impl PanelLayout {
    /// Packs group `group` of the rows from `first` on.
    fn pack_group(&self, weight: &QuantizedWeight<'_>, first: usize, group: usize, packed: &mut [u32]) {
        let quantization = self.encoding.quantization;
        let (groups, row_words) = (quantization.groups(weight.inputs), quantization.packed_columns(weight.inputs));
        let (group_words, scale_size) = (self.encoding.words_of_group(), self.encoding.scale.size());
        let rows = first..weight.outputs.min(first + self.columns);
        let (header, codes) = packed.split_at_mut(self.header_words());
        let parts = header.chunks_exact_mut(self.scale_words());
        for (part, stored) in parts.zip([weight.scales, weight.biases]) {
            let packed = bytemuck::cast_slice_mut::<u32, u8>(part).chunks_exact_mut(scale_size);
            for (packed, row) in packed.zip(rows.clone()) {
                packed.copy_from_slice(&stored[(row * groups + group) * scale_size..][..scale_size]);
            }
        }
        for (column, row) in rows.enumerate() {
            let words = &weight.words[(row * row_words + group * group_words) * size_of::<u32>()..];
            let packed = codes[column..].iter_mut().step_by(self.columns);
            for (packed, word) in packed.zip(words.as_chunks().0) {
                *packed = u32::from_le_bytes(*word);
            }
        }
    }
}

impl<'a> QuantizedPanel<'a> {
    pub(crate) fn groups(self) -> impl Iterator<Item = PanelGroup<'a>> {
        let (layout, scale_words) = (self.layout, self.layout.scale_words());
        let scale_bytes = layout.columns * layout.encoding.scale.size();
        self.words.chunks_exact(layout.group_words()).map(move |words| {
            let (header, codes) = words.split_at(layout.header_words());
            let scales = &bytemuck::cast_slice(header)[..scale_bytes];
            let biases = bytemuck::cast_slice(&header[scale_words..]);
            PanelGroup { scales, biases: biases.get(..scale_bytes).unwrap_or_default(), codes }
        })
    }

    /// The number of values.
    pub(crate) fn len(&self) -> usize {
        let group = self.layout.encoding.quantization.group_size * self.layout.columns;
        self.words.len() / self.layout.group_words() * group
    }
}
