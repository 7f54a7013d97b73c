//! Convolutions over frames as products with overlapping rows, and with fewer multiplications for kernel 3, stride 2.

use candle_core::{DType, Result, Tensor};
use mert_arch::Activation;
use mert_simd::LINE;

use super::super::arithmetic::Arithmetic;
use super::super::memory::{GemmScratch, PackedWeight};
use super::gemm::{Columns, Product};
use super::left_operand::{LeftOperand, Rows};
use super::output::{Epilogue, Output};

/// A convolution over consecutive frames, without padding.
#[derive(Debug)]
pub(crate) struct Conv1d {
    taps: Taps,
    /// Number of channels of the input.
    channels: usize,
    stride: usize,
    outputs: usize,
}

/// The packed weights of a convolution.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // a model has one for each layer
enum Taps {
    /// One product, whose rows are the overlapping patches.
    Patches(PackedWeight),
    /// Kernel 3, stride 2, with five sixths of the multiplications.
    ///
    /// Two consecutive outputs share the frame x₂: y₀ = w₀x₀ + w₁x₁ + w₂x₂ and y₁ = w₀x₂ + w₁x₃ + w₂x₄. With
    /// s = (w₀ + w₂)x₂ they are y₀ = s + w₀(x₀ − x₂) + w₁x₁ and y₁ = s + w₁x₃ + w₂(x₄ − x₂): five products instead of
    /// six (a fast FIR filter; Winograd, Arithmetic Complexity of Computations, 1980, chapter 5).
    Pairs {
        /// The weight w₀ + w₂.
        shared: PackedWeight,
        /// The weights w₀ and w₁.
        first: PackedWeight,
        /// The weights w₁ and w₂.
        second: PackedWeight,
    },
}

impl Conv1d {
    /// Packs `weight` `(outputs, kernel · channels)` and `bias` `(outputs,)`.
    pub(crate) fn new(
        arithmetic: Arithmetic,
        weight: &Tensor,
        bias: Option<&Tensor>,
        channels: usize,
        stride: usize,
    ) -> Result<Self> {
        let (outputs, inputs) = weight.dims2()?;
        let pack =
            |weight: &Tensor, bias| PackedWeight::pack(arithmetic, arithmetic.isa.tile_for(outputs), weight, bias);
        let taps = if (inputs, stride) == (3 * channels, 2) && channels.is_multiple_of(LINE) {
            let tap = |i: usize| weight.narrow(1, i * channels, channels);
            // In f32: the sum of two half-precision numbers need not be one.
            let shared = (tap(0)?.to_dtype(DType::F32)? + tap(2)?.to_dtype(DType::F32)?)?;
            Taps::Pairs {
                shared: pack(&shared, None)?,
                first: pack(&weight.narrow(1, 0, 2 * channels)?, bias)?,
                second: pack(&weight.narrow(1, channels, 2 * channels)?, bias)?,
            }
        } else {
            Taps::Patches(pack(weight, bias)?)
        };
        Ok(Conv1d { taps, channels, stride, outputs })
    }

