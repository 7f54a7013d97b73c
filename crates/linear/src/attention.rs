//! Attention of single queries over a cache of keys and values in f16 or f32.

use half::f16;
use mert_simd::{Isa, Kernel, mul_add};
use pulp::Simd;

use crate::softmax::exponentials_with;
use crate::unroll::unroll;
use crate::vector::{MAX_LANES, f16_lanes, load_floats};

/// Numbers of a cache.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// binary32.
    F32(&'a [f32]),
    /// binary16.
    F16(&'a [f16]),
}

/// Head vectors in a cache: vector i is `values[i·stride..][..width]`.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// All numbers, from the first one of the first vector on.
    pub values: Values<'a>,
    /// The distance between vectors.
    pub stride: usize,
    /// Numbers of a vector.
    pub width: usize,
}

/// The keys and values of a head that queries attend to.
#[derive(Debug, Clone, Copy)]
pub struct Attended<'a> {
    /// The keys.
    pub keys: Rows<'a>,
    /// The values.
    pub values: Rows<'a>,
    /// The number of keys and values, from the first, that the queries see.
    pub count: usize,
    /// The factor of the products of queries and keys, 1/√width as a rule.
    pub scale: f32,
    /// The factor of the result.
    pub factor: f32,
}

impl Attended<'_> {
    /// out `(queries, width)` += factor · softmax(scale · queries · keysᵀ) · values for queries `(queries, width)`. No keys add
    /// nothing. Two queries share a pass over the cache; the result of each does not depend on the others.
    ///
    /// `scores` is memory that is reused.
    ///
    /// # Panics
    /// If the queries are not whole rows as wide as the keys, `out` is not as many rows as wide as the values, or the cache has
    /// fewer keys or values than the queries see.
    pub fn add(&self, isa: Isa, queries: &[f32], scores: &mut Vec<f32>, out: &mut [f32]) {
        let Attended { keys, values, count, .. } = *self;
        keys.check(queries.len(), count);
        values.check(out.len(), count);
        assert_eq!(queries.len() / keys.width, out.len() / values.width, "queries beside results");
        if count > 0 {
            scores.resize(QUERIES * count, 0.0);
            isa.run_dots(Add { attended: self, queries, scores, out });
        }
    }
}

impl Rows<'_> {
    fn check(&self, numbers: usize, count: usize) {
        assert!(numbers.is_multiple_of(self.width), "{numbers} numbers, not whole rows of {}", self.width);
        let len = match self.values {
            Values::F32(values) => values.len(),
            Values::F16(values) => values.len(),
        };
        let needed = count.checked_sub(1).map_or(0, |last| last * self.stride + self.width);
        assert!(needed <= len, "a cache of {len} numbers, expected {needed} for {count} vectors");
    }
}

/// Queries that share a pass over the cache.
const QUERIES: usize = 2;

/// Registers of a vector that are computed together.
const PARTS: usize = 4;

struct Add<'a> {
    attended: &'a Attended<'a>,
    queries: &'a [f32],
    scores: &'a mut [f32],
    out: &'a mut [f32],
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Add { attended, queries, scores, out } = self;
        let (keys, values) = (attended.keys.width, attended.values.width);
        for (queries, out) in queries.chunks(QUERIES * keys).zip(out.chunks_mut(QUERIES * values)) {
            match queries.len() == QUERIES * keys {
                true => attended.add_for::<S, QUERIES>(simd, queries, scores, out),
                false => attended.add_for::<S, 1>(simd, queries, scores, out),
            }
        }
    }
}

impl Attended<'_> {
    /// The attention of `M` queries.
    #[inline(always)]
    fn add_for<S: Simd, const M: usize>(&self, simd: S, queries: &[f32], scores: &mut [f32], out: &mut [f32]) {
        let Attended { keys, values, count, scale, factor } = *self;
        let scores = &mut scores[..M * count];
        match keys.values {
            Values::F32(numbers) => score::<S, f32, M>(simd, queries, numbers, keys.stride, scale, scores),
            Values::F16(numbers) => score::<S, f16, M>(simd, queries, numbers, keys.stride, scale, scores),
        }
        let mut factors = [0.0; M];
        for (factor_of, scores) in factors.iter_mut().zip(scores.chunks_exact_mut(count)) {
            *factor_of = factor / exponentials_with(simd, scores);
        }
        match values.values {
            Values::F32(numbers) => add_rows::<S, f32, M>(simd, scores, numbers, values.stride, factors, out),
            Values::F16(numbers) => add_rows::<S, f16, M>(simd, scores, numbers, values.stride, factors, out),
        }
    }
}

