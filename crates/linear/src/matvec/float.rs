//! Weights of floats: the words of several rows with the same activations.

// Only constant indices keep the sums in registers.
#![allow(clippy::needless_range_loop)]

use std::marker::PhantomData;

use pulp::Simd;

use super::codes::Codes;
use super::row::{add_block, blocks, load_all, load_last};
use super::{Format, Scratch};
use crate::linear::Linear;
use crate::prepared::Pair;

/// Floats of one type.
pub(super) struct Float<C>(PhantomData<C>);

impl<C: Codes> Format for Float<C> {
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const M: usize>(
        simd: S,
        linear: &Linear,
        row: usize,
        pair: &Pair,
        _: &mut Scratch,
    ) -> [[S::f32s; M]; R] {
        let rows = linear.rows::<R>(row);
        let mut sums = [[simd.splat_f32s(0.0); M]; R];
        let (x, last) = blocks::<S, C, M>(pair, rows[0]);
        for (block, x) in x.enumerate() {
            let words = load_all::<S, R>(&rows, block);
            add_block::<S, C, R, M>(simd, &words, x, &mut sums);
        }
        if let Some((block, x)) = last {
            let words = load_last::<S, R>(&rows, block);
            add_block::<S, C, R, M>(simd, &words, x, &mut sums);
        }
        sums
    }
}
