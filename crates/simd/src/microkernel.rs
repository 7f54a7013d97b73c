//! The innermost product: one tile of the result, all of it in registers.

// Only constant indices keep the sums in registers.
#![allow(clippy::needless_range_loop)]

use pulp::Simd;

use crate::buffer::LINE;
use crate::isa::mul_add;

/// `LINE` steps along the inner dimension for each row of a tile. Packing a group copies whole lines and transposes
/// nothing, and all elements of a group lie at constant offsets from its start.
pub type LeftGroup<const ROWS: usize> = [[f32; LINE]; ROWS];

/// `left · right` for one tile: `ROWS` rows by `VECTORS` registers of columns.
///
/// `left` holds the tile's rows in groups of `LINE` inner steps; `right` one row of
/// `VECTORS · F32_LANES` columns for each inner step. Each element of the result is summed in the order
/// of the inner dimension, whatever the tile that it lies in.
///
/// `ahead` is prefetched into the second-level cache, a little with each group: all at once it would hold up the loads
/// of the product itself.
#[inline(always)]
pub fn multiply<S: Simd, const ROWS: usize, const VECTORS: usize>(
    simd: S,
    left: &[LeftGroup<ROWS>],
    right: &[f32],
    ahead: &[u8],
) -> [[S::f32s; VECTORS]; ROWS] {
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
    let mut ahead = parts(ahead, left.len());
    let (right, _) = S::as_simd_f32s(right);
    let (right, _) = right.as_chunks::<VECTORS>();
    let (right, _) = right.as_chunks::<LINE>();
    for (left, right) in left.iter().zip(right) {
        prefetch_part(ahead.next());
        for step in 0..LINE {
            for row in 0..ROWS {
                let x = simd.splat_f32s(left[row][step]);
                for vector in 0..VECTORS {
                    sums[row][vector] = mul_add(simd, x, right[step][vector], sums[row][vector]);
                }
            }
        }
    }
    sums
}

const LINE_BYTES: usize = size_of::<[f32; LINE]>();

/// `ahead` in as many parts as a left operand has groups, each to be prefetched with one of them.
#[inline(always)]
pub(crate) fn parts(ahead: &[u8], groups: usize) -> std::slice::Chunks<'_, u8> {
    ahead.chunks(ahead.len().div_ceil(groups.max(1)).next_multiple_of(LINE_BYTES).max(1))
}

/// Prefetches a part into the second-level cache.
#[inline(always)]
pub(crate) fn prefetch_part(part: Option<&[u8]>) {
    part.unwrap_or_default().chunks(LINE_BYTES).for_each(prefetch);
}

/// Prefetches a cache line into the second-level cache.
#[inline(always)]
fn prefetch(line: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, without an effect on memory, whatever the address.
    #[allow(unsafe_code)]
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// The groups of a tile of the left operand.
#[inline(always)]
pub fn left_groups<const ROWS: usize>(tile: &[f32]) -> &[LeftGroup<ROWS>] {
    tile.as_chunks::<LINE>().0.as_chunks::<ROWS>().0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Isa, Kernel};
    use crate::tile::TileShape;

    /// One product of random values against f64.
    struct Check {
        steps: usize,
    }

    impl Kernel for Check {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
            let columns = VECTORS * S::F32_LANES;
            let value = |i: usize| ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0;
            let left: Vec<f32> = (0..ROWS * self.steps).map(value).collect();
            let right: Vec<f32> = (0..columns * self.steps).map(|i| value(i + 500)).collect();
            let tile = multiply::<S, ROWS, VECTORS>(simd, left_groups(&left), &right, &[]);
            for (row, sums) in tile.iter().enumerate() {
                let sums: Vec<f32> = sums
                    .iter()
                    .flat_map(|v| bytemuck::bytes_of(v).chunks(4).map(bytemuck::pod_read_unaligned))
                    .collect();
                for (column, &got) in sums.iter().enumerate() {
                    let terms = (0..self.steps).map(|k| {
                        let a = left[(k / LINE * ROWS + row) * LINE + k % LINE];
                        f64::from(a) * f64::from(right[k * columns + column])
                    });
                    let (expected, size) = terms.fold((0.0, 0.0), |(sum, size), t| (sum + t, size + f64::abs(t)));
                    // Each of the additions rounds to half a unit of the running sum at most.
                    let bound = size * self.steps as f64 * f64::from(f32::EPSILON) / 2.0;
                    assert!((f64::from(got) - expected).abs() <= bound, "row {row} column {column}");
                }
            }
        }
    }

    #[test]
    fn agrees_with_f64_on_every_instruction_set() {
        for isa in Isa::available() {
            for shape in [TileShape::Square, TileShape::Wide] {
                for steps in [0, 16, 64, 768] {
                    isa.run(shape, Check { steps });
                }
            }
        }
    }
}
