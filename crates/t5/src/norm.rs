//! T5's norm: the root mean square, without a mean and without a bias.

use candle_core::{D, Tensor};

use crate::Result;
use crate::weights::Weights;

/// x / √(mean(x²) + ε) · weight.
pub(crate) struct Norm {
    weight: Tensor,
    eps: f64,
}

impl Norm {
    pub(crate) fn open(weights: &Weights<'_>, name: &str, eps: f64) -> Result<Self> {
        Ok(Norm { weight: weights.tensor(name)?, eps })
    }

    /// Normalises rows `(tokens, width)`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let scale = (x.sqr()?.mean_keepdim(D::Minus1)? + self.eps)?.sqrt()?;
        Ok(x.broadcast_div(&scale)?.broadcast_mul(&self.weight)?)
    }
}
