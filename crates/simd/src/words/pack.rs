//! Floats to words: rounding to bf16, and to 8-bit integers with a scale for each block of a row.

use pulp::{Scalar, Simd};

use super::Factors;
use crate::buffer::LINE;
use crate::isa::mul_add;

/// The largest magnitude of an 8-bit integer of a product. −128 is left out, so that it has as many negative integers as
/// positive ones.
const INT8_MAX: f32 = 127.0;

/// Adding this to a number of magnitude below 2²² leaves its nearest integer, ties to even, in the low bits.
const SHIFT: f32 = 12_582_912.0;

/// `x` rounded to the nearest bf16, in the high half of each lane; the low half holds any bits. NaN stays NaN.
#[inline(always)]
pub fn round_to_bf16<S: Simd>(simd: S, x: S::f32s) -> S::u32s {
    let bits = simd.transmute_u32s_f32s(x);
    let odd = simd.and_u32s(simd.wrapping_dyn_shr_u32s(bits, simd.splat_u32s(16)), simd.splat_u32s(1));
    let rounded = simd.add_u32s(bits, simd.add_u32s(odd, simd.splat_u32s(0x7fff)));
    let is_number = simd.equal_f32s(x, x);
    simd.select_u32s(is_number, rounded, simd.splat_u32s(f32::NAN.to_bits()))
}

/// Two lines of values, of any bits below those of bf16, as a line of words.
#[inline(always)]
fn join<S: Simd>(simd: S, first: S::u32s, second: S::u32s) -> S::u32s {
    let low = simd.wrapping_dyn_shr_u32s(first, simd.splat_u32s(16));
    simd.or_u32s(low, simd.and_u32s(second, simd.splat_u32s(0xffff_0000)))
}

/// Writes two lines of values as one line of words of bf16.
#[inline(always)]
pub fn pack_bf16<S: Simd>(simd: S, first: &[f32; LINE], second: &[f32; LINE], words: &mut [u32; LINE]) {
    let ((first, _), (second, _)) = (S::as_simd_f32s(first), S::as_simd_f32s(second));
    let (words, _) = S::as_mut_simd_u32s(words);
    for ((word, &first), &second) in words.iter_mut().zip(first).zip(second) {
        *word = join(simd, round_to_bf16(simd, first), round_to_bf16(simd, second));
    }
}

/// Writes line `line` of a row's values to its half of the words, and leaves the other half as it is.
#[inline(always)]
pub fn pack_bf16_part<S: Simd>(simd: S, line: usize, values: S::f32s, words: &mut S::u32s) {
    let bits = round_to_bf16(simd, values);
    *words = match line % 2 {
        0 => join(simd, bits, *words),
        _ => {
            let low = simd.and_u32s(*words, simd.splat_u32s(0xffff));
            simd.or_u32s(low, simd.and_u32s(bits, simd.splat_u32s(0xffff_0000)))
        }
    };
}

/// Writes a row of values as words of bf16, line by line, filled up with zeros.
#[inline(always)]
pub fn pack_bf16_row<'a, S: Simd>(simd: S, x: &[f32], lines: impl Iterator<Item = &'a mut [u32; LINE]>) {
    let (pairs, rest) = x.as_chunks::<{ 2 * LINE }>();
    let mut lines = lines;
    for (pair, words) in pairs.iter().zip(lines.by_ref()) {
        if let [first, second] = pair.as_chunks::<LINE>().0 {
            pack_bf16(simd, first, second, words);
        }
    }
    let mut padded = [[0.0; LINE]; 2];
    padded.as_flattened_mut()[..rest.len()].copy_from_slice(rest);
    for words in lines {
        pack_bf16(simd, &padded[0], &padded[1], words);
        padded = [[0.0; LINE]; 2];
    }
}

/// The numbers for which the integers of a block stand: scale · (integer + offset).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Int8Scale {
    /// The distance between the numbers of two integers that follow each other.
    pub scale: f32,
    /// The offset of the integers, so that they reach from the smallest number to the largest: what GELU returns is seldom
    /// negative, and would have a bit less around 0.
    pub offset: f32,
}

/// Writes a block of a row as words of 8-bit integers, line by line, filled up with zeros. The smallest number becomes −127 and
/// the largest 127. `flip` are the bits in which the stored bytes differ
/// ([`Int8Product::left_flip`](super::Int8Product::left_flip)). A block with a number that is not finite has the scale NaN.
#[inline(always)]
pub fn pack_int8_row<'a, S: Simd>(
    simd: S,
    x: &[f32],
    flip: u32,
    lines: impl Iterator<Item = &'a mut [u32; LINE]>,
) -> Int8Scale {
    let (min, max) = range(simd, x);
    let (middle, half) = (0.5 * min + 0.5 * max, 0.5 * max - 0.5 * min);
    // All numbers are equal, or so close that the inverse of the scale would not be finite. NaN is neither.
    let is_flat = half <= middle.abs() * f32::EPSILON || half <= f32::MIN_POSITIVE * 4.0 * INT8_MAX;
    // As far as the middle is rounded, so that no number comes out above 127.
    let half = half + middle.abs() * f32::EPSILON;
    let (factor, scale) = match is_flat {
        // Codes of 0, which stand for the middle.
        true => {
            (0.0, Int8Scale { scale: if middle == 0.0 { 0.0 } else { middle.abs() }, offset: 1f32.copysign(middle) })
        }
        false => (INT8_MAX / half, Int8Scale { scale: half / INT8_MAX, offset: middle * (INT8_MAX / half) }),
    };
    let (blocks, rest) = x.as_chunks::<{ 4 * LINE }>();
    let mut lines = lines;
    for (block, words) in blocks.iter().zip(lines.by_ref()) {
        int8_line(simd, block, (middle, factor), flip, words);
    }
    let mut padded = [0.0; 4 * LINE];
    padded[..rest.len()].copy_from_slice(rest);
    padded[rest.len()..].fill(middle);
    for words in lines {
        int8_line(simd, &padded, (middle, factor), flip, words);
        padded = [middle; 4 * LINE];
    }
    scale
}

