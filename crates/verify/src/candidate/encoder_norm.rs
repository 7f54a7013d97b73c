//! The encoder's final LayerNorm, computed apart from the model: the gate uses it to recognise a reference that lacks it.

use ndarray::{Array2, ArrayView2, Axis};

/// The LayerNorm `encoder.layer_norm`, which in a pre-LN model follows the last layer.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderNorm {
    /// The gain per channel.
    pub(crate) gain: Vec<f32>,
    /// The bias per channel.
    pub(crate) bias: Vec<f32>,
    /// The epsilon that is added to the variance.
    pub(crate) eps: f64,
}

impl EncoderNorm {
    /// Applies the LayerNorm to frames `(frames, width)` in f64: gain · (x − μ) / √(σ² + eps) + bias over the width.
    /// Returns `None` for another width.
    pub(crate) fn apply(&self, frames: ArrayView2<f32>) -> Option<Array2<f32>> {
        let width = frames.ncols();
        if width == 0 || self.gain.len() != width || self.bias.len() != width {
            return None;
        }
        let mut normalised = frames.to_owned();
        for mut frame in normalised.axis_iter_mut(Axis(0)) {
            let mean = frame.iter().map(|&x| f64::from(x)).sum::<f64>() / width as f64;
            let variance = frame.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / width as f64;
            let scale = 1.0 / (variance + self.eps).sqrt();
            for ((x, &gain), &bias) in frame.iter_mut().zip(&self.gain).zip(&self.bias) {
                *x = ((f64::from(*x) - mean) * scale * f64::from(gain) + f64::from(bias)) as f32;
            }
        }
        Some(normalised)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_frame_normalised_by_hand() {
        let norm = EncoderNorm { gain: vec![2.0, 1.0, 1.0, 0.5], bias: vec![0.0, 1.0, 0.0, 0.0], eps: 0.0 };
        // Mean 3, variance 5.
        let (frame, root) = (array![[0.0, 2.0, 4.0, 6.0]], 5f32.sqrt());
        let expected = array![[-6.0 / root, 1.0 - 1.0 / root, 1.0 / root, 1.5 / root]];
        let found = norm.apply(frame.view()).unwrap();
        assert!((found - expected).iter().all(|difference| difference.abs() < 1e-6));
        assert_eq!(norm.apply(array![[1.0, 2.0]].view()), None);
    }
}
