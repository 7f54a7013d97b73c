//! The right operand of a product: a part of a panel of the weight in f32, widened or decoded if need be.

use half::slice::HalfFloatSliceExt;
use mert_simd::Buffer;
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
            widened
        }
    }
}
