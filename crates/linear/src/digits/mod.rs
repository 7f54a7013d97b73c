//! Activations as whole numbers of 16 bits times a scale, in two digits of 8 bits, for integer dot products with codes.
//!
//! The activations that meet the codes in 128 bytes of a weight share a scale, so that the error of each is at most 1/65278 of the
//! largest among them. Biases of codes are multiplied with sums of the same whole numbers: the error of a product is then
//! that of the activations times the weights, which are smaller than codes times scales.

// Only constant indices keep the numbers in registers.
#![allow(clippy::needless_range_loop)]

#[cfg(target_arch = "x86_64")]
mod avx512;

use mert_simd::Isa;

/// Digits of an activation.
pub(crate) const DIGITS: usize = 2;

/// Bytes of codes in a line.
pub(crate) const LINE_BYTES: usize = 64;

/// Lines of codes whose activations, a block, share a scale: with one, multiplying by that scale takes a tenth of the time of a
/// product.
pub(crate) const LINES: usize = 2;

/// The whole number of the largest activation of a block, as large as two digits of −128..=127 reach on both sides.
const LARGEST: f32 = 32_639.0;

/// Activations up to the first are 0 in digits, and those from the second on no numbers: factors would overflow.
const RANGE: [f32; 2] = [1e-30, 1e37];

/// Activations whose sum is taken at once; every group is a whole number of them.
const PART: usize = 32;

/// True if products of codes of so many bits with rows of so many activations are computed in digits by these instructions.
pub(crate) fn fits(isa: Isa, bits: usize, inputs: usize) -> bool {
    has_codes(isa, bits) && inputs.is_multiple_of(LINES * line_codes(bits_in_registers(bits)))
}

/// True if the processor has integer dot products for codes of so many bits.
fn has_codes(isa: Isa, bits: usize) -> bool {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512(_) => {
            let unpacks = matches!(bits, 4 | 8) || is_x86_feature_detected!("avx512vbmi");
            unpacks && avx512::is_available()
        }
        #[cfg(target_arch = "aarch64")]
        Isa::Neon(_) => matches!(bits, 4 | 8) && std::arch::is_aarch64_feature_detected!("dotprod"),
        _ => false,
    }
}

/// Codes of so many bits in a line.
const fn line_codes(bits: usize) -> usize {
    LINE_BYTES * 8 / bits
}

/// Bits of a code in the registers: those of other widths are unpacked to bytes.
pub(crate) fn bits_in_registers(bits: usize) -> usize {
    if bits == 4 { 4 } else { 8 }
}

/// The numbers of digits and of scales for `count` activations.
pub(crate) fn lengths(bits: usize, count: usize) -> (usize, usize) {
    (count * DIGITS, count / (LINES * line_codes(bits)))
}

/// Rows of activations, and where their digits go.
pub(crate) struct Split<'a> {
    /// `[row][input]`.
    pub(crate) x: &'a [f32],
    /// A multiple of the activations of a block.
    pub(crate) inputs: usize,
    pub(crate) group_size: usize,
    /// `[line][digit][row][64]` for codes in bytes, the highest digit first; for codes of 4 bits
    /// `[line][digit][even or odd][row][64]`, as the low and high halves of 64 bytes hold the codes of activations with
    /// even and odd indices.
    pub(crate) digits: &'a mut [i8],
    /// `[block][row]`: the value of 1 in the digits of a block.
    pub(crate) block_scales: &'a mut [f32],
    /// `[row][group]`: the sum of each group, 0 at first.
    pub(crate) sums: &'a mut [f32],
    /// The length of a row of sums.
    pub(crate) sums_stride: usize,
}

