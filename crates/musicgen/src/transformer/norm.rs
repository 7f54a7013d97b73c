//! Layer norm over the values of a step.

use mert_linear::layer_norm;

use crate::Result;
use crate::bundle::Weights;

/// The summand under the root, `nn.LayerNorm`'s default.
const EPS: f32 = 1e-5;

/// A layer norm with gain and bias.
pub(crate) struct LayerNorm(mert_linear::LayerNorm);

impl LayerNorm {
    /// Reads `{module}.weight` and `{module}.bias`.
    pub(crate) fn open(weights: &Weights, module: &str, width: usize) -> Result<Self> {
        let weight = weights.vector(&format!("{module}.weight"), width)?;
        let bias = weights.vector(&format!("{module}.bias"), width)?;
        Ok(LayerNorm(mert_linear::LayerNorm { weight, bias, eps: EPS }))
    }

    /// Writes the normalised rows of `x` to `out`.
    pub(crate) fn forward(&self, x: &[f32], out: &mut Vec<f32>) {
        out.resize(x.len(), 0.0);
        layer_norm(mert_linear::isa(), &self.0, x, out);
    }
}
