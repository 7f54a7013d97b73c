//! Activations in the order in which the words of a weight give them, so that a vector of words meets a vector of them.

// Only constant indices are unrolled.
#![allow(clippy::needless_range_loop)]

use std::cell::RefCell;

use mert_arch::Encoding;
use mert_simd::{Buffer, Isa, Kernel};
use pulp::Simd;

/// Rows of activations that go through a weight together.
pub(crate) const ROWS: usize = 2;

/// The order of the activations that a weight needs. Two weights with the same order share the activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    /// Lanes of a register.
    lanes: usize,
    /// Values that a lane holds: those in a word, or in the words of a unit of 32 codes.
    slots: usize,
    /// Bits of a code where codes are taken out of half a word without a shift, so that the activations are divided by
    /// the power of two by which the code is too large.
    unshifted: Option<usize>,
    /// Values that share a bias of the codes, each sum of which is needed.
    group_size: Option<usize>,
    /// Whether the activations are whole numbers in digits.
    digits: bool,
}

/// Digits of 8 bits of an activation as a whole number.
pub(crate) const DIGITS: usize = 3;

/// The whole number of a power of two that is larger than all activations of a block. Three digits of −128..=127 reach
/// almost twice as far; with a power of two, activations of few digits are exact.
const UNIT: f32 = 4_194_304.0;

impl Order {
    /// The order for an encoding; `integer_products` says whether codes of four bits are multiplied as integers.
    pub(crate) fn of(encoding: Encoding, isa: Isa, integer_products: bool) -> Self {
        let lanes = isa.lanes();
        match encoding {
            Encoding::Float(dtype) => {
                Order { lanes, slots: 4 / dtype.size(), unshifted: None, group_size: None, digits: false }
            }
            Encoding::Quantized { quantization, .. } => {
                let bits = quantization.bits;
                let (slots, unshifted) = if bits.is_power_of_two() { (32 / bits, Some(bits)) } else { (32, None) };
                let digits = integer_products && bits == 4;
                Order { lanes, slots, unshifted, group_size: Some(quantization.group_size), digits }
            }
        }
    }
}

/// One or two rows of activations in the order of a weight.
#[derive(Debug, Default)]
pub(crate) struct Pair {
    /// One or two.
    pub(crate) rows: usize,
    values: Buffer,
    /// Numbers of `values` that are in use.
    len: usize,
    /// `[row][group]`: the sum of each group, the rows filled up with zeros to whole registers.
    pub(crate) sums: Buffer,
    /// The length of a row of sums.
    pub(crate) sums_stride: usize,
    digits: Buffer<i8>,
    digits_len: usize,
    block_scales: Buffer,
    block_scales_len: usize,
}

/// All rows of activations of a product, in the order of a weight.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    order: Option<Order>,
    pub(crate) pairs: Vec<Pair>,
}

thread_local! {
    /// Buffers of earlier products on this thread.
    static SPARE: RefCell<Vec<Prepared>> = const { RefCell::new(Vec::new()) };
}

impl Prepared {
    /// Brings `x` `(rows, inputs)` into an order.
    pub(crate) fn new(isa: Isa, order: Order, x: &[f32], inputs: usize) -> Self {
        let mut prepared = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
        prepared.order = Some(order);
        let pairs = x.chunks(ROWS * inputs);
        prepared.pairs.resize_with(pairs.len(), Pair::default);
        for (pair, x) in prepared.pairs.iter_mut().zip(pairs) {
            pair.fill(isa, order, x, inputs);
        }
        prepared
    }

    pub(crate) fn fits(&self, order: Order) -> bool {
        self.order == Some(order)
    }

    /// Whether the activations are whole numbers in digits.
    pub(crate) fn has_digits(&self) -> bool {
        self.order.is_some_and(|order| order.digits)
    }

    /// Keeps the buffers for the next product on this thread.
    pub(crate) fn recycle(self) {
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < 4 {
                spare.push(self);
            }
        });
    }
}

impl Pair {
    /// `[block][slot][row][lane]`: the values that `lanes` words hold make a block, the last one filled up with zeros.
    pub(crate) fn values(&self) -> &[f32] {
        &self.values[..self.len]
    }

    /// `[block][digit][even or odd][row][64]`: the digits, highest first, of the activations with even and odd indices, whose
    /// codes are the low and high halves of 64 bytes.
    pub(crate) fn digits(&self) -> &[i8] {
        &self.digits[..self.digits_len]
    }

    /// `[block][row]`: the value of 1 in the digits of a block.
    pub(crate) fn block_scales(&self) -> &[f32] {
        &self.block_scales[..self.block_scales_len]
    }

    fn fill(&mut self, isa: Isa, order: Order, x: &[f32], inputs: usize) {
        let rows = x.len() / inputs;
        self.rows = rows;
        let block = order.slots * order.lanes;
        let padded = inputs.next_multiple_of(block) * rows;
        self.len = if order.digits { 0 } else { padded };
        let values = self.values.take(self.len);
        (self.digits_len, self.block_scales_len) =
            if order.digits { (padded * DIGITS, padded / block) } else { (0, 0) };
        let (digits, block_scales) = (self.digits.take(self.digits_len), self.block_scales.take(self.block_scales_len));
        if !inputs.is_multiple_of(block) {
            values.fill(0.0);
        }
        self.sums_stride = order.group_size.map_or(0, |size| (inputs / size).next_multiple_of(order.lanes));
        let sums = self.sums.take(self.sums_stride * rows);
        sums.fill(0.0);
        isa.run_dots(Fill { order, x, inputs, values, sums, sums_stride: self.sums_stride, digits, block_scales });
    }
}

