//! Activations in the order in which the words of a weight give them, so that a vector of words meets a vector of them.

use std::cell::RefCell;

use mert_arch::Encoding;
use mert_simd::Buffer;

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
}

impl Order {
    pub(crate) fn of(encoding: Encoding, lanes: usize) -> Self {
        match encoding {
            Encoding::Float(dtype) => Order { lanes, slots: 4 / dtype.size(), unshifted: None, group_size: None },
            Encoding::Quantized { quantization, .. } => {
                let bits = quantization.bits;
                let (slots, unshifted) = if bits.is_power_of_two() { (32 / bits, Some(bits)) } else { (32, None) };
                Order { lanes, slots, unshifted, group_size: Some(quantization.group_size) }
            }
        }
    }

    /// Whether a weight with this order can use activations in the order `other`.
    fn fits(self, other: Self) -> bool {
        self == other
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
    pub(crate) fn new(order: Order, x: &[f32], inputs: usize) -> Self {
        let mut prepared = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
        prepared.order = Some(order);
        let pairs = x.chunks(ROWS * inputs);
        prepared.pairs.resize_with(pairs.len(), Pair::default);
        for (pair, x) in prepared.pairs.iter_mut().zip(pairs) {
            pair.fill(order, x, inputs);
        }
        prepared
    }

    pub(crate) fn fits(&self, order: Order) -> bool {
        self.order.is_some_and(|own| own.fits(order))
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

    fn fill(&mut self, order: Order, x: &[f32], inputs: usize) {
        let Order { lanes, slots, unshifted, group_size } = order;
        let rows = x.len() / inputs;
        self.rows = rows;
        let block = slots * lanes;
        self.len = inputs.next_multiple_of(block) * rows;
        let values = self.values.take(self.len);
        if !inputs.is_multiple_of(block) {
            values.fill(0.0);
        }
        let mut factors = [1.0; 32];
        if let Some(bits) = unshifted {
            for (slot, factor) in factors[..slots].iter_mut().enumerate() {
                *factor = 1.0 / (1u32 << (bits * (slot % (16 / bits)))) as f32;
            }
        }
        for (row, x) in x.chunks_exact(inputs).enumerate() {
            for (values, x) in values.chunks_exact_mut(block * rows).zip(x.chunks(block)) {
                for (lane, x) in x.chunks(slots).enumerate() {
                    let places = values[row * lanes + lane..].iter_mut().step_by(rows * lanes);
                    for ((place, x), factor) in places.zip(x).zip(factors) {
                        *place = x * factor;
                    }
                }
            }
        }
        let Some(group_size) = group_size else { return };
        self.sums_stride = (inputs / group_size).next_multiple_of(lanes);
        let sums = self.sums.take(self.sums_stride * rows);
        sums.fill(0.0);
        for (sums, x) in sums.chunks_exact_mut(self.sums_stride).zip(x.chunks_exact(inputs)) {
            for (sum, x) in sums.iter_mut().zip(x.chunks_exact(group_size)) {
                *sum = group_sum(x);
            }
        }
    }
}

/// The sum of a group, in f64: it is multiplied with a bias that may be large against the result.
fn group_sum(x: &[f32]) -> f32 {
    let mut sums = [0f64; 8];
    for x in x.as_chunks::<8>().0 {
        for (sum, &x) in sums.iter_mut().zip(x) {
            *sum += f64::from(x);
        }
    }
    sums.iter().sum::<f64>() as f32
}
