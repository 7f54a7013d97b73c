//! Norms: LayerNorm, instance norm and batch norm.

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

/// Normalises each channel of `(batch, channels, frames)` by given statistics: γ·(x − mean)/√(variance + ε) + β.
pub(super) fn batch_norm(call: &Call<'_>) -> Result<Value> {
    let x = call.float("x")?;
    let &[_, channels, _] = x.tensor.dims() else {
        return Err(format!("parameter `x` has shape {:?}, expected (batch, channels, frames)", x.tensor.dims()));
    };
    let (mean, variance) = (call.float_like("mean", &x)?, call.float_like("variance", &x)?);
    check_channels("mean", &mean, channels)?;
    check_channels("variance", &variance, channels)?;
    let affine = Affine::of(call, &x, channels)?;
    x.result((|| {
        let deviation = (variance.tensor + affine.epsilon)?.sqrt()?.unsqueeze(1)?;
        let y = x.tensor.broadcast_sub(&mean.tensor.unsqueeze(1)?)?.broadcast_div(&deviation)?;
        affine.scale_and_shift(y, |parameter| parameter.unsqueeze(1))
    })())
}

/// Checks that a parameter has a value for each channel.
fn check_channels(name: &str, parameter: &Float<'_>, channels: usize) -> Result<()> {
    match parameter.tensor.dims() {
        dims if dims == [channels] => Ok(()),
        dims => Err(format!("parameter `{name}` has shape {dims:?} for {channels} channels")),
    }
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
            parameter.as_ref().map_or(Ok(()), |parameter| check_channels(name, parameter, channels))?;
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
        self.scale_and_shift(centred.broadcast_div(&deviation)?, shaped)
    }

    /// Multiplies by the gain and adds the bias.
    fn scale_and_shift(&self, mut y: Tensor, shaped: impl Fn(&Tensor) -> CandleResult<Tensor>) -> CandleResult<Tensor> {
        if let Some(gamma) = &self.gamma {
            y = y.broadcast_mul(&shaped(gamma.tensor)?)?;
        }
        if let Some(beta) = &self.beta {
            y = y.broadcast_add(&shaped(beta.tensor)?)?;
        }
        Ok(y)
    }
}
