//! Activation functions.

use candle_core::{Result, Tensor};
use mert_arch::Activation;

/// Applies the activation to each element.
pub(crate) fn activate(activation: Activation, x: &Tensor) -> Result<Tensor> {
    match activation {
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
        Activation::Relu => x.relu(),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn gelu_is_the_erf_form() {
        let x = Tensor::new(&[-3.0f32, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0], &Device::Cpu).unwrap();
        // x·Φ(x), Φ from a table of the normal distribution to ten digits.
        let phi: [f64; 7] = [0.0013498980, 0.1586552539, 0.3085375387, 0.5, 0.6914624613, 0.8413447461, 0.9986501020];
        let got = activate(Activation::Gelu, &x).unwrap().to_vec1::<f32>().unwrap();
        for ((x, got), phi) in x.to_vec1::<f32>().unwrap().into_iter().zip(got).zip(phi) {
            approx::assert_abs_diff_eq!(f64::from(got), f64::from(x) * phi, epsilon = 3e-7);
        }
        let tanh = activate(Activation::GeluTanh, &x).unwrap().to_vec1::<f32>().unwrap();
        assert!((f64::from(tanh[5]) - phi[5]).abs() > 1e-4, "the tanh form must differ");
    }
}
