//! The values in a word of a weight, one slot at a time.

use pulp::Simd;

use crate::vector::{f16_value, whole};

/// An encoding with a whole number of values in each word.
pub(crate) trait Codes {
    /// Values in a word.
    const SLOTS: usize;

    /// The value in a slot of each lane, times the power of two by which the activations are divided.
    fn value<S: Simd>(simd: S, word: S::u32s, slot: usize) -> S::f32s;
}

/// One binary32 float.
pub(crate) struct F32;

impl Codes for F32 {
    const SLOTS: usize = 1;

    #[inline(always)]
    fn value<S: Simd>(simd: S, word: S::u32s, _: usize) -> S::f32s {
        simd.transmute_f32s_u32s(word)
    }
}

/// Two binary16 floats.
pub(crate) struct F16;

impl Codes for F16 {
    const SLOTS: usize = 2;

    #[inline(always)]
    fn value<S: Simd>(simd: S, word: S::u32s, slot: usize) -> S::f32s {
        let half = match slot {
            0 => simd.and_u32s(word, simd.splat_u32s(0xffff)),
            _ => simd.wrapping_dyn_shr_u32s(word, simd.splat_u32s(16)),
        };
        f16_value(simd, half)
    }
}

/// Two bfloat16 floats.
pub(crate) struct Bf16;

impl Codes for Bf16 {
    const SLOTS: usize = 2;

    #[inline(always)]
    fn value<S: Simd>(simd: S, word: S::u32s, slot: usize) -> S::f32s {
        simd.transmute_f32s_u32s(match slot {
            0 => simd.wrapping_dyn_shl_u32s(word, simd.splat_u32s(16)),
            _ => simd.and_u32s(word, simd.splat_u32s(0xffff_0000)),
        })
    }
}

/// Codes of 2, 4 or 8 bits. Those of half a word are masked where they lie, without a shift: the integer is the code times a
/// power of two, and exact in f32.
pub(crate) struct Packed<const BITS: usize>;

impl<const BITS: usize> Codes for Packed<BITS> {
    const SLOTS: usize = 32 / BITS;

    #[inline(always)]
    fn value<S: Simd>(simd: S, word: S::u32s, slot: usize) -> S::f32s {
        let in_half = 16 / BITS;
        let half = match slot < in_half {
            true => word,
            false => simd.wrapping_dyn_shr_u32s(word, simd.splat_u32s(16)),
        };
        let mask = ((1u32 << BITS) - 1) << (BITS * (slot % in_half));
        whole(simd, simd.and_u32s(half, simd.splat_u32s(mask)))
    }
}
