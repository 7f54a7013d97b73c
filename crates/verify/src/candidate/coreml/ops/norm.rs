//! Norms: LayerNorm and instance norm.

use candle_core::{Result as CandleResult, Tensor};

use super::call::{Call, Float, Result, axis};
use crate::candidate::coreml::value::Value;

/// Normalises over the last axis: γ·(x − μ)/√(σ² + ε) + β, with the biased variance.
pub(super) fn layer_norm(call: &Call<'_>) -> Result<Value> {
    let x = call.float("x")?;
    let rank = x.tensor.rank();
    let axes: Vec<usize> = call.ints("axes")?.iter().map(|&a| axis(a, rank)).collect::<Result<_>>()?;
    let &[last] = &axes[..] else {
        return Err(format!("parameter `axes` is {axes:?}, expected the last one"));
    };
    if last + 1 != rank {
        return Err(format!("parameter `axes` is {axes:?}, expected the last of {rank}"));
    }
    let affine = Affine::of(call, &x, x.tensor.dims()[last])?;
    x.result(affine.normalise(x.tensor, last, |parameter| Ok(parameter.clone())))
}

/// Normalises over the frames of each channel of `(batch, channels, frames)`.
pub(super) fn instance_norm(call: &Call<'_>) -> Result<Value> {
    let x = call.float("x")?;
    let &[_, channels, _] = x.tensor.dims() else {
        return Err(format!("parameter `x` has shape {:?}, expected (batch, channels, frames)", x.tensor.dims()));
    };
    let affine = Affine::of(call, &x, channels)?;
    x.result(affine.normalise(x.tensor, 2, |parameter| parameter.unsqueeze(1)))
}

/// The gain, bias and epsilon of a norm.
struct Affine<'a> {
    gamma: Option<Float<'a>>,
    beta: Option<Float<'a>>,
    epsilon: f64,
}

impl<'a> Affine<'a> {
    fn of(call: &Call<'a>, x: &Float<'_>, channels: usize) -> Result<Self> {
        let gamma = call.optional_float_like("gamma", x)?;
        let beta = call.optional_float_like("beta", x)?;
        for (name, parameter) in [("gamma", &gamma), ("beta", &beta)] {
            if let Some(dims) = parameter.as_ref().map(|p| p.tensor.dims()).filter(|&dims| dims != [channels]) {
                return Err(format!("parameter `{name}` has shape {dims:?} for {channels} channels"));
            }
        }
        let epsilon = call.optional_float_like("epsilon", x)?.map_or(Ok(1e-5), |epsilon| epsilon.scalar())?;
        Ok(Affine { gamma, beta, epsilon })
    }

    /// Normalises in two passes, mean first: E[x²] − μ² would cancel where the mean is much larger than the deviation.
    fn normalise(
        &self,
        x: &Tensor,
        axis: usize,
        shaped: impl Fn(&Tensor) -> CandleResult<Tensor>,
    ) -> CandleResult<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(axis)?)?;
        let deviation = (centred.sqr()?.mean_keepdim(axis)? + self.epsilon)?.sqrt()?;
        let mut y = centred.broadcast_div(&deviation)?;
        if let Some(gamma) = &self.gamma {
            y = y.broadcast_mul(&shaped(gamma.tensor)?)?;
        }
        if let Some(beta) = &self.beta {
            y = y.broadcast_add(&shaped(beta.tensor)?)?;
        }
        Ok(y)
    }
}
