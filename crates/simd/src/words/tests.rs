//! The products of words against f64, and the instructions against each other.

use pulp::Simd;

use super::*;
use crate::buffer::Buffer;
use crate::isa::{Isa, Kernel};
use crate::tile::TileShape;

fn value(i: usize) -> f32 {
    ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0
}

/// The operands of a tile as words, and what they stand for: `[row or column][value]`.
struct Operands {
    left: Buffer<u32>,
    right: Buffer<u32>,
    rows: Vec<Vec<f32>>,
    columns: Vec<Vec<f32>>,
    left_scales: Vec<Int8Scale>,
    sums: Vec<f32>,
}

/// The scale of every column of integers.
const SCALE: f32 = 1.0 / 127.0;

fn operands<S: Simd>(
    simd: S,
    factors: Factors,
    (rows, columns, values): (usize, usize, usize),
    (flip, paired): (u32, bool),
) -> Operands {
    let words = factors.words(values);
    let (mut left, mut right) = (Buffer::zeroed(rows * words), Buffer::zeroed(columns * words));
    let row = |r: usize| -> Vec<f32> { (0..values).map(|k| value(r * values + k)).collect() };
    let column = |c: usize| -> Vec<f32> { (0..values).map(|k| value(c * values + k + 500)).collect() };
    let (rows_values, columns_values): (Vec<_>, Vec<_>) =
        ((0..rows).map(row).collect(), (0..columns).map(column).collect());
    let mut left_scales = vec![Int8Scale::default(); rows];
    for (r, x) in rows_values.iter().enumerate() {
        let lines = left.as_chunks_mut::<LINE>().0.iter_mut().skip(r).step_by(rows);
        match factors {
            Factors::Int8 => left_scales[r] = pack_int8_row(simd, x, flip, lines),
            _ => pack_bf16_row(simd, x, lines),
        }
    }
    let mut sums = vec![0.0; columns];
    for (c, x) in columns_values.iter().enumerate() {
        let packed = if factors == Factors::Int8 { int8_words(x, SCALE) } else { bf16_words(x) };
        sums[c] = bytemuck::cast_slice::<u32, i8>(&packed).iter().map(|&code| i32::from(code)).sum::<i32>() as f32;
        right[c..].iter_mut().step_by(columns).zip(&packed).for_each(|(word, &packed)| *word = packed);
    }
    if paired {
        pair_words(&mut right);
    }
    Operands { left, right, rows: rows_values, columns: columns_values, left_scales, sums }
}

fn floats<S: Simd, const V: usize>(sums: &[S::f32s; V]) -> Vec<f32> {
    sums.iter().flat_map(|v| bytemuck::bytes_of(v).chunks(4).map(bytemuck::pod_read_unaligned::<f32>)).collect()
}

/// The products of one tile, by row, and the operands' values.
struct Bf16Tile(Bf16Product, usize);

impl Kernel for Bf16Tile {
    type Output = (Vec<Vec<f32>>, Vec<Vec<f32>>, Vec<Vec<f32>>);

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) -> Self::Output {
        let size = (ROWS, VECTORS * S::F32_LANES, self.1);
        let layout = (0, self.0.pairs_words());
        let Operands { left, right, rows, columns, .. } = operands(simd, Factors::Bf16, size, layout);
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
        self.0.multiply(simd, word_groups(&left), &right, &[], &mut sums);
        // The same with registers that are configured, for these rows and for others.
        for rows in [ROWS, ROWS - 1] {
            let _prepared = self.0.prepare(rows);
            let mut again = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
            self.0.multiply(simd, word_groups(&left), &right, &[], &mut again);
            assert_eq!(floats::<S, VECTORS>(&again[ROWS - 1]), floats::<S, VECTORS>(&sums[ROWS - 1]));
        }
        (sums.iter().map(floats::<S, VECTORS>).collect(), rows, columns)
    }
}

struct Int8Tile(Int8Product, usize);

impl Kernel for Int8Tile {
    type Output = (Vec<Vec<f32>>, Operands);

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) -> Self::Output {
        let size = (ROWS, VECTORS * S::F32_LANES, self.1);
        let operands = operands(simd, Factors::Int8, size, (self.0.left_flip(), self.0.pairs_words()));
        let Operands { left, right, sums: column_sums, .. } = &operands;
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
        let left = Int8Rows { words: word_groups(left), scales: &[1.0; ROWS], offsets: &[0.0; ROWS] };
        let right = Int8Columns { words: right, scales: &vec![1.0; VECTORS * S::F32_LANES], sums: column_sums };
        let _prepared = self.0.prepare(ROWS);
        self.0.multiply(simd, left, right, &[], &mut sums);
        (sums.iter().map(floats::<S, VECTORS>).collect(), operands)
    }
}

