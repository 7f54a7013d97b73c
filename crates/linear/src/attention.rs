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

/// out `(width,)` += factor · softmax(scale · query · keysᵀ) · values, over the first `scores.len()` keys and values. The
/// scores are left as exp(score − max). No keys add nothing.
///
/// # Panics
/// If `query` or `out` are not as wide as the keys or values, or the cache has fewer of them than there are scores.
#[allow(clippy::too_many_arguments)]
pub fn attend(
    isa: Isa,
    query: &[f32],
    keys: Rows<'_>,
    values: Rows<'_>,
    scale: f32,
    factor: f32,
    scores: &mut [f32],
    out: &mut [f32],
) {
    keys.check(query.len(), scores.len());
    values.check(out.len(), scores.len());
    if !scores.is_empty() {
        isa.run_dots(Attend { query, keys, values, scale, factor, scores, out });
    }
}

/// scores\[i\] = scale · query · keys\[i\].
///
/// # Panics
/// If `query` is not as wide as the keys, or there are fewer of them than scores.
pub fn scores(isa: Isa, query: &[f32], keys: Rows<'_>, scale: f32, scores: &mut [f32]) {
    keys.check(query.len(), scores.len());
    isa.run_dots(Scores { query, keys, scale, scores });
}

/// out `(width,)` += Σᵢ factor · weights\[i\] · values\[i\].
///
/// # Panics
/// If `out` is not as wide as the values, or there are fewer of them than weights.
pub fn add_weighted(isa: Isa, weights: &[f32], values: Rows<'_>, factor: f32, out: &mut [f32]) {
    values.check(out.len(), weights.len());
    isa.run_dots(AddWeighted { weights, values, factor, out });
}

impl Rows<'_> {
    fn check(&self, width: usize, count: usize) {
        assert_eq!(width, self.width, "width of a vector beside the cache's");
        let len = match self.values {
            Values::F32(values) => values.len(),
            Values::F16(values) => values.len(),
        };
        let needed = count.checked_sub(1).map_or(0, |last| last * self.stride + self.width);
        assert!(needed <= len, "a cache of {len} numbers, expected {needed} for {count} vectors");
    }
}

struct Attend<'a, 'b> {
    query: &'a [f32],
    keys: Rows<'a>,
    values: Rows<'a>,
    scale: f32,
    factor: f32,
    scores: &'b mut [f32],
    out: &'b mut [f32],
}

impl Kernel for Attend<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Attend { query, keys, values, scale, factor, scores, out } = self;
        Scores { query, keys, scale, scores: &mut *scores }.run::<S, ROWS, VECTORS>(simd);
        let sum = exponentials_with(simd, scores);
        AddWeighted { weights: scores, values, factor: factor / sum, out }.run::<S, ROWS, VECTORS>(simd);
    }
}

/// Registers of a vector that are computed together.
const PARTS: usize = 4;

struct Scores<'a, 'b> {
    query: &'a [f32],
    keys: Rows<'a>,
    scale: f32,
    scores: &'b mut [f32],
}

impl Kernel for Scores<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let Scores { query, keys, scale, scores } = self;
        match keys.values {
            Values::F32(values) => score(simd, query, values, keys.stride, scale, scores),
            Values::F16(values) => score(simd, query, values, keys.stride, scale, scores),
        }
    }
}

#[inline(always)]
fn score<S: Simd, T: Number>(simd: S, query: &[f32], keys: &[T], stride: usize, scale: f32, scores: &mut [f32]) {
    let lanes = S::F32_LANES;
    for (i, score) in scores.iter_mut().enumerate() {
        let key = &keys[i * stride..][..query.len()];
        let mut sums = [simd.splat_f32s(0.0); PARTS];
        for (query, key) in query.chunks(PARTS * lanes).zip(key.chunks(PARTS * lanes)) {
            match query.len() == PARTS * lanes && key.len() == query.len() {
                // Constant indices keep the sums in registers.
                true => {
                    unroll!(part < PARTS => {
                    let range = part * lanes..(part + 1) * lanes;
                    let query = load_floats::<S>(&query[range.clone()]);
                    sums[part] = mul_add(simd, query, T::load(simd, &key[range]), sums[part]);
                }, 0 1 2 3);
                }
                false => {
                    for (sum, (query, key)) in sums.iter_mut().zip(query.chunks(lanes).zip(key.chunks(lanes))) {
                        *sum = mul_add(simd, load_floats::<S>(query), T::load(simd, key), *sum);
                    }
                }
            }
        }
        let pairs = [simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3])];
        *score = scale * simd.reduce_sum_f32s(simd.add_f32s(pairs[0], pairs[1]));
    }
}

