//! One-dimensional convolutions over channels-last frames.

use candle_core::{Result, Tensor};

/// A one-dimensional convolution (a cross-correlation, as in PyTorch) over frames.
#[derive(Debug, Clone)]
pub(crate) struct Conv1d {
    kind: Kind,
    /// The bias, `(out,)`.
    bias: Option<Tensor>,
    stride: usize,
}

#[derive(Debug, Clone)]
enum Kind {
    /// One group without padding: one matrix product over channels-last windows. candle's own convolution takes
    /// channels-first input, so that the activations would be transposed before and after it.
    Matmul {
        /// The weight, `(out, kernel · in)`, contiguous.
        weight: Tensor,
        kernel: usize,
    },
    /// candle's convolution.
    Grouped {
        /// The weight, `(out, in / groups, kernel)`, contiguous.
        weight: Tensor,
        /// The number of zeros on both ends.
        padding: usize,
        groups: usize,
    },
}

impl Conv1d {
    /// Takes `weight` `(out, in / groups, kernel)`.
    pub(crate) fn new(
        weight: Tensor,
        bias: Option<Tensor>,
        stride: usize,
        padding: usize,
        groups: usize,
    ) -> Result<Self> {
        let kind = if groups == 1 && padding == 0 {
            let kernel = weight.dim(2)?;
            Kind::Matmul { weight: weight.transpose(1, 2)?.contiguous()?.flatten_from(1)?, kernel }
        } else {
            Kind::Grouped { weight: weight.contiguous()?, padding, groups }
        };
        Ok(Conv1d { kind, bias, stride })
    }

    /// Maps `(batch, frames, in)` to `(batch, (frames + 2·padding − kernel) / stride + 1, out)`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = match &self.kind {
            Kind::Matmul { weight, kernel } => {
                let windows = windows(x, *kernel, self.stride)?;
                let (batch, frames, values) = windows.dims3()?;
                windows.reshape((batch * frames, values))?.matmul(&weight.t()?)?.reshape((batch, frames, ()))?
            }
            Kind::Grouped { weight, padding, groups } => {
                let channels_first = x.transpose(1, 2)?.contiguous()?;
                let y = channels_first.conv1d(weight, *padding, self.stride, 1, *groups)?;
                y.transpose(1, 2)?.contiguous()?
            }
        };
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

/// The windows of `kernel` frames, `stride` frames apart, of `x` `(batch, frames, in)`, as
/// `(batch, windows, kernel · in)`.
///
/// They are joined from pieces of `stride` frames: piece i of window t is block t + i of the input. For one clip whose
/// windows neither overlap nor leave frames out, they are a view.
fn windows(x: &Tensor, kernel: usize, stride: usize) -> Result<Tensor> {
    let (batch, frames, channels) = x.dims3()?;
    let count = (frames - kernel) / stride + 1;
    let pieces = kernel.div_ceil(stride);
    let x = x.pad_with_zeros(1, 0, ((count + pieces - 1) * stride).saturating_sub(frames))?;
    let piece = |i: usize| {
        let blocks = x.narrow(1, i * stride, count * stride)?.reshape((batch, count, stride * channels))?;
        blocks.narrow(2, 0, stride.min(kernel - i * stride) * channels)
    };
    Tensor::cat(&(0..pieces).map(piece).collect::<Result<Vec<_>>>()?, 2)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// Values without a pattern that an indexing mistake could preserve.
    fn values(count: usize, seed: u64) -> Vec<f32> {
        (0..count as u64).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0).collect()
    }

    #[test]
    fn agrees_with_the_definition_in_f64() {
        for (frames, input, output, kernel, stride, padding, groups) in [
            (50, 1, 6, 10, 5, 0, 1),
            (31, 6, 4, 3, 2, 0, 1),
            (32, 6, 4, 3, 2, 0, 1),
            (33, 6, 4, 2, 2, 0, 1),
            (12, 6, 4, 2, 3, 0, 1),
            (11, 3, 4, 7, 3, 0, 1),
            (9, 3, 4, 4, 1, 0, 1),
            (4, 3, 4, 4, 2, 0, 1),
            (20, 8, 8, 5, 1, 2, 4),
            (9, 4, 4, 4, 1, 2, 2),
        ] {
            let (x, w, b) = (values(frames * input, 1), values(output * input / groups * kernel, 2), values(output, 3));
            let cpu = Device::Cpu;
            let conv = Conv1d::new(
                Tensor::from_slice(&w, (output, input / groups, kernel), &cpu).unwrap(),
                Some(Tensor::from_slice(&b, output, &cpu).unwrap()),
                stride,
                padding,
                groups,
            )
            .unwrap();
            let clip = Tensor::from_slice(&x, (1, frames, input), &cpu).unwrap();
            let y = conv.forward(&clip).unwrap();
            let out_frames = (frames + 2 * padding - kernel) / stride + 1;
            assert_eq!(y.dims(), [1, out_frames, output]);
            let batch = conv.forward(&Tensor::cat(&[clip.zeros_like().unwrap(), clip], 0).unwrap()).unwrap();
            let difference = (batch.narrow(0, 1, 1).unwrap() - &y).unwrap().abs().unwrap().max_all().unwrap();
            assert!(difference.to_scalar::<f32>().unwrap() < 1e-5);
            let y = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let (per_group_in, per_group_out) = (input / groups, output / groups);
            for t in 0..out_frames {
                for o in 0..output {
                    let mut sum = f64::from(b[o]);
                    for i in 0..per_group_in {
                        for k in 0..kernel {
                            let Some(frame) = (t * stride + k).checked_sub(padding).filter(|&f| f < frames) else {
                                continue;
                            };
                            let channel = o / per_group_out * per_group_in + i;
                            sum += f64::from(w[(o * per_group_in + i) * kernel + k])
                                * f64::from(x[frame * input + channel]);
                        }
                    }
                    approx::assert_abs_diff_eq!(f64::from(y[t * output + o]), sum, epsilon = 1e-5);
                }
            }
        }
    }
}
