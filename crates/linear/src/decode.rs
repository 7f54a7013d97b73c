//! Codes and rows of a weight decoded to f32.

use mert_arch::Encoding;
use pulp::Simd;

use crate::linear::Linear;
use crate::vector::{whole, widen};

/// Code number `slot` of `BITS` bits from the bit stream in `words`, one stream in each lane.
#[inline(always)]
pub(crate) fn code<S: Simd, const BITS: usize, const WORDS: usize>(
    simd: S,
    words: &[S::u32s; WORDS],
    slot: usize,
) -> S::f32s {
    let (word, shift) = (slot * BITS / 32, slot * BITS % 32);
    let mut code = simd.wrapping_dyn_shr_u32s(words[word], simd.splat_u32s(shift as u32));
    if shift + BITS > 32 {
        let high = simd.splat_u32s(32 - shift as u32);
        code = simd.or_u32s(code, simd.wrapping_dyn_shl_u32s(words[word + 1], high));
    }
    whole(simd, simd.and_u32s(code, simd.splat_u32s((1 << BITS) - 1)))
}

/// Row `row` of a weight, `(inputs,)`: scale·code + bias in f32 for codes.
pub(crate) fn row(linear: &Linear, row: usize, out: &mut [f32]) {
    let [stored] = linear.rows::<1>(row);
    match linear.encoding() {
        Encoding::Float(dtype) => widen(dtype, stored, out),
        Encoding::Quantized { quantization, .. } => {
            let (dtype, scales, biases) = linear.group_floats(row, 1);
            let mut floats = vec![0.0; 2 * quantization.groups(out.len())];
            let (scales_f32, biases_f32) = floats.split_at_mut(quantization.groups(out.len()));
            widen(dtype, scales, scales_f32);
            widen(dtype, biases, biases_f32);
            let mut stream = BitStream { bytes: stored.iter(), bits: 0, available: 0 };
            let groups = out.chunks_exact_mut(quantization.group_size);
            for ((out, &scale), &bias) in groups.zip(&*scales_f32).zip(&*biases_f32) {
                for value in out {
                    *value = scale * stream.take(quantization.bits) as f32 + bias;
                }
            }
        }
    }
}

/// Codes one after another from the lowest bit of the first byte on.
struct BitStream<'a> {
    bytes: std::slice::Iter<'a, u8>,
    bits: u32,
    available: usize,
}

impl BitStream<'_> {
    fn take(&mut self, bits: usize) -> u32 {
        while self.available < bits {
            self.bits |= u32::from(self.bytes.next().copied().unwrap_or(0)) << self.available;
            self.available += 8;
        }
        let code = self.bits & ((1 << bits) - 1);
        self.bits >>= bits;
        self.available -= bits;
        code
    }
}
