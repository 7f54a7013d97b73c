//! The end of a tile: sums over the lanes, the bias, and the outputs.

use pulp::Simd;

/// The outputs of a tile.
pub(super) struct Store<'a, 'b> {
    /// One slice of outputs for each row of activations.
    pub(super) outs: &'a mut [&'b mut [f32]],
    /// The tile's first output in these slices.
    pub(super) tile: usize,
    /// The bias of all outputs of the weight, or none.
    pub(super) bias: &'a [f32],
    /// The tile's first output in the weight.
    pub(super) first: usize,
    pub(super) add: bool,
}

impl Store<'_, '_> {
    #[inline(always)]
    pub(super) fn write<S: Simd, const R: usize, const M: usize>(self, simd: S, sums: &[[S::f32s; M]; R]) {
        for (r, sums) in sums.iter().enumerate() {
            let bias = self.bias.get(self.first + r).copied().unwrap_or(0.0);
            for (out, &sum) in self.outs.iter_mut().zip(sums) {
                let value = simd.reduce_sum_f32s(sum) + bias;
                if let Some(out) = out.get_mut(self.tile + r) {
                    *out = if self.add { *out + value } else { value };
                }
            }
        }
    }
}