/// scores `(M, count)` = scale · queries `(M, width)` · keysᵀ, for a block of registers of all keys at a time.
#[inline(always)]
fn score<S: Simd, T: Number, const M: usize>(
    simd: S,
    queries: &[f32],
    keys: &[T],
    stride: usize,
    scale: f32,
    scores: &mut [f32],
) {
    let (width, count) = (queries.len() / M, scores.len() / M);
    let block = PARTS * S::F32_LANES;
    for start in (0..width).step_by(block) {
        let len = block.min(width - start);
        let mut query = [[simd.splat_f32s(0.0); PARTS]; M];
        for (query, row) in query.iter_mut().zip(queries.chunks_exact(width)) {
            *query = load_block(simd, &row[start..start + len]);
        }
        let is_first = start == 0;
        for (i, key) in keys[start..].chunks(stride).take(count).enumerate() {
            let key = load_block(simd, &key[..len]);
            unroll!(m < M => {
                let mut products = [simd.mul_f32s(query[m][0], key[0]), simd.mul_f32s(query[m][1], key[1])];
                products = [
                    mul_add(simd, query[m][2], key[2], products[0]),
                    mul_add(simd, query[m][3], key[3], products[1]),
                ];
                let sum = scale * simd.reduce_sum_f32s(simd.add_f32s(products[0], products[1]));
                let score = &mut scores[m * count + i];
                *score = if is_first { sum } else { *score + sum };
            }, 0 1);
        }
    }
}

/// out `(M, width)` += factors · weights `(M, count)` · values, for a block of registers of all values at a time.
#[inline(always)]
fn add_rows<S: Simd, T: Number, const M: usize>(
    simd: S,
    weights: &[f32],
    values: &[T],
    stride: usize,
    factors: [f32; M],
    out: &mut [f32],
) {
    let (lanes, width, count) = (S::F32_LANES, out.len() / M, weights.len() / M);
    for start in (0..width).step_by(PARTS * lanes) {
        let len = (PARTS * lanes).min(width - start);
        let mut sums = [[simd.splat_f32s(0.0); PARTS]; M];
        for (i, value) in values[start..].chunks(stride).take(count).enumerate() {
            let value = load_block(simd, &value[..len]);
            unroll!(m < M => {
                let weight = simd.splat_f32s(weights[m * count + i]);
                unroll!(part < PARTS => {
                    sums[m][part] = mul_add(simd, weight, value[part], sums[m][part]);
                }, 0 1 2 3);
            }, 0 1);
        }
        for (m, sums) in sums.iter().enumerate() {
            let out = &mut out[m * width + start..][..len];
            for (out, sum) in out.chunks_mut(lanes).zip(sums) {
                let sum: &[f32] = bytemuck::cast_slice(std::slice::from_ref(sum));
                out.iter_mut().zip(sum).for_each(|(out, sum)| *out += factors[m] * sum);
            }
        }
    }
}

/// The registers of a block of numbers, zero beyond its end.
#[inline(always)]
fn load_block<S: Simd, T: Number>(simd: S, numbers: &[T]) -> [S::f32s; PARTS] {
    let lanes = S::F32_LANES;
    let mut registers = [simd.splat_f32s(0.0); PARTS];
    match numbers.len() == PARTS * lanes {
        // Constant indices keep the numbers in registers.
        true => {
            unroll!(part < PARTS => {
                registers[part] = T::load(simd, &numbers[part * lanes..(part + 1) * lanes]);
            }, 0 1 2 3);
        }
        false => {
            for (register, numbers) in registers.iter_mut().zip(numbers.chunks(lanes)) {
                *register = T::load(simd, numbers);
            }
        }
    }
    registers
}

