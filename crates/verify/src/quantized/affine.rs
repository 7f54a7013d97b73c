//! MLX's affine quantization, after `quantize` in
//! [`mlx/backend/cpu/quantized.cpp`](https://github.com/ml-explore/mlx/blob/main/mlx/backend/cpu/quantized.cpp): a group of
//! values is stored as integers `q`, a scale and a bias, and stands for `scale · q + bias`.

use mert_arch::Dtype;

use super::round::round_to;

/// The smallest scale.
const EPS: f32 = 1e-7;

/// The scale and bias of a group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Grid {
    pub(super) scale: f32,
    pub(super) bias: f32,
}

impl Grid {
    /// The grid of `2^bits` numbers that spans a group and has zero on it, in f32. Codes are computed with this one; what
    /// is stored is rounded.
    pub(super) fn of(group: &[f32], bits: usize) -> Self {
        let highest_code = highest_code(bits);
        let min = group.iter().copied().fold(f32::INFINITY, f32::min);
        let max = group.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let size = ((max - min) / highest_code).max(EPS);
        // Code 0 is the end that is further from zero; the scale points to the other one.
        let (edge, scale) = if min.abs() > max.abs() { (min, size) } else { (max, -size) };
        let steps_to_zero = (edge / scale).round_ties_even();
        if steps_to_zero == 0.0 { Grid { scale, bias: 0.0 } } else { Grid { scale: edge / steps_to_zero, bias: edge } }
    }

    /// The code of a value.
    pub(super) fn code(self, value: f32, bits: usize) -> f32 {
        ((value - self.bias) / self.scale).round_ties_even().clamp(0.0, highest_code(bits))
    }

    /// The grid as it is stored.
    pub(super) fn rounded(self, float: Dtype) -> Self {
        Grid { scale: round_to(float, self.scale), bias: round_to(float, self.bias) }
    }

    /// The value of a code.
    pub(super) fn value(self, code: f32) -> f32 {
        self.scale * code + self.bias
    }
}

/// The largest code, 2^bits − 1.
pub(super) fn highest_code(bits: usize) -> f32 {
    ((1u32 << bits) - 1) as f32
}

/// Replaces the values of a group by those that its codes stand for.
pub(super) fn quantize_group(group: &mut [f32], bits: usize, float: Dtype) {
    let exact = Grid::of(group, bits);
    let stored = exact.rounded(float);
    group.iter_mut().for_each(|value| *value = stored.value(exact.code(*value, bits)));
}