impl Split<'_> {
    /// Splits all activations for codes of so many bits in the registers. The digits are the same with any instructions.
    pub(crate) fn run(self, isa: Isa, bits: usize) {
        match (isa, bits) {
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512(_), _) if avx512::is_available() => avx512::split(self, bits),
            (_, 4) => self.run_portable::<{ line_codes(4) }, 2>(),
            _ => self.run_portable::<{ line_codes(8) }, 1>(),
        }
    }

    fn run_portable<const CODES: usize, const HALVES: usize>(self) {
        let rows = self.x.len() / self.inputs;
        let blocks = self.digits.chunks_exact_mut(LINES * HALVES * DIGITS * rows * LINE_BYTES);
        for (block, (digits, scales)) in blocks.zip(self.block_scales.chunks_exact_mut(rows)).enumerate() {
            let start = block * LINES * CODES;
            for (row, x) in self.x.chunks_exact(self.inputs).enumerate() {
                let (parts, _) = x[start..][..LINES * CODES].as_chunks::<PART>();
                let scale = block_scale(parts.as_flattened());
                let factor = if scale > 0.0 { 1.0 / scale } else { 0.0 };
                scales[row] = scale;
                for (part, x) in parts.iter().enumerate() {
                    let numbers = x.map(|x| (x * factor).round_ties_even() as i32);
                    let group = (start + part * PART) / self.group_size;
                    self.sums[row * self.sums_stride + group] += scale * numbers.iter().sum::<i32>() as f32;
                    let (line, part) = (part / (CODES / PART), part % (CODES / PART));
                    let both = [numbers.map(|number| ((number + 128) >> 8) as i8), numbers.map(|number| number as i8)];
                    for (digit, numbers) in both.iter().enumerate() {
                        for half in 0..HALVES {
                            let to = (((line * DIGITS + digit) * HALVES + half) * rows + row) * LINE_BYTES;
                            let to = &mut digits[to + part * PART / HALVES..][..PART / HALVES];
                            let numbers = numbers.iter().skip(half).step_by(HALVES);
                            to.iter_mut().zip(numbers).for_each(|(to, number)| *to = *number);
                        }
                    }
                }
            }
        }
    }
}

/// The value of 1 in the digits of a block: NaN where a value is not a number or too large, 0 where all are next to 0.
fn block_scale(x: &[f32]) -> f32 {
    let (mut max, mut is_finite) = (0f32, true);
    for x in x {
        max = max.max(x.abs());
        // A maximum skips what is not a number.
        is_finite &= x.abs() < RANGE[1];
    }
    match is_finite {
        true if max > RANGE[0] => max / LARGEST,
        true => 0.0,
        false => f32::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Digits {
        digits: Vec<i8>,
        scales: Vec<f32>,
        sums: Vec<f32>,
    }

    fn split(isa: Isa, bits: usize, group_size: usize, x: &[f32], inputs: usize) -> Digits {
        let (digits, scales) = lengths(bits, x.len());
        let (mut digits, mut block_scales) = (vec![0; digits], vec![0.0; scales]);
        let sums_stride = inputs / group_size;
        let mut sums = vec![0.0; sums_stride * (x.len() / inputs)];
        let (digits_out, scales_out, sums_out) = (&mut digits, &mut block_scales, &mut sums);
        Split { x, inputs, group_size, digits: digits_out, block_scales: scales_out, sums: sums_out, sums_stride }
            .run(isa, bits);
        Digits { digits, scales: block_scales, sums }
    }

    #[test]
    fn digits_are_the_activations_and_the_same_with_any_instructions() {
        let inputs = 512;
        for rows in [1, 2] {
            let x: Vec<f32> = (0..rows * inputs).map(|i| ((i * 7919) % 1009) as f32 / 300.0 - 1.6).collect();
            for (bits, group_size) in [(4, 32), (4, 64), (4, 128), (8, 32), (8, 64), (8, 128)] {
                let portable = split(Isa::Portable, bits, group_size, &x, inputs);
                let native = split(crate::isa(), bits, group_size, &x, inputs);
                assert_eq!(portable.digits, native.digits, "{bits} {group_size}");
                assert_eq!(portable.scales, native.scales, "{bits} {group_size}");
                assert_eq!(portable.sums, native.sums, "{bits} {group_size}");
                let (codes, halves) = (line_codes(bits), 8 / bits);
                for (i, &x) in x.iter().enumerate() {
                    let (row, i) = (i / inputs, i % inputs);
                    let (line, code) = (i / codes, i % codes);
                    let digit = |digit: usize| {
                        let at = ((line * DIGITS + digit) * halves + code % halves) * rows + row;
                        i32::from(portable.digits[at * LINE_BYTES + code / halves])
                    };
                    let scale = portable.scales[line / LINES * rows + row];
                    let found = scale * (256 * digit(0) + digit(1)) as f32;
                    assert!((found - x).abs() <= 0.51 * scale, "{bits} {i}: {found} {x}");
                }
                let groups = x.chunks_exact(group_size).map(|x| x.iter().sum::<f32>());
                for (found, expected) in portable.sums.iter().zip(groups) {
                    assert!((found - expected).abs() < 1e-3, "{bits} {group_size}: {found} {expected}");
                }
            }
        }
    }
}
