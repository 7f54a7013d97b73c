//! Dot products of rows with queries in f32: a block of rows is read from memory once for all queries.

// Only constant indices keep the sums in registers.
#![allow(clippy::needless_range_loop)]

use mert_simd::{Isa, Kernel, mul_add};
use pulp::Simd;

/// The most rows of a block.
pub(crate) const BLOCK: usize = 128;

/// The dot products of `rows` with `queries`.
pub(crate) struct Dots<'a> {
    /// At most [`BLOCK`] rows of `dim` values.
    pub(crate) rows: &'a [&'a [f32]],
    /// The queries, `dim` values each, one after the other.
    pub(crate) queries: &'a [f32],
    pub(crate) dim: usize,
    /// The results: for each query [`BLOCK`] values, of which the first belong to the rows; the last query may have fewer.
    pub(crate) output: &'a mut [f32],
}

/// The number of roundings of a sum of products of `dim` values, at most: additions along a row, then of the lanes of a
/// register in any order, and of the product where it is not fused.
pub(crate) fn roundings(isa: Isa, dim: usize) -> usize {
    dim.div_ceil(isa.lanes()) + isa.lanes() + 2
}

impl Kernel for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const QUERIES: usize>(self, simd: S) {
        let Dots { rows, queries, dim, output } = self;
        if dim == 0 {
            return output.fill(0.0);
        }
        match queries.len() / dim {
            1 => single::<S>(simd, rows, queries, output),
            _ => tiles::<S, ROWS, QUERIES>(simd, rows, queries, dim, output),
        }
    }
}

/// The vectors that are added to sums of their own where a row is multiplied with a single query.
const SPLIT: usize = 4;

/// The dot products of one query with all rows, one row after the other, as they lie in memory.
#[inline(always)]
fn single<S: Simd>(simd: S, rows: &[&[f32]], query: &[f32], output: &mut [f32]) {
    let (factors, factors_rest) = S::as_simd_f32s(query);
    let (factors, factors_last) = factors.as_chunks::<SPLIT>();
    for index in 0..rows.len() {
        let (values, rest) = S::as_simd_f32s(rows[index]);
        let (values, last) = values.as_chunks::<SPLIT>();
        let mut sums = [simd.splat_f32s(0.0); SPLIT];
        for (values, factors) in values.iter().zip(factors) {
            for vector in 0..SPLIT {
                sums[vector] = mul_add(simd, values[vector], factors[vector], sums[vector]);
            }
        }
        for (vector, (&value, &factor)) in last.iter().zip(factors_last).enumerate() {
            sums[vector] = mul_add(simd, value, factor, sums[vector]);
        }
        if !rest.is_empty() {
            let (rest, factor) = (simd.partial_load_f32s(rest), simd.partial_load_f32s(factors_rest));
            sums[SPLIT - 1] = mul_add(simd, rest, factor, sums[SPLIT - 1]);
        }
        let sum = simd.add_f32s(simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3]));
        output[index] = simd.reduce_sum_f32s(sum);
    }
}

/// The dot products of all queries with tiles of `ROWS` rows, which stay in the first-level cache meanwhile.
#[inline(always)]
fn tiles<S: Simd, const ROWS: usize, const QUERIES: usize>(
    simd: S,
    rows: &[&[f32]],
    queries: &[f32],
    dim: usize,
    output: &mut [f32],
) {
    let (tiles, rest) = rows.as_chunks::<ROWS>();
    for (index, tile) in tiles.iter().enumerate() {
        // After the last tile there is nothing to fetch: its own rows are in the cache.
        let ahead = tiles.get(index + 1).unwrap_or(tile);
        all_queries::<S, ROWS, QUERIES>(simd, tile, ahead, queries, dim, output, ROWS * index);
    }
    for (index, row) in rest.iter().enumerate() {
        let next = rest.get(index + 1).unwrap_or(row);
        all_queries::<S, 1, QUERIES>(simd, &[row], &[next], queries, dim, output, ROWS * tiles.len() + index);
    }
}

