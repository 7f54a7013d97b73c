use std::io;

use ndarray::{ArrayD, IxDyn};
use serde::Serialize;

use crate::{ConvertError, Result};

/// Computes a weight from its weight-norm factors: w = g · v / ‖v‖.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FuseWeightNorm {
    /// The dimension of v along which each index keeps a norm of its own, as in
    /// `torch.nn.utils.weight_norm(dim=…)`. The norms run over all other dimensions.
    pub dim: usize,
}

impl FuseWeightNorm {
    /// `g`, with one value for each index along `dim`, and `v` give the weight, of v's shape. Norm and
    /// quotient are computed in f64 and rounded once to f32.
    ///
    /// # Errors
    /// [`ConvertError::ZeroNorm`] if `v` (named `v_name`) is all zeros at some index along `dim`.
    pub fn apply(&self, v_name: &str, g: &ArrayD<f32>, v: &ArrayD<f32>) -> Result<ArrayD<f32>> {
        let taps = v.shape().get(self.dim).copied().unwrap_or(1).max(1);
        let inner: usize = v.shape().iter().skip(self.dim + 1).product();
        let tap_of = |i: usize| i / inner.max(1) % taps;
        let invalid = |reason: String| ConvertError::ReadTensor(io::Error::new(io::ErrorKind::InvalidData, reason));
        if g.len() != taps {
            // The plan has checked the shapes; a caller of this type alone may not have.
            return Err(invalid(format!("weight norm of `{v_name}`: {} magnitudes for {taps} norms", g.len())));
        }

        let mut squares = vec![0f64; taps];
        for (i, &value) in v.iter().enumerate() {
            squares[tap_of(i)] += f64::from(value) * f64::from(value);
        }
        if let Some(tap) = squares.iter().position(|&square| square == 0.0) {
            return Err(ConvertError::ZeroNorm { name: v_name.to_string(), tap });
        }
        let scale: Vec<f64> = g.iter().zip(&squares).map(|(&g, square)| f64::from(g) / square.sqrt()).collect();
        let fused = v.iter().enumerate().map(|(i, &value)| (f64::from(value) * scale[tap_of(i)]) as f32);
        let fused = ArrayD::from_shape_vec(IxDyn(v.shape()), fused.collect())
            .map_err(|e| invalid(format!("weight norm of `{v_name}`: {e}")))?;
        super::finite::check(v_name, &fused)?;
        Ok(fused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUSE: FuseWeightNorm = FuseWeightNorm { dim: 2 };

    fn array(shape: &[usize], values: &[f32]) -> ArrayD<f32> {
        ArrayD::from_shape_vec(IxDyn(shape), values.to_vec()).unwrap()
    }

    #[test]
    fn one_norm_per_kernel_tap() {
        // v = (out 2, in 1, kernel 2); taps are the columns (3, 4) and (5, 12): norms 5 and 13.
        let v = array(&[2, 1, 2], &[3.0, 5.0, 4.0, 12.0]);
        let g = array(&[1, 1, 2], &[10.0, 26.0]);
        let fused = FUSE.apply("v", &g, &v).unwrap();
        assert_eq!(fused, array(&[2, 1, 2], &[6.0, 10.0, 8.0, 24.0]));
    }

    #[test]
    fn along_another_dimension() {
        // dim 0, PyTorch's default: one norm per output channel, here of the rows (3, 4) and (5, 12).
        let v = array(&[2, 1, 2], &[3.0, 4.0, 5.0, 12.0]);
        let g = array(&[2, 1, 1], &[10.0, 26.0]);
        let fused = FuseWeightNorm { dim: 0 }.apply("v", &g, &v).unwrap();
        assert_eq!(fused, array(&[2, 1, 2], &[6.0, 8.0, 10.0, 24.0]));
    }

    #[test]
    fn tiny_directions_do_not_underflow() {
        // Squares of 1e-30 are zero in f32; in f64 they are not.
        let v = array(&[2, 1, 1], &[3e-30, 4e-30]);
        let fused = FUSE.apply("v", &array(&[1, 1, 1], &[5.0]), &v).unwrap();
        approx::assert_relative_eq!(fused[[0, 0, 0]], 3.0, max_relative = 1e-6);
        approx::assert_relative_eq!(fused[[1, 0, 0]], 4.0, max_relative = 1e-6);
    }

    #[test]
    fn a_zero_tap_is_refused() {
        let v = array(&[2, 1, 2], &[3.0, 0.0, 4.0, 0.0]);
        let error = FUSE.apply("pos.weight_v", &array(&[1, 1, 2], &[1.0, 1.0]), &v).unwrap_err();
        assert!(matches!(error, ConvertError::ZeroNorm { tap: 1, .. }), "{error}");
    }
}
