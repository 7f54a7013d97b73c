//! Small operations on vectors that several kernels share: loads from unaligned bytes, codes and halves to f32, sums.

use std::sync::OnceLock;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use mert_arch::Dtype;
use mert_simd::Isa;
use pulp::Simd;

/// Bytes of the widest register.
pub(crate) const MAX_BYTES: usize = 64;

/// Lanes of the widest register.
pub(crate) const MAX_LANES: usize = MAX_BYTES / 4;

/// The widest instruction set that this processor has, looked up once.
pub fn isa() -> Isa {
    static ISA: OnceLock<Isa> = OnceLock::new();
    *ISA.get_or_init(Isa::detect)
}

/// The bytes of a register of words.
#[inline(always)]
pub(crate) fn register_bytes<S: Simd>() -> usize {
    S::F32_LANES * 4
}

/// A register of words from bytes with any alignment, the lanes beyond their end zero.
#[inline(always)]
pub(crate) fn load_words<S: Simd>(bytes: &[u8]) -> S::u32s {
    match bytes.get(..register_bytes::<S>()) {
        Some(bytes) => bytemuck::pod_read_unaligned(bytes),
        None => load_rest::<S>(bytes),
    }
}

/// A register of fewer words than it has lanes, the others zero.
#[inline(always)]
fn load_rest<S: Simd>(bytes: &[u8]) -> S::u32s {
    let mut padded = [0u8; MAX_BYTES];
    padded[..bytes.len()].copy_from_slice(bytes);
    bytemuck::pod_read_unaligned(&padded[..register_bytes::<S>()])
}

/// A register of the first floats, the lanes beyond their end zero.
#[inline(always)]
pub(crate) fn load_floats<S: Simd>(values: &[f32]) -> S::f32s {
    match values.get(..S::F32_LANES) {
        Some(values) => bytemuck::pod_read_unaligned(bytemuck::cast_slice(values)),
        None => {
            let mut padded = [0.0; MAX_LANES];
            padded[..values.len()].copy_from_slice(values);
            bytemuck::pod_read_unaligned(bytemuck::cast_slice(&padded[..S::F32_LANES]))
        }
    }
}

/// Whole numbers below 2²³ as floats: in the low bits of 2²³ they add to it.
#[inline(always)]
pub(crate) fn whole<S: Simd>(simd: S, number: S::u32s) -> S::f32s {
    let shifted = simd.transmute_f32s_u32s(simd.or_u32s(number, simd.splat_u32s(8_388_608f32.to_bits())));
    simd.sub_f32s(shifted, simd.splat_f32s(8_388_608.0))
}

/// The value of the binary16 floats in the low halves of words whose high halves are zero. Subnormal ones go through
/// whole numbers: as subnormal f32 they would be slow on some processors.
#[inline(always)]
pub(crate) fn f16_value<S: Simd>(simd: S, word: S::u32s) -> S::f32s {
    #[cfg(target_arch = "x86_64")]
    if let Some(v4) = (&simd as &dyn std::any::Any).downcast_ref::<pulp::x86::V4>() {
        // The same types under two names.
        let word: pulp::u32x16 = bytemuck::cast(word);
        let halves = v4.avx512f._mm512_cvtepi32_epi16(pulp::cast(word));
        let values: pulp::f32x16 = pulp::cast(v4.avx512f._mm512_cvtph_ps(halves));
        return bytemuck::cast(values);
    }
    let magnitude = simd.and_u32s(word, simd.splat_u32s(0x7fff));
    let bits = simd.add_u32s(simd.wrapping_dyn_shl_u32s(magnitude, simd.splat_u32s(13)), simd.splat_u32s(112 << 23));
    // Infinity and NaN have all bits of the exponent set.
    let finite = simd.less_than_u32s(magnitude, simd.splat_u32s(0x7c00));
    let bits = simd.select_u32s(finite, bits, simd.add_u32s(bits, simd.splat_u32s(112 << 23)));
    let subnormal = simd.mul_f32s(whole(simd, magnitude), simd.splat_f32s(1.0 / 16_777_216.0));
    let is_subnormal = simd.less_than_u32s(magnitude, simd.splat_u32s(0x400));
    let bits = simd.select_u32s(is_subnormal, simd.transmute_u32s_f32s(subnormal), bits);
    let sign = simd.wrapping_dyn_shl_u32s(simd.and_u32s(word, simd.splat_u32s(0x8000)), simd.splat_u32s(16));
    simd.transmute_f32s_u32s(simd.or_u32s(bits, sign))
}

/// The low half of each word from the first halves.
#[inline(always)]
fn widen_words<S: Simd>(halves: &[u16; MAX_LANES]) -> S::u32s {
    let words: [u32; MAX_LANES] = std::array::from_fn(|i| u32::from(halves[i]));
    load_words::<S>(bytemuck::cast_slice(&words))
}