/// The dot products of all queries with the rows of a tile, the first of which is the row `first` of the block. The rows
/// `ahead` are fetched into the cache, an equal share with each group of queries: all at once they would hold it up.
#[inline(always)]
fn all_queries<S: Simd, const ROWS: usize, const QUERIES: usize>(
    simd: S,
    rows: &[&[f32]; ROWS],
    ahead: &[&[f32]; ROWS],
    queries: &[f32],
    dim: usize,
    output: &mut [f32],
    first: usize,
) {
    let count = queries.len().div_ceil(QUERIES * dim);
    let share = ROWS.div_ceil(count);
    let groups = queries.chunks(QUERIES * dim).zip(output.chunks_mut(QUERIES * BLOCK)).enumerate();
    for (index, (group, result)) in groups {
        let from = (index * share).min(ROWS);
        let ahead = &ahead[from..(from + share).min(ROWS)];
        match group.len() / dim {
            1 => product::<S, ROWS, 1>(simd, rows, ahead, group, dim, result, first),
            2 => product::<S, ROWS, 2>(simd, rows, ahead, group, dim, result, first),
            3 => product::<S, ROWS, 3>(simd, rows, ahead, group, dim, result, first),
            4 => product::<S, ROWS, 4>(simd, rows, ahead, group, dim, result, first),
            _ => product::<S, ROWS, QUERIES>(simd, rows, ahead, group, dim, result, first),
        }
    }
}

/// The dot products of `QUERIES` queries with the rows of a tile, while the rows `ahead` are fetched.
#[inline(always)]
fn product<S: Simd, const ROWS: usize, const QUERIES: usize>(
    simd: S,
    rows: &[&[f32]; ROWS],
    ahead: &[&[f32]],
    queries: &[f32],
    dim: usize,
    output: &mut [f32],
    first: usize,
) {
    let mut sums = [[simd.splat_f32s(0.0); ROWS]; QUERIES];
    let (mut row_vectors, mut row_rests): ([&[S::f32s]; ROWS], [&[f32]; ROWS]) = ([&[]; ROWS], [&[]; ROWS]);
    let (mut vectors, mut rests): ([&[S::f32s]; QUERIES], [&[f32]; QUERIES]) = ([&[]; QUERIES], [&[]; QUERIES]);
    let count = dim / S::F32_LANES;
    for row in 0..ROWS {
        let (head, rest) = S::as_simd_f32s(rows[row]);
        (row_vectors[row], row_rests[row]) = (&head[..count], rest);
    }
    for query in 0..QUERIES {
        let (head, rest) = S::as_simd_f32s(&queries[query * dim..][..dim]);
        (vectors[query], rests[query]) = (&head[..count], rest);
    }
    for step in 0..count {
        for row in ahead {
            fetch(&row[step * S::F32_LANES]);
        }
        let mut values = [simd.splat_f32s(0.0); ROWS];
        for row in 0..ROWS {
            values[row] = row_vectors[row][step];
        }
        for query in 0..QUERIES {
            let factor = vectors[query][step];
            for row in 0..ROWS {
                sums[query][row] = mul_add(simd, values[row], factor, sums[query][row]);
            }
        }
    }
    if !rests[0].is_empty() {
        for query in 0..QUERIES {
            let factor = simd.partial_load_f32s(rests[query]);
            for row in 0..ROWS {
                let values = simd.partial_load_f32s(row_rests[row]);
                sums[query][row] = mul_add(simd, values, factor, sums[query][row]);
            }
        }
    }
    for query in 0..QUERIES {
        let output = &mut output[query * BLOCK + first..][..ROWS];
        for row in 0..ROWS {
            output[row] = simd.reduce_sum_f32s(sums[query][row]);
        }
    }
}

/// Fetches the cache line of a value into the second-level cache.
#[inline(always)]
pub(super) fn fetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, without an effect on memory, whatever the address.
    #[allow(unsafe_code)]
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(value).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_within_their_bound_on_every_instruction_set() {
        let value = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 504.5 - 0.3;
        for isa in Isa::available() {
            for (dim, rows, queries) in [(1, 3, 1), (16, 9, 2), (37, 11, 3), (100, 8, 4), (768, 13, 8), (7, 0, 2)] {
                let matrix: Vec<f32> = (0..dim * rows).map(value).collect();
                let vectors: Vec<f32> = (0..dim * queries).map(|i| value(i + 500)).collect();
                let mut output = vec![f32::NAN; queries * BLOCK];
                let row_slices: Vec<&[f32]> = matrix.chunks_exact(dim).collect();
                isa.run_dots(Dots { rows: &row_slices, queries: &vectors, dim, output: &mut output });
                for (query, results) in vectors.chunks(dim).zip(output.chunks(BLOCK)) {
                    for (row, &result) in row_slices.iter().zip(results) {
                        let terms = row.iter().zip(query).map(|(&a, &b)| f64::from(a) * f64::from(b));
                        let (exact, size) = terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + t.abs()));
                        let bound = size * roundings(isa, dim) as f64 * f64::from(f32::EPSILON) / 2.0;
                        assert!((f64::from(result) - exact).abs() <= bound * 1.0001, "{isa:?} {dim} {result} {exact}");
                    }
                }
            }
        }
    }
}
