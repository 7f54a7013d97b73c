//! The merge of a low-rank adapter into the weight of a linear layer, as PEFT's
//! [`merge_and_unload`](https://github.com/huggingface/peft/blob/v0.21.2/src/peft/tuners/lora/layer.py) computes it.

use pulp::Arch;
use serde::Serialize;

/// Adds an adapter's change to a weight in f32: W + s · (B · A), and for DoRA m · (W + s · (B · A)) / ‖W + s · (B · A)‖ with
/// the norm of each output row.
///
/// Each element of B · A is a sum of fused multiply-adds over the ranks in their order, which is what PyTorch's CPU returns
/// for ranks up to 192 (measured with MKL 2024.2; above, MKL adds up several such sums). The scale, the sum with W and DoRA's
/// factor are one rounded f32 operation each, in PEFT's order. A weight of 16 bits is widened before and rounded once after.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MergeLora {
    /// The rank.
    pub rank: usize,
    /// The factor s of B · A.
    pub scale: f64,
    /// Whether the factors are stored as mlx-lm stores them: A as `(in, rank)` and B as `(rank, out)`.
    pub is_transposed: bool,
    /// Whether the rows are scaled to given norms: DoRA.
    pub has_magnitude: bool,
}

/// The number of columns whose sums are in registers at a time.
const COLUMNS: usize = 64;

/// The number of partial sums of a norm: PyTorch's `norm` kernel adds squares in vectors of eight.
const LANES: usize = 8;

/// The factors of a merge in memory, in PEFT's order of axes.
#[derive(Debug)]
pub struct LoraFactors {
    /// `(rank, in)`.
    a: Vec<f32>,
    /// `(out, rank)`.
    b: Vec<f32>,
    /// `(out,)`.
    magnitude: Option<Vec<f32>>,
    rank: usize,
    columns: usize,
    scale: f32,
}

impl MergeLora {
    /// The factors for a weight with `columns` inputs, from the stored values. The plan has checked their shapes.
    pub fn factors(&self, a: Vec<f32>, b: Vec<f32>, magnitude: Option<Vec<f32>>, columns: usize) -> LoraFactors {
        let rank = self.rank.max(1);
        let (a, b) = match self.is_transposed {
            true => (transposed(&a, rank), transposed(&b, b.len() / rank)),
            false => (a, b),
        };
        // PyTorch multiplies an f32 tensor by a Python float as by an f32.
        LoraFactors { a, b, magnitude, rank, columns, scale: self.scale as f32 }
    }
}

impl LoraFactors {
    /// Replaces `merged` with the merged weight for whole rows of W, of which the first has the index `first_row`.
    pub fn apply(&self, first_row: usize, weight: &[f32], merged: &mut Vec<f32>) {
        merged.clear();
        merged.resize(weight.len(), 0.0);
        Arch::new().dispatch(
            #[inline(always)]
            || self.apply_rows(first_row, weight, merged),
        );
    }

    #[inline(always)]
    fn apply_rows(&self, first_row: usize, weight: &[f32], merged: &mut [f32]) {
        let columns = self.columns.max(1);
        let rows = weight.chunks_exact(columns).zip(merged.chunks_exact_mut(columns));
        for (row, (weight, merged)) in (first_row..).zip(rows) {
            let factors = &self.b[row * self.rank..(row + 1) * self.rank];
            for start in (0..columns).step_by(COLUMNS) {
                let end = columns.min(start + COLUMNS);
                self.add_change(factors, start, &weight[start..end], &mut merged[start..end]);
            }
            if let Some(magnitude) = &self.magnitude {
                let factor = magnitude[row] / norm(merged);
                merged.iter_mut().for_each(|value| *value *= factor);
            }
        }
    }

    /// W + s · (B · A) for the columns from `start` of one row, whose factors of B are given.
    #[inline(always)]
    fn add_change(&self, factors: &[f32], start: usize, weight: &[f32], merged: &mut [f32]) {
        let mut sums = [0f32; COLUMNS];
        for (&factor, row) in factors.iter().zip(self.a.chunks_exact(self.columns)) {
            match row[start..].first_chunk::<COLUMNS>() {
                Some(row) => {
                    for (sum, &value) in sums.iter_mut().zip(row) {
                        *sum = factor.mul_add(value, *sum);
                    }
                }
                None => {
                    for (sum, &value) in sums.iter_mut().zip(&row[start..]) {
                        *sum = factor.mul_add(value, *sum);
                    }
                }
            }
        }
        for ((merged, &weight), &sum) in merged.iter_mut().zip(weight).zip(&sums) {
            *merged = weight + sum * self.scale;
        }
    }
}

/// The Euclidean norm of a row, added up in the order of PyTorch's `torch.linalg.norm` with AVX2 and AVX-512.
#[inline(always)]
fn norm(row: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (vectors, rest) = row.as_chunks::<LANES>();
    for vector in vectors {
        for (sum, &value) in lanes.iter_mut().zip(vector) {
            *sum += value * value;
        }
    }
    let sum = lanes[1..].iter().fold(lanes[0], |sum, &lane| sum + lane);
    rest.iter().fold(sum, |sum, &value| sum + value * value).sqrt()
}

/// The transpose of a row-major matrix with rows of `columns` values.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    let columns = columns.max(1);
    let rows = values.len() / columns;
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}