/// The values of the first binary16 floats, one in each lane.
#[inline(always)]
pub(crate) fn f16_lanes<S: Simd>(simd: S, halves: &[u16; MAX_LANES]) -> S::f32s {
    #[cfg(target_arch = "x86_64")]
    if let Some(v4) = (&simd as &dyn std::any::Any).downcast_ref::<pulp::x86::V4>() {
        // The same type under two names.
        let values: pulp::f32x16 = pulp::cast(v4.avx512f._mm512_cvtph_ps(pulp::cast(*halves)));
        return bytemuck::cast(values);
    }
    f16_value(simd, widen_words::<S>(halves))
}

/// Stored floats with any alignment to f32, inside a kernel: a call for each of many short slices would take longer than
/// the conversion. Reads as many as `out` has.
#[inline(always)]
pub(crate) fn widen_with<S: Simd>(simd: S, dtype: Dtype, stored: &[u8], out: &mut [f32]) {
    match dtype {
        Dtype::F32 => bytemuck::cast_slice_mut(out).copy_from_slice(stored),
        Dtype::F16 | Dtype::Bf16 => {
            for (out, stored) in out.chunks_mut(S::F32_LANES).zip(stored.chunks(2 * S::F32_LANES)) {
                let mut halves = [0u16; MAX_LANES];
                bytemuck::cast_slice_mut(&mut halves)[..stored.len()].copy_from_slice(stored);
                let values = match dtype {
                    Dtype::F16 => f16_lanes(simd, &halves),
                    _ => {
                        let words = widen_words::<S>(&halves);
                        simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(words, simd.splat_u32s(16)))
                    }
                };
                match out.len() == S::F32_LANES {
                    true => out.copy_from_slice(bytemuck::cast_slice(&[values])),
                    false => simd.partial_store_f32s(out, values),
                }
            }
        }
    }
}

/// Stored floats with any alignment to f32. Reads as many as `out` has.
pub(crate) fn widen(dtype: Dtype, stored: &[u8], out: &mut [f32]) {
    match dtype {
        Dtype::F32 => bytemuck::cast_slice_mut(out).copy_from_slice(stored),
        Dtype::F16 => match bytemuck::try_cast_slice::<u8, f16>(stored) {
            Ok(halves) => halves.convert_to_f32_slice(out),
            Err(_) => each_half(stored, out, |bits| f16::from_bits(bits).to_f32()),
        },
        Dtype::Bf16 => match bytemuck::try_cast_slice::<u8, bf16>(stored) {
            Ok(halves) => halves.convert_to_f32_slice(out),
            Err(_) => each_half(stored, out, |bits| bf16::from_bits(bits).to_f32()),
        },
    }
}

fn each_half(stored: &[u8], out: &mut [f32], value: impl Fn(u16) -> f32) {
    for (out, &bytes) in out.iter_mut().zip(stored.as_chunks::<2>().0) {
        *out = value(u16::from_le_bytes(bytes));
    }
}

/// Prefetches into the second-level cache what lies `distance` bytes after these bytes; behind the end of the memory it
/// has no effect. Hardware prefetchers stop at the ends of pages, which are a few kilobytes in a mapped file.
#[inline(always)]
pub(crate) fn prefetch_ahead(bytes: &[u8], distance: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in bytes.chunks(64) {
        // SAFETY: a hint, without an effect on memory, whatever the address.
        #[allow(unsafe_code)]
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().wrapping_add(distance).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (bytes, distance);
}

#[cfg(test)]
mod tests {
    use mert_simd::Kernel;

    use super::*;

    struct Halves<'a>(&'a [u32]);

    impl Kernel for Halves<'_> {
        type Output = Vec<f32>;

        #[inline(always)]
        fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) -> Vec<f32> {
            let words = bytemuck::cast_slice(self.0).chunks(register_bytes::<S>());
            let values = words.map(|words| f16_value(simd, load_words::<S>(words)));
            values.flat_map(|v| bytemuck::cast_slice::<_, f32>(&[v]).to_vec()).collect()
        }
    }

    #[test]
    fn every_f16_has_its_value() {
        let words: Vec<u32> = (0..1 << 16).collect();
        for isa in Isa::available() {
            for (&word, value) in words.iter().zip(isa.run_dots(Halves(&words))) {
                let expected = f16::from_bits(word as u16).to_f32();
                let same = value.to_bits() == expected.to_bits() || value.is_nan() && expected.is_nan();
                assert!(same, "{isa:?}: {word:#x} is {value}, expected {expected}");
            }
        }
    }

    #[test]
    fn floats_are_read_at_any_address() {
        for dtype in Dtype::ALL {
            let numbers = [1.5f32, -0.25, 3.0, 1024.0, -7.5];
            let stored: Vec<u8> = match dtype {
                Dtype::F32 => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
                Dtype::F16 => numbers.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
                Dtype::Bf16 => numbers.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect(),
            };
            for offset in 0..4 {
                let bytes = [vec![0xff; offset], stored.clone()].concat();
                let mut out = [0.0; 5];
                widen(dtype, &bytes[offset..], &mut out);
                assert_eq!(out, numbers);
            }
        }
    }
}
