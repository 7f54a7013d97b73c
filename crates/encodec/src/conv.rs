//! The convolutions as products of matrices, over rows of channels `(time, channels)`.
//!
//! All of EnCodec's strided convolutions have kernels of twice the stride. Such a kernel reads two blocks of `stride` rows,
//! each a single row once the signal is folded, so that nothing has to be copied into columns.

use candle_core::{D, Tensor};
use mert_arch::PadMode;

use crate::Result;
use crate::padding::pad;

/// A `torch.nn.Conv1d` of stride 1 with as many rows out as in.
pub(crate) struct Conv1d {
    /// The weights: `(kernel · input, output)`, or `(input, kernel · output)` if `is_scattered`.
    weight: Tensor,
    bias: Tensor,
    kernel: usize,
    dilation: usize,
    pad_mode: PadMode,
    /// Few outputs: the product of each row with all taps, added up afterwards, is smaller than the rows side by side.
    is_scattered: bool,
}

impl Conv1d {
    /// From the weights in MLX's order, `(output, kernel, input)`.
    pub(crate) fn new(weight: &Tensor, bias: Tensor, dilation: usize, pad_mode: PadMode) -> Result<Self> {
        let (output, kernel, input) = weight.dims3()?;
        let is_scattered = kernel > 1 && output < input / 2;
        let weight = match is_scattered {
            true => weight.permute((2, 1, 0))?.contiguous()?.reshape((input, kernel * output))?,
            false => weight.reshape((output, kernel * input))?.t()?.contiguous()?,
        };
        Ok(Conv1d { weight, bias, kernel, dilation, pad_mode, is_scattered })
    }

    pub(crate) fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        let length = rows.dim(0)?;
        let total = (self.kernel - 1) * self.dilation;
        let padded = pad(rows, total - total / 2, total / 2, self.pad_mode)?;
        let product = if self.kernel == 1 {
            padded.matmul(&self.weight)?
        } else if self.is_scattered {
            let outputs = self.weight.dim(1)? / self.kernel;
            let products = padded.matmul(&self.weight)?;
            let tap = |tap: usize| products.narrow(0, tap * self.dilation, length)?.narrow(1, tap * outputs, outputs);
            (1..self.kernel).try_fold(tap(0)?, |sum, next| sum + tap(next)?)?
        } else {
            let taps: Vec<Tensor> = (0..self.kernel)
                .map(|tap| padded.narrow(0, tap * self.dilation, length))
                .collect::<candle_core::Result<_>>()?;
            Tensor::cat(&taps, 1)?.matmul(&self.weight)?
        };
        Ok(product.broadcast_add(&self.bias)?)
    }
}

/// A `torch.nn.Conv1d` whose kernel is twice as wide as its stride: `⌈rows / stride⌉` rows out.
pub(crate) struct Downsample {
    /// The weights for the first and the second block of rows, `(stride · input, output)`.
    halves: [Tensor; 2],
    bias: Tensor,
    stride: usize,
    pad_mode: PadMode,
}

impl Downsample {
    /// From the weights in MLX's order, `(output, 2 · stride, input)`.
    pub(crate) fn new(weight: &Tensor, bias: Tensor, pad_mode: PadMode) -> Result<Self> {
        let (output, kernel, input) = weight.dims3()?;
        let stride = kernel / 2;
        let half =
            |half: usize| weight.narrow(1, half * stride, stride)?.reshape((output, stride * input))?.t()?.contiguous();
        Ok(Downsample { halves: [half(0)?, half(1)?], bias, stride, pad_mode })
    }

    pub(crate) fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        let (length, channels) = rows.dims2()?;
        let frames = length.div_ceil(self.stride);
        let extra = frames * self.stride - length;
        let right = self.stride / 2;
        let padded = pad(rows, self.stride - right, right + extra, self.pad_mode)?;
        let blocks = padded.reshape((frames + 1, self.stride * channels))?;
        let first = blocks.narrow(0, 0, frames)?.matmul(&self.halves[0])?;
        let second = blocks.narrow(0, 1, frames)?.matmul(&self.halves[1])?;
        Ok((first + second)?.broadcast_add(&self.bias)?)
    }
}

/// A `torch.nn.ConvTranspose1d` whose kernel is twice as wide as its stride, with the padding cut off: `rows · stride` rows
/// out.
pub(crate) struct Upsample {
    /// The weights, `(input, 2 · stride · output)`.
    weight: Tensor,
    bias: Tensor,
    stride: usize,
}

impl Upsample {
    /// From the weights in MLX's order, `(output, 2 · stride, input)`.
    pub(crate) fn new(weight: &Tensor, bias: Tensor) -> Result<Self> {
        let (output, kernel, input) = weight.dims3()?;
        let weight = weight.permute((2, 1, 0))?.contiguous()?.reshape((input, kernel * output))?;
        Ok(Upsample { weight, bias, stride: kernel / 2 })
    }

    pub(crate) fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        let length = rows.dim(0)?;
        let products = rows.matmul(&self.weight)?;
        let half = products.dim(1)? / 2;
        // Each row reaches its own block of output and the next.
        let first = products.narrow(1, 0, half)?.pad_with_zeros(D::Minus2, 0, 1)?;
        let second = products.narrow(1, half, half)?.pad_with_zeros(D::Minus2, 1, 0)?;
        let blocks = (first + second)?.reshape(((length + 1) * self.stride, half / self.stride))?;
        let right = self.stride / 2;
        let trimmed = blocks.narrow(0, self.stride - right, length * self.stride)?;
        Ok(trimmed.broadcast_add(&self.bias)?)
    }
}