struct AddWeighted<'a, 'b> {
    weights: &'a [f32],
    values: Rows<'a>,
    factor: f32,
    out: &'b mut [f32],
}

impl Kernel for AddWeighted<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let AddWeighted { weights, values: rows, factor, out } = self;
        match rows.values {
            Values::F32(values) => add_rows(simd, weights, values, rows.stride, factor, out),
            Values::F16(values) => add_rows(simd, weights, values, rows.stride, factor, out),
        }
    }
}

#[inline(always)]
fn add_rows<S: Simd, T: Number>(simd: S, weights: &[f32], values: &[T], stride: usize, factor: f32, out: &mut [f32]) {
    let lanes = S::F32_LANES;
    for (block, out) in out.chunks_mut(PARTS * lanes).enumerate() {
        let mut sums = [simd.splat_f32s(0.0); PARTS];
        let value = |i: usize| &values[i * stride + block * PARTS * lanes..][..out.len()];
        match out.len() == PARTS * lanes {
            // Constant indices keep the sums in registers.
            true => {
                for (i, &weight) in weights.iter().enumerate() {
                    let (value, weight) = (value(i), simd.splat_f32s(weight));
                    unroll!(part < PARTS => {
                        let value = T::load(simd, &value[part * lanes..(part + 1) * lanes]);
                        sums[part] = mul_add(simd, weight, value, sums[part]);
                    }, 0 1 2 3);
                }
            }
            false => {
                for (i, &weight) in weights.iter().enumerate() {
                    let (value, weight) = (value(i), simd.splat_f32s(weight));
                    for (sum, value) in sums.iter_mut().zip(value.chunks(lanes)) {
                        *sum = mul_add(simd, weight, T::load(simd, value), *sum);
                    }
                }
            }
        }
        for (out, sum) in out.chunks_mut(lanes).zip(&sums) {
            let sum: &[f32] = bytemuck::cast_slice(std::slice::from_ref(sum));
            out.iter_mut().zip(sum).for_each(|(out, sum)| *out += factor * sum);
        }
    }
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
        match halves.first_chunk() {
            Some(halves) => f16_lanes(simd, halves),
            None => {
                let mut padded = [0; MAX_LANES];
                padded[..halves.len()].copy_from_slice(halves);
                f16_lanes(simd, &padded)
            }
        }
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
                let query = numbers(width, 1);
                let [keys, values] =
                    [2, 3].map(|seed| numbers(stride * count, seed).into_iter().map(f16::from_f32).collect::<Vec<_>>());
                let [wide_keys, wide_values] =
                    [&keys, &values].map(|all| all.iter().map(|x| x.to_f32()).collect::<Vec<_>>());
                let expected = expected(&query, &wide_keys, &wide_values, stride, count, 0.7);
                let caches =
                    [(Values::F16(&keys), Values::F16(&values)), (Values::F32(&wide_keys), Values::F32(&wide_values))];
                for (keys, values) in caches {
                    let rows = |values| Rows { values, stride, width };
                    let (mut scores, mut out) = (vec![0.0; count], vec![1.0; width]);
                    attend(isa, &query, rows(keys), rows(values), 0.7, -2.0, &mut scores, &mut out);
                    for (&found, expected) in out.iter().zip(&expected) {
                        // Scores are below 50, so that their exponentials keep five digits.
                        assert!((f64::from(found) - (1.0 - 2.0 * expected)).abs() < 4e-5, "{isa:?} {width} {count}");
                    }
                }
            }
        }
    }

    #[test]
    fn no_keys_add_nothing() {
        let empty = Rows { values: Values::F16(&[]), stride: 4, width: 4 };
        let mut out = [1.0; 4];
        attend(crate::isa(), &[1.0; 4], empty, empty, 1.0, 1.0, &mut [], &mut out);
        assert_eq!(out, [1.0; 4]);
    }
}
