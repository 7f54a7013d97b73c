use ndarray::{ArrayD, IxDyn};
use serde::Serialize;

use crate::{ConvertError, Result};

/// Computes a weight from its weight-norm factors: w = g · v / ‖v‖.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FuseWeightNorm {
    /// The dimensions of v that each norm runs over; the remaining one (the kernel's) keeps its own.
    pub norm_dims: [usize; 2],
}

impl FuseWeightNorm {
    /// `g` of shape `(1, 1, kernel)` and `v` of shape `(out, in / groups, kernel)` give the weight, of
    /// v's shape. Norm and quotient are computed in f64 and rounded once to f32.
    ///
    /// # Errors
    /// [`ConvertError::ZeroNorm`] if a kernel tap of `v` (named `v_name`) is all zeros.
    pub fn apply(&self, v_name: &str, g: &ArrayD<f32>, v: &ArrayD<f32>) -> Result<ArrayD<f32>> {
        // The plan has checked both shapes; `kernel` is v's last extent.
        let kernel = v.shape().last().copied().unwrap_or(0).max(1);
        let mut squares = vec![0f64; kernel];
        for (i, &value) in v.iter().enumerate() {
            squares[i % kernel] += f64::from(value) * f64::from(value);
        }
        if let Some(tap) = squares.iter().position(|&square| square == 0.0) {
            return Err(ConvertError::ZeroNorm { name: v_name.to_string(), tap });
        }
        let scale: Vec<f64> = g.iter().zip(&squares).map(|(&g, square)| f64::from(g) / square.sqrt()).collect();
        let fused = v.iter().enumerate().map(|(i, &value)| (f64::from(value) * scale[i % kernel]) as f32);
        let fused = ArrayD::from_shape_vec(IxDyn(v.shape()), fused.collect())
            .map_err(|e| ConvertError::ReadTensor(std::io::Error::new(std::io::ErrorKind::InvalidData, e)))?;
        super::finite::check(v_name, &fused)?;
        Ok(fused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FUSE: FuseWeightNorm = FuseWeightNorm { norm_dims: [0, 1] };

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
