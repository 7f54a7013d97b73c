//! The right operand of a product: a part of a panel of the weight in f32, widened or decoded if need be.

use half::slice::HalfFloatSliceExt;
use mert_simd::{Bf16Product, Buffer, LINE, pack_bf16, pair_words};
use pulp::Simd;

use super::super::memory::PanelPart;
use super::dequantize::Dequantize;

/// The part as `[inner step][column]` in f32, which is in `widened` unless it is stored so.
#[inline(always)]
pub(super) fn to_f32<'a, S: Simd, const VECTORS: usize>(
    simd: S,
    part: PanelPart<'a>,
    widened: &'a mut Buffer,
) -> &'a [f32] {
    match part {
        PanelPart::F32(values) => values,
        PanelPart::F16(values) => {
            let widened = widened.take(values.len());
            values.convert_to_f32_slice(widened);
            widened
        }
        PanelPart::Bf16(values) => {
            let widened = widened.take(values.len());
            values.convert_to_f32_slice(widened);
            widened
        }
        PanelPart::Quantized(panel) => {
            let values = widened.take(panel.len());
            simd.vectorize(Dequantize::<VECTORS> { panel, values });
            values
        }
        PanelPart::Words(words) => bytemuck::cast_slice(words),
    }
}

/// The part as `[inner word][column]` in words of bf16 for `product`, `words` of each column, which are in `rounded` unless it is
/// stored so.
#[inline(always)]
pub(super) fn to_bf16<'a, S: Simd, const VECTORS: usize>(
    simd: S,
    product: Bf16Product,
    part: PanelPart<'a>,
    words: usize,
    widened: &mut Buffer,
    rounded: &'a mut Buffer<u32>,
) -> &'a [u32] {
    if let PanelPart::Words(words) = part {
        return words;
    }
    let values = to_f32::<S, VECTORS>(simd, part, widened);
    let columns = VECTORS * S::F32_LANES;
    let rounded = rounded.take(words * columns);
    for (line, words) in rounded.chunks_exact_mut(LINE * columns).enumerate() {
        let values = values.get(2 * line * LINE * columns..).unwrap_or_default();
        let (first, second) = values.split_at(values.len().min(LINE * columns));
        let (words, _) = words.as_chunks_mut::<LINE>();
        let zeros = [0.0; LINE];
        for (i, words) in words.iter_mut().enumerate() {
            let first = first.as_chunks::<LINE>().0.get(i).unwrap_or(&zeros);
            let second = second.as_chunks::<LINE>().0.get(i).unwrap_or(&zeros);
            pack_bf16(simd, first, second, words);
        }
    }
    if product.pairs_words() {
        pair_words(rounded);
    }
    rounded
}