fn shapes() -> impl Iterator<Item = (Isa, TileShape)> {
    Isa::available().into_iter().flat_map(|isa| [(isa, TileShape::Square), (isa, TileShape::Wide)])
}

fn round(x: f32) -> f64 {
    let bits = x.to_bits();
    f64::from(f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000))
}

#[test]
fn bf16_agrees_with_f64_and_the_instructions_with_each_other() {
    for (isa, shape) in shapes() {
        for values in [32, 64, 200, 1536] {
            for fast in Bf16Product::available(isa) {
                let (sums, rows, columns) = isa.run(shape, Bf16Tile(fast, values));
                let (widened, ..) = isa.run(shape, Bf16Tile(Bf16Product::Widened, values));
                for (r, sums) in sums.iter().enumerate() {
                    for (c, &sum) in sums.iter().enumerate() {
                        let terms = rows[r].iter().zip(&columns[c]).map(|(&a, &b)| round(a) * round(b));
                        let (expected, size) = terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + f64::abs(t)));
                        // Each of the additions rounds to half a unit of the running sum at most; ARM rounds a pair once more.
                        let bound = size * values as f64 * f64::from(f32::EPSILON);
                        assert!((f64::from(sum) - expected).abs() <= bound, "{isa:?}: row {r}, column {c}");
                        if !["tdpbf16ps", "bfmmla"].contains(&fast.name()) {
                            assert_eq!(sum.to_bits(), widened[r][c].to_bits(), "{isa:?}: row {r}, column {c}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn int8_is_exact_on_every_instruction_set() {
    for (isa, shape) in shapes() {
        for values in [64, 128, 1000, INT8_BLOCK] {
            for product in Int8Product::available(isa) {
                let (sums, operands) = isa.run(shape, Int8Tile(product, values));
                for (r, sums) in sums.iter().enumerate() {
                    let x = &operands.rows[r];
                    let (min, max) = x.iter().fold((2.0f32, -2.0f32), |(min, max), &x| (min.min(x), max.max(x)));
                    let Int8Scale { scale, offset } = operands.left_scales[r];
                    approx_eq(scale, (max - min) / 254.0);
                    approx_eq(scale * (offset + 127.0), max);
                    let codes = codes(&operands.left, r, operands.left_scales.len(), x.len(), product.left_flip());
                    for (&code, &x) in codes.iter().zip(x) {
                        let number = scale * (f32::from(code) + offset);
                        assert!((number - x).abs() <= scale * 0.501, "{isa:?}: {x} became {number}");
                    }
                    for (c, &sum) in sums.iter().enumerate() {
                        let products = codes
                            .iter()
                            .zip(&operands.columns[c])
                            .map(|(&a, b)| i32::from(a) * ((b * 127.0).round_ties_even() as i32).clamp(-127, 127));
                        assert_eq!(sum, products.sum::<i32>() as f32, "{isa:?}, {product:?}: row {r}, column {c}");
                    }
                }
            }
        }
    }
}

/// The integers of row `row` of a tile.
fn codes(left: &[u32], row: usize, rows: usize, values: usize, flip: u32) -> Vec<i8> {
    let lines: Vec<&[u32; LINE]> = left.as_chunks::<LINE>().0.iter().skip(row).step_by(rows).collect();
    let code = |k: usize| int8_code(lines[k / 64][k % LINE] ^ flip, k % 64 / LINE);
    (0..values).map(code).collect()
}

fn approx_eq(a: f32, b: f32) {
    assert!((a - b).abs() <= 1e-6 * b.abs(), "{a} is not {b}");
}

/// The largest sums that integers can have: products of 127 and −127 alone.
#[test]
fn the_largest_integers_do_not_saturate() {
    struct Largest(Int8Product, f32);
    impl Kernel for Largest {
        type Output = f32;
        #[inline(always)]
        fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) -> f32 {
            let columns = VECTORS * S::F32_LANES;
            // One number of the other sign makes the range symmetric.
            let mut x = vec![self.1; INT8_BLOCK];
            x[0] = -self.1;
            let mut left = Buffer::zeroed(ROWS * INT8_BLOCK / 4);
            for row in 0..ROWS {
                let lines = left.as_chunks_mut::<LINE>().0.iter_mut().skip(row).step_by(ROWS);
                pack_int8_row(simd, &x, self.0.left_flip(), lines);
            }
            let word = u32::from_le_bytes([127; 4]);
            let right = vec![word; columns * INT8_BLOCK / 4];
            let totals = vec![127.0 * INT8_BLOCK as f32; columns];
            let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
            let left = Int8Rows { words: word_groups(&left), scales: &[1.0; ROWS], offsets: &[0.0; ROWS] };
            let right = Int8Columns { words: &right, scales: &vec![1.0; columns], sums: &totals };
            self.0.multiply(simd, left, right, &[], &mut sums);
            floats::<S, VECTORS>(&sums[ROWS - 1])[columns - 1]
        }
    }
    for (isa, shape) in shapes() {
        for (product, sign) in Int8Product::available(isa).into_iter().flat_map(|p| [(p, 1.0), (p, -1.0)]) {
            let sum = isa.run(shape, Largest(product, sign * 3.0));
            assert_eq!(sum, sign * 127.0 * 127.0 * (INT8_BLOCK - 2) as f32, "{isa:?}, {product:?}");
        }
    }
}

#[test]
fn rounding_is_to_the_nearest_even_and_keeps_nan() {
    struct Round(f32);
    impl Kernel for Round {
        type Output = u32;
        #[inline(always)]
        fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) -> u32 {
            let mut words = [0; LINE];
            pack_bf16(simd, &[self.0; LINE], &[1.0; LINE], &mut words);
            assert!(words.iter().all(|&word| word == words[0] && word >> 16 == 0x3f80));
            words[0] & 0xffff
        }
    }
    for isa in Isa::available() {
        for (bits, rounded) in [
            (0x3f80_8000, 0x3f80),
            (0x3f81_8000, 0x3f82),
            (0x3f80_8001, 0x3f81),
            (0xbf80_7fff, 0xbf80),
            (0x7f7f_ffff, 0x7f80),
            (0x7f80_0000, 0x7f80),
            (0, 0),
        ] {
            assert_eq!(isa.run(TileShape::Square, Round(f32::from_bits(bits))), rounded, "{isa:?}: {bits:x}");
            assert_eq!(bf16_words(&[f32::from_bits(bits)])[0], rounded);
        }
        for nan in [0x7f80_0001, 0x7fff_ffff, 0xffff_ffff] {
            let rounded = isa.run(TileShape::Square, Round(f32::from_bits(nan)));
            assert!(f32::from_bits(rounded << 16).is_nan(), "{isa:?}: {nan:x} became {rounded:x}");
        }
    }
}

/// Numbers that differ little beside their size: a rounding error of the size times the factor would exceed 127 and wrap.
#[test]
fn numbers_that_are_nearly_equal_do_not_wrap() {
    struct Pack<'a>(&'a [f32]);
    impl Kernel for Pack<'_> {
        type Output = (Int8Scale, Vec<i8>);
        #[inline(always)]
        fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) -> Self::Output {
            let mut words = [[0; LINE]; 2];
            let scale = pack_int8_row(simd, self.0, 0, words.iter_mut());
            (scale, codes(words.as_flattened(), 0, 1, self.0.len(), 0))
        }
    }
    for isa in Isa::available() {
        for size in [1e3f32, 1e5, 1e6, -1e6, 4e6] {
            let x: Vec<f32> = (0..128).map(|i| size + (i % 5) as f32 * 0.25).collect();
            let (Int8Scale { scale, offset }, codes) = isa.run(TileShape::Square, Pack(&x));
            for (&x, code) in x.iter().zip(codes) {
                let number = f64::from(scale) * (f64::from(code) + f64::from(offset));
                // Half a step, and the rounding of the numbers and of the offset.
                let bound = 0.51 * f64::from(scale) + 1.5 * f64::from(size.abs() * f32::EPSILON);
                assert!((number - f64::from(x)).abs() <= bound, "{isa:?}: {x} became {number}");
            }
        }
    }
}

#[test]
fn a_block_that_is_not_finite_has_the_scale_nan() {
    struct Scale<'a>(&'a [f32]);
    impl Kernel for Scale<'_> {
        type Output = f32;
        #[inline(always)]
        fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) -> f32 {
            pack_int8_row(simd, self.0, 0, [[0; LINE]; 2].iter_mut()).scale
        }
    }
    for isa in Isa::available() {
        for len in [1, 16, 17, 33, 100] {
            for at in [0, len / 2, len - 1] {
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut x = vec![1.0; len];
                    x[at] = bad;
                    assert!(isa.run(TileShape::Square, Scale(&x)).is_nan(), "{isa:?}: {bad} at {at} of {len}");
                }
            }
        }
        assert_eq!(isa.run(TileShape::Square, Scale(&[0.0; 40])), 0.0);
        assert_eq!(isa.run(TileShape::Square, Scale(&[-3.5; 40])), 3.5);
    }
}
