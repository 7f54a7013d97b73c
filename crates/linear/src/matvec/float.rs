//! Weights of floats: the words of several rows with the same activations.

// Only constant indices keep the sums in registers.
#![allow(clippy::needless_range_loop)]

use mert_simd::mul_add;
use pulp::Simd;

use super::codes::Codes;
use crate::prepared::Pair;
use crate::vector::{load_floats, load_words, prefetch, register_bytes};

/// The sums of `R` rows of the weight with `M` rows of activations, over the lanes yet to be added.
#[inline(always)]
pub(super) fn tile<S: Simd, C: Codes, const R: usize, const M: usize>(
    simd: S,
    rows: &[Row<'_>; R],
    pair: &Pair,
) -> [[S::f32s; M]; R] {
    let (lanes, bytes) = (S::F32_LANES, register_bytes::<S>());
    let mut sums = [[simd.splat_f32s(0.0); M]; R];
    for (block, x) in pair.values().chunks_exact(C::SLOTS * M * lanes).enumerate() {
        let mut words = [simd.splat_u32s(0); R];
        for r in 0..R {
            words[r] = load_words::<S>(&rows[r].words[block * bytes..]);
            prefetch(rows[r].ahead(block * bytes, bytes));
        }
        for slot in 0..C::SLOTS {
            let mut values = [simd.splat_f32s(0.0); M];
            for m in 0..M {
                values[m] = load_floats::<S>(&x[(slot * M + m) * lanes..]);
            }
            for r in 0..R {
                let weight = C::value(simd, words[r], slot);
                for m in 0..M {
                    sums[r][m] = mul_add(simd, weight, values[m], sums[r][m]);
                }
            }
        }
    }
    sums
}

/// A row of a weight, and what is read after its tile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    /// The row as it is stored.
    pub(crate) words: &'a [u8],
    /// The row one tile on, empty at the end of the weight.
    pub(crate) next: &'a [u8],
}

impl<'a> Row<'a> {
    /// The bytes of the next tile that correspond to a part of this row.
    #[inline(always)]
    pub(super) fn ahead(&self, start: usize, length: usize) -> &'a [u8] {
        self.next.get(start..start + length).unwrap_or_default()
    }
}