/// Brings rows of activations into an order, and sums their groups.
struct Fill<'a> {
    order: Order,
    x: &'a [f32],
    inputs: usize,
    values: &'a mut [f32],
    sums: &'a mut [f32],
    sums_stride: usize,
    digits: &'a mut [i8],
    block_scales: &'a mut [f32],
}

impl Kernel for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(mut self, _: S) {
        if self.order.digits {
            self.split_digits();
        }
        match self.order.slots {
            1 => self.permute::<S, 1>(),
            2 => self.permute::<S, 2>(),
            4 => self.permute::<S, 4>(),
            8 => self.permute::<S, 8>(),
            16 => self.permute::<S, 16>(),
            _ => self.permute::<S, 32>(),
        }
    }
}

/// Activations up to the first are 0 in digits, and those from the second on no numbers: factors would overflow.
const RANGE: [f32; 2] = [1e-30, 1e37];

/// Activations that share a scale in digits: the codes in a register.
const DIGIT_BLOCK: usize = 128;

impl Fill<'_> {
    #[inline(always)]
    fn split_digits(&mut self) {
        let rows = self.x.len() / self.inputs;
        let blocks =
            self.digits.chunks_exact_mut(DIGIT_BLOCK * DIGITS * rows).zip(self.block_scales.chunks_exact_mut(rows));
        for (block, (digits, scales)) in blocks.enumerate() {
            for row in 0..rows {
                let x = &self.x[row * self.inputs..][..self.inputs];
                let x = &x[block * DIGIT_BLOCK..];
                let mut values = [0.0; DIGIT_BLOCK];
                match x.first_chunk() {
                    Some(x) => values = *x,
                    None => values[..x.len()].copy_from_slice(x),
                }
                let max = values.iter().fold(0f32, |max, x| if x.abs() > max { x.abs() } else { max });
                // A maximum skips what is not a number.
                let is_finite = values.iter().fold(true, |all, x| all & (x.abs() < RANGE[1]));
                let above = f32::from_bits(((max.to_bits() >> 23) + 1) << 23);
                let (scale, factor) = match is_finite {
                    true if max > RANGE[0] => (above / UNIT, UNIT / above),
                    true => (0.0, 0.0),
                    false => (f32::NAN, 0.0),
                };
                scales[row] = scale;
                let (pairs, _) = values.as_chunks::<2>();
                for half in 0..2 {
                    for (i, pair) in pairs.iter().enumerate() {
                        let mut number = (pair[half] * factor).round_ties_even() as i32;
                        for digit in (0..DIGITS).rev() {
                            let low = number as i8;
                            number = (number - i32::from(low)) >> 8;
                            digits[((digit * 2 + half) * rows + row) * (DIGIT_BLOCK / 2) + i] = low;
                        }
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn permute<S: Simd, const SLOTS: usize>(self) {
        let Fill { order, x, inputs, values, sums, sums_stride, .. } = self;
        let (lanes, rows) = (S::F32_LANES, x.len() / inputs);
        let mut factors = [1.0; SLOTS];
        if let Some(bits) = order.unshifted {
            for (slot, factor) in factors.iter_mut().enumerate() {
                *factor = 1.0 / (1u32 << (bits * (slot % (16 / bits)))) as f32;
            }
        }
        for (row, x) in x.chunks_exact(inputs).enumerate() {
            for (values, x) in values.chunks_exact_mut(SLOTS * lanes * rows).zip(x.chunks(SLOTS * lanes)) {
                let (words, rest) = x.as_chunks::<SLOTS>();
                for (lane, word) in words.iter().enumerate() {
                    for slot in 0..SLOTS {
                        values[(slot * rows + row) * lanes + lane] = word[slot] * factors[slot];
                    }
                }
                // The last word of a row of 16-bit floats may be half full.
                for (slot, x) in rest.iter().enumerate() {
                    values[(slot * rows + row) * lanes + words.len()] = *x;
                }
            }
        }
        let Some(group_size) = order.group_size else { return };
        for (sums, x) in sums.chunks_exact_mut(sums_stride).zip(x.chunks_exact(inputs)) {
            for (sum, x) in sums.iter_mut().zip(x.chunks_exact(group_size)) {
                *sum = group_sum(x);
            }
        }
    }
}

/// The sum of a group, in f64: it is multiplied with a bias that may be large against the result.
#[inline(always)]
fn group_sum(x: &[f32]) -> f32 {
    let mut sums = [0f64; 8];
    for x in x.as_chunks::<8>().0 {
        for (sum, &x) in sums.iter_mut().zip(x) {
            *sum += f64::from(x);
        }
    }
    sums.iter().sum::<f64>() as f32
}
