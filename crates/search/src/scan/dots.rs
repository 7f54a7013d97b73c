//! Dot products of rows with queries in f32: a block of rows is read from memory once for all queries.

// Only constant indices keep the sums in registers.
#![allow(clippy::needless_range_loop)]

use pulp::Simd;

use super::isa::{Isa, Kernel, mul_add};

/// The most rows of a block.
pub(crate) const BLOCK: usize = 128;

/// The dot products of `rows` with `queries`.
pub(crate) struct Dots<'a> {
    /// At most [`BLOCK`] rows of `dim` values.
    pub(crate) rows: &'a [&'a [f32]],
    /// The queries, `dim` values each, one after the other.
    pub(crate) queries: &'a [f32],
    pub(crate) dim: usize,
    /// The results: for each query [`BLOCK`] values, of which the first belong to the rows.
    pub(crate) output: &'a mut [f32],
}

/// The number of roundings of a sum of products of `dim` values, at most: additions along a row, then of the lanes of a
/// register in any order, and of the product where it is not fused.
pub(crate) fn roundings(isa: Isa, dim: usize) -> usize {
    dim.div_ceil(isa.lanes()) + isa.lanes() + 1
}

impl Kernel for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const QUERIES: usize>(self, simd: S) {
        let Dots { rows, queries, dim, output } = self;
        if dim == 0 {
            return output.fill(0.0);
        }
        let mut queries = queries.chunks_exact(dim);
        let mut output = output.chunks_exact_mut(BLOCK);
        loop {
            match queries.len() {
                0 => return,
                // More rows at once, since a query alone has few sums to add to in turn.
                1 => tiles::<S, 8, 1>(simd, rows, &mut queries, &mut output),
                2 => tiles::<S, 4, 2>(simd, rows, &mut queries, &mut output),
                3 => tiles::<S, ROWS, 3>(simd, rows, &mut queries, &mut output),
                4 => tiles::<S, ROWS, 4>(simd, rows, &mut queries, &mut output),
                _ => tiles::<S, ROWS, QUERIES>(simd, rows, &mut queries, &mut output),
            }
        }
    }
}

/// The dot products of all rows with the next `QUERIES` queries.
#[inline(always)]
fn tiles<S: Simd, const ROWS: usize, const QUERIES: usize>(
    simd: S,
    rows: &[&[f32]],
    queries: &mut std::slice::ChunksExact<'_, f32>,
    output: &mut std::slice::ChunksExactMut<'_, f32>,
) {
    let mut own: [&[f32]; QUERIES] = [&[]; QUERIES];
    let mut results: [&mut [f32]; QUERIES] = std::array::from_fn(|_| Default::default());
    for query in 0..QUERIES {
        if let (Some(values), Some(result)) = (queries.next(), output.next()) {
            (own[query], results[query]) = (values, result);
        }
    }
    let (tiles, rest) = rows.as_chunks::<ROWS>();
    for (index, tile) in tiles.iter().enumerate() {
        let sums = product::<S, ROWS, QUERIES>(simd, tile, &own);
        for query in 0..QUERIES {
            results[query][ROWS * index..][..ROWS].copy_from_slice(&sums[query]);
        }
    }
    for (index, row) in rest.iter().enumerate() {
        let sums = product::<S, 1, QUERIES>(simd, &[row], &own);
        for query in 0..QUERIES {
            results[query][ROWS * tiles.len() + index] = sums[query][0];
        }
    }
}

/// The dot products of each query with each row of a tile. Each is summed in the same order, whatever the tile.
#[inline(always)]
fn product<S: Simd, const ROWS: usize, const QUERIES: usize>(
    simd: S,
    rows: &[&[f32]; ROWS],
    queries: &[&[f32]; QUERIES],
) -> [[f32; ROWS]; QUERIES] {
    let mut sums = [[simd.splat_f32s(0.0); ROWS]; QUERIES];
    let (mut row_vectors, mut row_rests): ([&[S::f32s]; ROWS], [&[f32]; ROWS]) = ([&[]; ROWS], [&[]; ROWS]);
    let (mut vectors, mut rests): ([&[S::f32s]; QUERIES], [&[f32]; QUERIES]) = ([&[]; QUERIES], [&[]; QUERIES]);
    let count = queries[0].len() / S::F32_LANES;
    for row in 0..ROWS {
        let (head, rest) = S::as_simd_f32s(rows[row]);
        (row_vectors[row], row_rests[row]) = (&head[..count], rest);
    }
    for query in 0..QUERIES {
        let (head, rest) = S::as_simd_f32s(queries[query]);
        (vectors[query], rests[query]) = (&head[..count], rest);
    }
    for step in 0..count {
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
    let mut results = [[0.0; ROWS]; QUERIES];
    for query in 0..QUERIES {
        for row in 0..ROWS {
            results[query][row] = simd.reduce_sum_f32s(sums[query][row]);
        }
    }
    results
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
                isa.run(Dots { rows: &row_slices, queries: &vectors, dim, output: &mut output });
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
