//! The fusion of weight norm: a single weight from magnitude and direction, as in PyTorch's
//! [`torch._weight_norm`](https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.weight_norm.html).

use mert_arch::Dtype;
use serde::Serialize;

use super::narrow::narrow;
use crate::{ConvertError, Result};

/// Computes a weight from its weight-norm factors: w = g · v / ‖v‖.
///
/// The fusion takes two passes over v, both in pieces: [`FuseWeightNorm::add_squares`], then [`FuseWeightNorm::apply`] with
/// the [`FuseWeightNorm::scales`] of the sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FuseWeightNorm {
    /// The dimension of v along which each index has its own norm, as in `torch.nn.utils.weight_norm(dim=…)`. The norms
    /// run over all other dimensions.
    pub dim: usize,
}

/// The smallest sum of squares in which squares that are subnormal in f64 do not matter. The squares of f32 are larger.
const SMALLEST_SQUARE: f64 = 1e-290;

impl FuseWeightNorm {
    /// The initial sums of squares: one zero for each norm of a v of this shape.
    pub fn zeros(&self, shape: &[usize]) -> Vec<f64> {
        vec![0.0; shape.get(self.dim).copied().unwrap_or(1).max(1)]
    }

    /// Adds the squares of a piece of v, which begins after `first` values, to the sums of their norms.
    ///
    /// The additions to a sum are in v's order, however v is divided into pieces.
    pub fn add_squares<V: Copy + Into<f64>>(&self, shape: &[usize], first: usize, values: &[V], squares: &mut [f64]) {
        let square = |sum: &mut f64, value: &V| {
            let value: f64 = (*value).into();
            let square = value * value;
            // A square that underflows to zero must not count as a zero.
            *sum += if square == 0.0 && value != 0.0 { f64::MIN_POSITIVE } else { square };
        };
        if self.has_rows_of_taps(shape, first, squares.len()) {
            for row in values.chunks(squares.len()) {
                squares.iter_mut().zip(row).for_each(|(sum, value)| square(sum, value));
            }
        } else {
            let tap_of = self.tap_of(shape);
            values.iter().enumerate().for_each(|(i, value)| square(&mut squares[tap_of(first + i)], value));
        }
    }

    /// The factors of v's values: g / ‖v‖ for each index along `dim`.
    ///
    /// # Errors
    /// Those of [`FuseWeightNorm::norms`]; [`ConvertError::MagnitudeCount`] if there is not one magnitude for each norm.
    pub fn scales(&self, v_name: &str, g: &[f64], squares: &[f64]) -> Result<Vec<f64>> {
        if g.len() != squares.len() {
            // The plan has checked the shapes; a caller of this type alone may not have.
            let (name, expected, found) = (v_name.to_string(), squares.len(), g.len());
            return Err(ConvertError::MagnitudeCount { name, expected, found });
        }
        Ok(g.iter().zip(self.norms(v_name, squares)?).map(|(&g, norm)| g / norm).collect())
    }

    /// The norms ‖v‖ for each index along `dim`.
    ///
    /// # Errors
    /// [`ConvertError::ZeroNorm`] if `v` (named `v_name`) is all zeros at some index along `dim`;
    /// [`ConvertError::NormRange`] if squares overflow or lose precision, as those of some f64 values do.
    pub fn norms(&self, v_name: &str, squares: &[f64]) -> Result<Vec<f64>> {
        let name = || v_name.to_string();
        for (tap, &square) in squares.iter().enumerate() {
            match square {
                0.0 => return Err(ConvertError::ZeroNorm { name: name(), tap }),
                ..SMALLEST_SQUARE => return Err(ConvertError::NormRange { name: name(), tap, size: "small" }),
                f64::INFINITY => return Err(ConvertError::NormRange { name: name(), tap, size: "large" }),
                _ => {}
            }
        }
        Ok(squares.iter().map(|square| square.sqrt()).collect())
    }

    /// Replaces `weight` with the fused weight for a piece of v: computed in f64, such that a [`Cast`](super::Cast) to
    /// `to` rounds it once.
    pub fn apply<V: Copy + Into<f64>>(
        &self,
        shape: &[usize],
        first: usize,
        scales: &[f64],
        values: &[V],
        to: Dtype,
        weight: &mut Vec<f32>,
    ) {
        let scaled = |value: V, scale: f64| narrow(value.into() * scale, to);
        weight.clear();
        if self.has_rows_of_taps(shape, first, scales.len()) {
            for row in values.chunks(scales.len()) {
                weight.extend(row.iter().zip(scales).map(|(&value, &scale)| scaled(value, scale)));
            }
        } else {
            let tap_of = self.tap_of(shape);
            weight.extend(values.iter().enumerate().map(|(i, &value)| scaled(value, scales[tap_of(first + i)])));
        }
    }

    /// Whether a piece consists of rows with one value for each norm, which can be vectorised; so it is if `dim` is the
    /// last dimension.
    fn has_rows_of_taps(&self, shape: &[usize], first: usize, taps: usize) -> bool {
        self.dim + 1 == shape.len() && taps > 0 && first.is_multiple_of(taps)
    }