    /// Computes as many frames `y` `(frames, outputs)` as there is room for, the first from the patch at the start of
    /// `x`.
    ///
    /// The order in which a frame is summed depends on whether its distance from the first one is odd or even.
    pub(crate) fn forward(
        &self,
        arithmetic: Arithmetic,
        x: &[f32],
        y: &mut [f32],
        activation: Option<Activation>,
        scratch: &mut GemmScratch,
    ) {
        let (channels, outputs) = (self.channels, self.outputs);
        match &self.taps {
            Taps::Patches(weight) => patches(arithmetic, weight, x, self.stride * channels, y, activation, scratch),
            Taps::Pairs { shared, first, second } => {
                // Every other frame of the result, from the first of `y` on.
                let mut run = |x: Rows<'_>, weight: &PackedWeight, y: &mut [f32], epilogue: Epilogue| {
                    let out = Output::Strided { values: y, stride: 2 * outputs, columns: outputs };
                    let columns = Columns { weight, first_panel: 0, epilogue };
                    Product { x: LeftOperand::Rows(x), columns, out }.run(arithmetic, scratch);
                };
                let stride = 4 * channels;
                run(Rows::new(&x[2 * channels..], stride), shared, y, Epilogue::default());
                for pair in y.chunks_exact_mut(2 * outputs) {
                    let (first, second) = pair.split_at_mut(outputs);
                    second.copy_from_slice(first);
                }
                let epilogue = Epilogue { accumulate: true, activation };
                run(Rows::new(x, stride).minus(&x[2 * channels..], 0..channels), first, y, epilogue);
                let seconds = &mut y[outputs..];
                if !seconds.is_empty() {
                    let x = Rows::new(&x[3 * channels..], stride).minus(&x[channels..], channels..2 * channels);
                    run(x, second, seconds, epilogue);
                }
            }
        }
    }
}

/// Computes as many frames of a convolution with `weight` as `y` has room for, from patches that start every `stride`
/// values of `x`.
pub(crate) fn patches(
    arithmetic: Arithmetic,
    weight: &PackedWeight,
    x: &[f32],
    stride: usize,
    y: &mut [f32],
    activation: Option<Activation>,
    scratch: &mut GemmScratch,
) {
    let columns = Columns { weight, first_panel: 0, epilogue: Epilogue { accumulate: false, activation } };
    let out = Output::Strided { values: y, stride: weight.outputs(), columns: weight.outputs() };
    Product { x: LeftOperand::Rows(Rows::new(x, stride)), columns, out }.run(arithmetic, scratch);
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use mert_simd::{Factors, Isa};

    use super::*;

    /// Values without a pattern that an indexing mistake could preserve.
    fn values(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0).collect()
    }

    #[test]
    fn agrees_with_the_definition_in_f64() {
        let factors = [(Factors::F32, 2e-5), (Factors::Bf16, 0.1), (Factors::Int8, 0.25)];
        let all =
            Isa::available().into_iter().flat_map(|isa| factors.map(|(f, bound)| (Arithmetic::new(isa, f), bound)));
        for (arithmetic, bound) in all {
            for (frames, channels, outputs, kernel, stride) in [
                (50, 1, 6, 10, 5),
                (31, 16, 20, 3, 2),
                (3, 16, 20, 3, 2),
                (5, 32, 96, 3, 2),
                (31, 20, 48, 3, 2),
                (40, 16, 33, 2, 2),
                (40, 48, 512, 3, 2),
            ] {
                let (x, b) = (values(frames * channels, 1), values(outputs, 3));
                let w = values(outputs * kernel * channels, 2);
                let tensor = |x: &[f32]| Tensor::from_slice(x, x.len(), &Device::Cpu).unwrap();
                let weight = tensor(&w).reshape((outputs, kernel * channels)).unwrap();
                let conv = Conv1d::new(arithmetic, &weight, Some(&tensor(&b)), channels, stride).unwrap();
                let out_frames = (frames - kernel) / stride + 1;
                let mut y = vec![f32::NAN; out_frames * outputs];
                conv.forward(arithmetic, &x, &mut y, None, &mut GemmScratch::default());
                for t in 0..out_frames {
                    for o in 0..outputs {
                        let products = (0..kernel * channels)
                            .map(|k| f64::from(w[o * kernel * channels + k]) * f64::from(x[t * stride * channels + k]));
                        let expected = products.sum::<f64>() + f64::from(b[o]);
                        let got = f64::from(y[t * outputs + o]);
                        // Sums of up to 144 products of about 1/3. Each factor is off by up to 2⁻⁹ of its size in bf16, and by up
                        // to 1/254 of the largest as an integer; the errors are independent.
                        approx::assert_abs_diff_eq!(got, expected, epsilon = bound);
                    }
                }
            }
        }
    }
}
