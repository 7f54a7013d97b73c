//! The merge of a low-rank adapter into the weight of a linear layer, as PEFT's
//! [`merge_and_unload`](https://github.com/huggingface/peft/blob/v0.21.2/src/peft/tuners/lora/layer.py) computes it.

use pulp::{Arch, Simd, WithSimd};
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
        Arch::new().dispatch(MergeRows { factors: self, first_row, weight, merged });
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
                for value in merged {
                    *value *= factor;
                }
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

/// The merge of whole rows, which is compiled for each instruction set: a closure would not be.
struct MergeRows<'a> {
    factors: &'a LoraFactors,
    first_row: usize,
    weight: &'a [f32],
    merged: &'a mut [f32],
}

impl WithSimd for MergeRows<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.factors.apply_rows(self.first_row, self.weight, self.merged);
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
    let mut sum = lanes[0];
    for &lane in &lanes[1..] {
        sum += lane;
    }
    for &value in rest {
        sum += value * value;
    }
    sum.sqrt()
}

/// The transpose of a row-major matrix with rows of `columns` values.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    let columns = columns.max(1);
    let rows = values.len() / columns;
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use sha2::{Digest, Sha256};

    use super::*;

    /// What PEFT merged, by shape, rank and method, from values of a formula: `scripts/fixtures/make_adapters.py`.
    fn expected() -> BTreeMap<String, String> {
        #[derive(Deserialize)]
        struct Expected {
            full_size: BTreeMap<String, String>,
        }
        let text = std::fs::read(mert_testkit::fixture("adapters/expected.json")).unwrap();
        serde_json::from_slice::<Expected>(&text).unwrap().full_size
    }

    /// The formula of the script, which f32 holds exactly.
    fn values(seed: u64, len: usize) -> Vec<f32> {
        let value = |at: u64| {
            let hashed = (at + (seed << 24)).wrapping_mul(2_654_435_761) as u32;
            let hashed = (hashed ^ (hashed >> 15)).wrapping_mul(2_246_822_519);
            (hashed >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..len as u64).map(value).collect()
    }

    fn digest(values: &[f32]) -> String {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Sha256::digest(&bytes)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A case of the script: outputs, inputs, rank, and whether it is DoRA.
    struct Case {
        outputs: usize,
        inputs: usize,
        merge: MergeLora,
        weight: Vec<f32>,
        a: Vec<f32>,
        b: Vec<f32>,
        magnitude: Option<Vec<f32>>,
    }

    impl Case {
        fn new(name: &str) -> Self {
            let fields: Vec<&str> = name.split(' ').collect();
            let [outputs, inputs, rank] = [0, 1, 2].map(|at| fields[at].parse::<usize>().unwrap());
            let has_magnitude = fields[3] == "dora";
            Case {
                outputs,
                inputs,
                merge: MergeLora { rank, scale: 3.0 / rank as f64, is_transposed: false, has_magnitude },
                weight: values(1, outputs * inputs),
                a: values(2, rank * inputs),
                b: values(3, outputs * rank),
                magnitude: has_magnitude.then(|| values(4, outputs).iter().map(|value| value + 1.0).collect()),
            }
        }

        /// The merged weight, computed `rows` rows at a time.
        fn merged(&self, merge: MergeLora, rows: usize) -> Vec<f32> {
            let factors = merge.factors(self.a.clone(), self.b.clone(), self.magnitude.clone(), self.inputs);
            let (mut whole, mut part) = (Vec::new(), Vec::new());
            for (at, weight) in self.weight.chunks(rows * self.inputs).enumerate() {
                factors.apply(at * rows, weight, &mut part);
                whole.extend_from_slice(&part);
            }
            whole
        }
    }

    #[test]
    fn merged_weights_have_the_bits_of_peft_s() {
        let expected = expected();
        assert_eq!(expected.len(), 8);
        for (name, expected) in expected {
            let case = Case::new(&name);
            assert_eq!(digest(&case.merged(case.merge, case.outputs)), expected, "{name}");
            assert_eq!(digest(&case.merged(case.merge, 7)), expected, "{name} in pieces");

            // The defects of the largest products would show in the smaller ones, too.
            if case.outputs * case.inputs * case.merge.rank > 20 << 20 {
                continue;
            }
            let mutant = |change: fn(&mut Case)| {
                let mut mutant = Case::new(&name);
                change(&mut mutant);
                digest(&mutant.merged(mutant.merge, mutant.outputs))
            };
            for (defect, digest) in [
                ("no scale", mutant(|case| case.merge.scale = 1.0)),
                ("scale of rsLoRA", mutant(|case| case.merge.scale = 3.0 / (case.merge.rank as f64).sqrt())),
                ("scale before the product", mutant(scale_before)),
                ("ranks in reverse", mutant(reverse_ranks)),
                ("negative", mutant(|case| case.merge.scale = -case.merge.scale)),
            ] {
                // These change nothing, or not always, at rank 1, 3, 4 and 64.
                let is_same = match defect {
                    "scale of rsLoRA" | "ranks in reverse" => case.merge.rank == 1,
                    "scale before the product" => case.merge.scale.log2().fract() == 0.0,
                    _ => false,
                };
                assert!(is_same || digest != expected, "{name}: {defect}");
            }
        }
    }

    fn scale_before(case: &mut Case) {
        let scale = case.merge.scale as f32;
        case.b.iter_mut().for_each(|value| *value *= scale);
        case.merge.scale = 1.0;
    }

    fn reverse_ranks(case: &mut Case) {
        let rank = case.merge.rank;
        case.b.chunks_mut(rank).for_each(|row| row.reverse());
        case.a = case.a.chunks(case.inputs).rev().flatten().copied().collect();
    }

    /// Factors in mlx-lm's order of axes give the same weight.
    #[test]
    fn transposed_factors() {
        let mut case = Case::new("768 512 64 lora");
        let merged = case.merged(case.merge, 100);
        let rank = case.merge.rank;
        case.a = transposed(&case.a, case.inputs);
        case.b = transposed(&case.b, rank);
        assert_ne!(case.merged(case.merge, 100), merged);
        assert_eq!(case.merged(MergeLora { is_transposed: true, ..case.merge }, 100), merged);
    }
}
