//! The softmax over blocks of keys, rescaled as its maximum grows
//! ([Milakov and Gimelshein 2018](https://arxiv.org/abs/1805.02867)).

use mert_simd::LINE;
use pulp::Simd;

use super::math::{Accuracy, exp_scaled, short_exp_scaled};

/// A score so low that its key gets no weight, and that keeps the arithmetic finite.
const MASKED: f32 = -1e30;

/// Masks the keys from `keys` on, which only fill up the last panel.
pub(super) fn mask<const ROWS: usize>(groups: &mut [[[f32; LINE]; ROWS]], keys: usize) {
    for key in keys..groups.len() * LINE {
        for row in &mut groups[key / LINE] {
            row[key % LINE] = MASKED;
        }
    }
}

/// The softmax of one query over the keys so far: the largest score, and the sum of exp(scale · (score − max)).
#[derive(Debug, Clone, Copy)]
pub(super) struct RunningSoftmax {
    pub(super) max: f32,
    pub(super) sum: f32,
}

impl RunningSoftmax {
    /// The softmax over no keys.
    pub(super) const START: RunningSoftmax = RunningSoftmax { max: MASKED, sum: 0.0 };
}

/// Replaces the scores of a block of keys by exp(scale · (score − max)), in `N` rows of a tile from row `first` on:
/// several at a time, because each row is one chain of maxima and one of sums. Returns the factor for each row's
/// earlier sums, which were taken with a smaller maximum.
#[inline(always)]
pub(super) fn exponentials<S: Simd, const ROWS: usize, const N: usize>(
    simd: S,
    rows: &mut [RunningSoftmax; N],
    groups: &mut [[[f32; LINE]; ROWS]],
    first: usize,
    scale: f32,
    accuracy: Accuracy,
) -> [f32; N] {
    let mut maxima = [simd.splat_f32s(MASKED); N];
    for group in groups.iter() {
        for i in 0..N {
            for &score in S::as_simd_f32s(&group[first + i]).0 {
                maxima[i] = simd.max_f32s(maxima[i], score);
            }
        }
    }
    let mut corrections = [1.0; N];
    for i in 0..N {
        let max = simd.reduce_max_f32s(maxima[i]);
        if max > rows[i].max {
            corrections[i] = ((rows[i].max - max) * scale).exp();
            rows[i].max = max;
        }
        maxima[i] = simd.splat_f32s(rows[i].max);
    }
    let mut sums = [simd.splat_f32s(0.0); N];
    for group in groups.iter_mut() {
        for i in 0..N {
            for score in S::as_mut_simd_f32s(&mut group[first + i]).0 {
                let difference = simd.sub_f32s(*score, maxima[i]);
                *score = match accuracy {
                    Accuracy::F32 => exp_scaled(simd, difference, scale),
                    Accuracy::Bf16 => short_exp_scaled(simd, difference, scale),
                };
                sums[i] = simd.add_f32s(sums[i], *score);
            }
        }
    }
    for i in 0..N {
        rows[i].sum = rows[i].sum * corrections[i] + simd.reduce_sum_f32s(sums[i]);
    }
    corrections
}