/// Writes four lines of values as one line of words of integers: their distances from `middle` times `factor`, which are 127 at
/// most. (A product before the subtraction would round as far as the values are large, and might wrap.)
#[inline(always)]
fn int8_line<S: Simd>(
    simd: S,
    values: &[f32; 4 * LINE],
    (middle, factor): (f32, f32),
    flip: u32,
    words: &mut [u32; LINE],
) {
    let (values, _) = S::as_simd_f32s(values);
    let (words, _) = S::as_mut_simd_u32s(words);
    let in_line = LINE / S::F32_LANES;
    let (middle, factor) = (simd.splat_f32s(middle), simd.splat_f32s(factor));
    for (i, word) in words.iter_mut().enumerate() {
        let mut bytes = [simd.splat_u32s(0); 4];
        for (part, bytes) in bytes.iter_mut().enumerate() {
            let distance = simd.sub_f32s(values[part * in_line + i], middle);
            let shifted = mul_add(simd, distance, factor, simd.splat_f32s(SHIFT));
            let byte = simd.and_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(0xff));
            *bytes = simd.wrapping_dyn_shl_u32s(byte, simd.splat_u32s(8 * part as u32));
        }
        let low = simd.or_u32s(bytes[0], bytes[1]);
        let high = simd.or_u32s(bytes[2], bytes[3]);
        *word = simd.xor_u32s(simd.or_u32s(low, high), simd.splat_u32s(flip));
    }
}

/// The smallest and the largest number, or NaN if one is not finite.
#[inline(always)]
fn range<S: Simd>(simd: S, x: &[f32]) -> (f32, f32) {
    let first = x.first().copied().unwrap_or_default();
    let (vectors, rest) = S::as_simd_f32s(x);
    let (mut min, mut max) = ([simd.splat_f32s(first); 2], [simd.splat_f32s(first); 2]);
    // Zero as long as all numbers are finite.
    let mut zero = [simd.splat_f32s(0.0); 2];
    let (pairs, last) = vectors.as_chunks::<2>();
    for pair in pairs {
        // Constant indices keep the three in registers.
        for i in 0..2 {
            min[i] = simd.min_f32s(min[i], pair[i]);
            max[i] = simd.max_f32s(max[i], pair[i]);
            zero[i] = mul_add(simd, pair[i], simd.splat_f32s(0.0), zero[i]);
        }
    }
    for &x in last {
        min[0] = simd.min_f32s(min[0], x);
        max[0] = simd.max_f32s(max[0], x);
        zero[0] = mul_add(simd, x, simd.splat_f32s(0.0), zero[0]);
    }
    let zero = simd.reduce_sum_f32s(simd.add_f32s(zero[0], zero[1])) + rest.iter().map(|x| x * 0.0).sum::<f32>();
    let min = simd.reduce_min_f32s(simd.min_f32s(min[0], min[1]));
    let max = simd.reduce_max_f32s(simd.max_f32s(max[0], max[1]));
    (rest.iter().fold(min, |min, x| min.min(*x)) + zero, rest.iter().fold(max, |max, x| max.max(*x)) + zero)
}

/// The two numbers of a word of bf16, in the order of their lines.
#[inline(always)]
pub fn bf16_parts(word: u32) -> [f32; 2] {
    [f32::from_bits(word << 16), f32::from_bits(word & 0xffff_0000)]
}

/// A row of values as words of bf16, filled up with zeros to whole lines.
pub fn bf16_words(row: &[f32]) -> Vec<u32> {
    let mut words = vec![0; Factors::Bf16.words(row.len())];
    let lines = words.as_chunks_mut::<LINE>().0.iter_mut().zip(row.chunks(2 * LINE));
    for (words, values) in lines {
        for (part, values) in values.chunks(LINE).enumerate() {
            for (word, &x) in words.iter_mut().zip(values) {
                *word |= round_to_bf16(Scalar, x) >> 16 << (16 * part);
            }
        }
    }
    words
}

/// A row of values, or the rest of one from a whole line on, as words of 8-bit integers: the nearest to value / `scale`, which
/// is at most 127.
pub fn int8_words(row: &[f32], scale: f32) -> Vec<u32> {
    let mut words = vec![0; Factors::Int8.words(row.len())];
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    let lines = words.as_chunks_mut::<LINE>().0.iter_mut().zip(row.chunks(4 * LINE));
    for (words, values) in lines {
        for (part, values) in values.chunks(LINE).enumerate() {
            for (word, &x) in words.iter_mut().zip(values) {
                *word |= ((x * inverse + SHIFT).to_bits() & 0xff) << (8 * part);
            }
        }
    }
    words
}

/// Puts the words of a right operand, `[inner word][column]` in panels of one line of columns, into pairs: the words 2i and 2i + 1
/// of a column beside each other, column by column.
pub fn pair_words(panels: &mut [u32]) {
    for pair in panels.as_chunks_mut::<{ 2 * LINE }>().0 {
        let rows = *pair;
        let (first, second) = rows.split_at(LINE);
        for (pair, (&first, &second)) in pair.as_chunks_mut::<2>().0.iter_mut().zip(first.iter().zip(second)) {
            *pair = [first, second];
        }
    }
}