    /// The index along `dim` of a value, by its position in v.
    fn tap_of(&self, shape: &[usize]) -> impl Fn(usize) -> usize {
        let taps = shape.get(self.dim).copied().unwrap_or(1).max(1);
        let inner: usize = shape.iter().skip(self.dim + 1).product();
        move |i| i / inner.max(1) % taps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUSE: FuseWeightNorm = FuseWeightNorm { dim: 2 };

    /// The fused weight, computed in pieces of `piece` values, which must not change a bit.
    fn fuse_in(piece: usize, fuse: FuseWeightNorm, g: &[f64], shape: &[usize], v: &[f32]) -> Result<Vec<f32>> {
        let mut squares = fuse.zeros(shape);
        for (n, values) in v.chunks(piece).enumerate() {
            fuse.add_squares(shape, n * piece, values, &mut squares);
        }
        let scales = fuse.scales("pos.weight_v", g, &squares)?;
        let (mut weight, mut part) = (Vec::new(), Vec::new());
        for (n, values) in v.chunks(piece).enumerate() {
            fuse.apply(shape, n * piece, &scales, values, Dtype::F32, &mut part);
            weight.extend_from_slice(&part);
        }
        Ok(weight)
    }

    fn fuse(fuse: FuseWeightNorm, g: &[f64], shape: &[usize], v: &[f32]) -> Result<Vec<f32>> {
        let whole = fuse_in(v.len(), fuse, g, shape, v);
        for piece in 1..v.len() {
            assert_eq!(fuse_in(piece, fuse, g, shape, v).ok(), whole.as_ref().ok().cloned());
        }
        whole
    }

    #[test]
    fn one_norm_per_kernel_tap() {
        // v = (out 2, in 1, kernel 2); taps are the columns (3, 4) and (5, 12): norms 5 and 13.
        let fused = fuse(FUSE, &[10.0, 26.0], &[2, 1, 2], &[3.0, 5.0, 4.0, 12.0]).unwrap();
        assert_eq!(fused, [6.0, 10.0, 8.0, 24.0]);
    }

    #[test]
    fn along_another_dimension() {
        // dim 0, PyTorch's default: one norm per output channel, here of the rows (3, 4) and (5, 12).
        let fused = fuse(FuseWeightNorm { dim: 0 }, &[10.0, 26.0], &[2, 1, 2], &[3.0, 4.0, 5.0, 12.0]).unwrap();
        assert_eq!(fused, [6.0, 8.0, 10.0, 24.0]);
    }

    #[test]
    fn the_weight_is_rounded_once() {
        // v / ‖v‖ is ±1 for the single value of each tap, so that w is g.
        let above_a_tie = 1.0 + 2f64.powi(-11) + 2f64.powi(-40);
        let scales = FUSE.scales("v", &[above_a_tie, above_a_tie], &[4.0, 0.25]).unwrap();
        let mut weight = Vec::new();
        FUSE.apply(&[1, 1, 2], 0, &scales, &[2.0, -0.5], Dtype::F16, &mut weight);
        let narrowed: Vec<f64> = weight.iter().map(|&w| half::f16::from_f32(w).to_f64()).collect();
        assert_eq!(narrowed, [1.0 + 2f64.powi(-10), -1.0 - 2f64.powi(-10)]);
    }

    #[test]
    fn tiny_directions_do_not_underflow() {
        // Squares of 1e-30 are zero in f32; in f64 they are not.
        let fused = fuse(FUSE, &[5.0], &[2, 1, 1], &[3e-30, 4e-30]).unwrap();
        approx::assert_relative_eq!(fused[0], 3.0, max_relative = 1e-6);
        approx::assert_relative_eq!(fused[1], 4.0, max_relative = 1e-6);
    }

    #[test]
    fn a_zero_tap_is_refused() {
        let error = fuse(FUSE, &[1.0, 1.0], &[2, 1, 2], &[3.0, 0.0, 4.0, 0.0]).unwrap_err();
        assert!(matches!(error, ConvertError::ZeroNorm { tap: 1, .. }), "{error}");
    }

    #[test]
    fn norms_beyond_the_range_of_f64_are_refused() {
        for (factor, expected) in
            [(1e155, "too large"), (1e-158, "too small"), (1e-161, "too small"), (1e-170, "too small")]
        {
            let mut squares = FUSE.zeros(&[2, 1, 1]);
            FUSE.add_squares(&[2, 1, 1], 0, &[3.0 * factor, 4.0 * factor], &mut squares);
            let message = FUSE.scales("pos.weight_v", &[5.0], &squares).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains("pos.weight_v"), "{factor:e}: {message}");
        }
        for factor in [1e150, 1e-140] {
            let mut squares = FUSE.zeros(&[2, 1, 1]);
            FUSE.add_squares(&[2, 1, 1], 0, &[3.0 * factor, 4.0 * factor], &mut squares);
            let scales = FUSE.scales("v", &[5.0], &squares).unwrap();
            approx::assert_relative_eq!(scales[0] * factor, 1.0, max_relative = 1e-15);
        }
    }

    #[test]
    fn magnitudes_of_another_count_are_refused() {
        assert!(fuse(FUSE, &[1.0], &[2, 1, 2], &[3.0, 1.0, 4.0, 1.0]).is_err());
    }
}