/// A type of number in a cache.
trait Number: Copy {
    /// A register of the first numbers, the lanes beyond their end zero.
    fn load<S: Simd>(simd: S, numbers: &[Self]) -> S::f32s;
}

impl Number for f32 {
    #[inline(always)]
    fn load<S: Simd>(_: S, numbers: &[f32]) -> S::f32s {
        load_floats::<S>(numbers)
    }
}

impl Number for f16 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, numbers: &[f16]) -> S::f32s {
        let halves: &[u16] = bytemuck::cast_slice(numbers);
        let mut padded = [0; MAX_LANES];
        match halves.get(..S::F32_LANES) {
            // A constant length is a move of a register.
            Some(halves) => padded[..S::F32_LANES].copy_from_slice(halves),
            None => padded[..halves.len()].copy_from_slice(halves),
        }
        f16_lanes(simd, &padded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed * 104_729) % 65_521 % 401) as f32 / 200.0 - 1.0).collect()
    }

    /// softmax(scale · q · Kᵀ) · V in f64.
    fn expected(query: &[f32], keys: &[f32], values: &[f32], stride: usize, count: usize, scale: f64) -> Vec<f64> {
        let width = query.len();
        let row = |all: &[f32], i: usize| all[i * stride..][..width].iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let weights: Vec<f64> = (0..count)
            .map(|i| (scale * row(keys, i).iter().zip(query).map(|(k, &q)| k * f64::from(q)).sum::<f64>()).exp())
            .collect();
        let sum: f64 = weights.iter().sum();
        (0..width).map(|c| (0..count).map(|i| weights[i] / sum * row(values, i)[c]).sum()).collect()
    }

    #[test]
    fn agrees_with_f64_for_both_types_of_a_cache() {
        for isa in Isa::available() {
            for (width, stride, count) in
                [(64, 64, 250), (64, 128, 3), (16, 64, 7), (7, 9, 17), (130, 130, 5), (64, 64, 1)]
            {
                let queries = numbers(3 * width, 1);
                let [keys, values] =
                    [2, 3].map(|seed| numbers(stride * count, seed).into_iter().map(f16::from_f32).collect::<Vec<_>>());
                let [wide_keys, wide_values] =
                    [&keys, &values].map(|all| all.iter().map(|x| x.to_f32()).collect::<Vec<_>>());
                let expected_of = |query: &[f32]| expected(query, &wide_keys, &wide_values, stride, count, 0.7);
                let expected: Vec<f64> = queries.chunks_exact(width).flat_map(expected_of).collect();
                let caches =
                    [(Values::F16(&keys), Values::F16(&values)), (Values::F32(&wide_keys), Values::F32(&wide_values))];
                for (keys, values) in caches {
                    let rows = |values| Rows { values, stride, width };
                    let attended = Attended { keys: rows(keys), values: rows(values), count, scale: 0.7, factor: -2.0 };
                    let (mut scores, mut out) = (Vec::new(), vec![1.0; 3 * width]);
                    attended.add(isa, &queries, &mut scores, &mut out);
                    for (&found, expected) in out.iter().zip(&expected) {
                        // Scores are below 50, so that their exponentials keep five digits.
                        assert!((f64::from(found) - (1.0 - 2.0 * expected)).abs() < 4e-5, "{isa:?} {width} {count}");
                    }
                    for (query, out) in queries.chunks_exact(width).zip(out.chunks_exact(width)) {
                        let mut alone = vec![1.0; width];
                        attended.add(isa, query, &mut scores, &mut alone);
                        assert_eq!(alone, out, "{isa:?} {width} {count}: a query alone and among others");
                    }
                }
            }
        }
    }

    #[test]
    fn no_keys_add_nothing() {
        let empty = Rows { values: Values::F16(&[]), stride: 4, width: 4 };
        let attended = Attended { keys: empty, values: empty, count: 0, scale: 1.0, factor: 1.0 };
        let mut out = [1.0; 4];
        attended.add(crate::isa(), &[1.0; 4], &mut Vec::new(), &mut out);
        assert_eq!(out, [1.0; 4]);
    }
}
