//! Activations in the order in which the words of a weight give them, so that a vector of words meets a vector of them.

// Only constant indices are unrolled.
#![allow(clippy::needless_range_loop)]

use std::cell::RefCell;

use mert_arch::Encoding;
use mert_simd::{Buffer, Isa, Kernel};
use pulp::Simd;

use crate::digits::{self, Split};
use crate::linear::Linear;

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
    /// Bits of a code in the registers where codes are multiplied as integers, and activations are whole numbers in digits.
    digits_for: Option<usize>,
}

impl Order {
    /// The order for a weight.
    pub(crate) fn of(linear: &Linear) -> Self {
        let lanes = linear.isa().lanes();
        match linear.encoding() {
            Encoding::Float(dtype) => {
                Order { lanes, slots: 4 / dtype.size(), unshifted: None, group_size: None, digits_for: None }
            }
            Encoding::Quantized { quantization, .. } => {
                let (bits, group_size) = (quantization.bits, Some(quantization.group_size));
                if digits::fits(linear.isa(), bits, linear.inputs()) {
                    let bits = digits::bits_in_registers(bits);
                    return Order { lanes, slots: 32 / bits, unshifted: None, group_size, digits_for: Some(bits) };
                }
                let (slots, unshifted) = if bits.is_power_of_two() { (32 / bits, Some(bits)) } else { (32, None) };
                Order { lanes, slots, unshifted, group_size, digits_for: None }
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

    /// Whether the activations are whole numbers in digits, and codes are multiplied as integers.
    pub(crate) fn has_digits(&self) -> bool {
        self.order.is_some_and(|order| order.digits_for.is_some())
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

    /// The digits of each activation, in the order of `Split::digits`.
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
        self.sums_stride = order.group_size.map_or(0, |size| (inputs / size).next_multiple_of(order.lanes));
        let (sums, sums_stride) = (self.sums.take(self.sums_stride * rows), self.sums_stride);
        sums.fill(0.0);
        if let (Some(bits), Some(group_size)) = (order.digits_for, order.group_size) {
            (self.digits_len, self.block_scales_len) = digits::lengths(bits, x.len());
            let digits = self.digits.take(self.digits_len);
            let block_scales = self.block_scales.take(self.block_scales_len);
            return Split { x, inputs, group_size, digits, block_scales, sums, sums_stride }.run(isa, bits);
        }
        self.len = padded;
        let values = self.values.take(self.len);
        if !inputs.is_multiple_of(block) {
            values.fill(0.0);
        }
        isa.run_dots(Fill { order, x, inputs, values, sums, sums_stride });
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
}

impl Kernel for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, _: S) {
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

impl Fill<'_> {
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
