//! One-dimensional convolutions over channels-last frames.

use candle_core::{Result, Tensor};

/// A one-dimensional convolution (a cross-correlation, as in PyTorch) over frames.
#[derive(Debug, Clone)]
pub(crate) struct Conv1d {
    /// The weight, `(out, in / groups, kernel)`, contiguous.
    weight: Tensor,
    /// The bias, `(out,)`.
    bias: Option<Tensor>,
    stride: usize,
    /// The number of zeros on both ends.
    padding: usize,
    groups: usize,
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
        Ok(Conv1d { weight: weight.contiguous()?, bias, stride, padding, groups })
    }

    /// Maps `(batch, frames, in)` to `(batch, (frames + 2·padding − kernel) / stride + 1, out)`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let channels_first = x.transpose(1, 2)?.contiguous()?;
        let y = channels_first.conv1d(&self.weight, self.padding, self.stride, 1, self.groups)?;
        let y = y.transpose(1, 2)?.contiguous()?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
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
        for (frames, input, output, kernel, stride, padding, groups) in
            [(50, 1, 6, 10, 5, 0, 1), (31, 6, 4, 3, 2, 0, 1), (20, 8, 8, 5, 1, 2, 4), (9, 4, 4, 4, 1, 2, 2)]
        {
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
            let y = conv.forward(&Tensor::from_slice(&x, (1, frames, input), &cpu).unwrap()).unwrap();
            let out_frames = (frames + 2 * padding - kernel) / stride + 1;
            assert_eq!(y.dims(), [1, out_frames, output]);
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
