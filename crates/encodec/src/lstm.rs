//! The LSTM over all frames of a clip, with its input added to its output: the input's part of all gates is one product, and
//! on the CPU a step is a product of a matrix and a vector that all threads share.

use candle_core::{D, IndexOp};
use candle_core::{Device, Tensor};
use mert_simd::{Isa, Kernel, mul_add};
use pulp::Simd;
use rayon::prelude::*;

use crate::Result;

/// Weights of a step below which one thread is faster than two.
const PARALLEL_FROM: usize = 1 << 18;

/// A layer of the LSTM. Its gates lie in the order of PyTorch and MLX: input, forget, cell, output.
pub(crate) struct LstmLayer {
    /// The weights for the input, `(width, 4 · width)`.
    pub(crate) input: Tensor,
    /// The weights for the last output, `(4 · width, width)`.
    pub(crate) hidden: Tensor,
    /// The sum of both biases, `(4 · width,)`.
    pub(crate) bias: Tensor,
}

/// The layers, one upon the other.
pub(crate) struct Lstm {
    pub(crate) layers: Vec<LstmLayer>,
}

impl Lstm {
    /// The outputs of the last layer plus the inputs of the first, `(frames, width)`.
    pub(crate) fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        let mut output = rows.clone();
        for layer in &self.layers {
            let gates = output.matmul(&layer.input)?.broadcast_add(&layer.bias)?;
            output = match rows.device() {
                Device::Cpu => layer.steps_on_cpu(&gates)?,
                _ => layer.steps(&gates)?,
            };
        }
        Ok((output + rows)?)
    }
}

impl LstmLayer {
    /// The outputs for the input's part of the gates `(frames, 4 · width)`, in candle's operations.
    fn steps(&self, gates: &Tensor) -> Result<Tensor> {
        let (frames, all) = gates.dims2()?;
        let width = all / 4;
        let weight = self.hidden.t()?;
        let mut hidden = Tensor::zeros((1, width), gates.dtype(), gates.device())?;
        let mut cell = hidden.clone();
        let mut outputs = Vec::with_capacity(frames);
        for frame in 0..frames {
            let gates = (gates.i(frame..frame + 1)? + hidden.matmul(&weight)?)?;
            let gate = |number: usize| gates.narrow(D::Minus1, number * width, width);
            let sigmoid = |x: Tensor| ((x * 0.5)?.tanh()? * 0.5)? + 0.5;
            let kept = (sigmoid(gate(1)?)? * &cell)?;
            cell = (kept + (sigmoid(gate(0)?)? * gate(2)?.tanh()?)?)?;
            hidden = (sigmoid(gate(3)?)? * cell.tanh()?)?;
            outputs.push(hidden.clone());
        }
        Ok(Tensor::cat(&outputs, 0)?)
    }

    /// The same on the CPU.
    fn steps_on_cpu(&self, gates: &Tensor) -> Result<Tensor> {
        let (frames, all) = gates.dims2()?;
        let width = all / 4;
        let gates: Vec<f32> = gates.flatten_all()?.to_vec1()?;
        let weights: Vec<f32> = self.hidden.flatten_all()?.to_vec1()?;
        let isa = Isa::detect();
        let threads = if weights.len() < PARALLEL_FROM { 1 } else { rayon::current_num_threads() };
        let part = width.div_ceil(threads).max(1);
        let mut outputs = vec![0.0; frames * width];
        let mut cell = vec![0.0; width];
        let zeros = vec![0.0; width];
        for (frame, gates) in gates.chunks_exact(all).enumerate() {
            let (before, now) = outputs.split_at_mut(frame * width);
            let last = before.rchunks_exact(width).next().unwrap_or(&zeros);
            let units = |(number, (output, cell)): (usize, (&mut [f32], &mut [f32]))| {
                isa.run_dots(Units { weights: &weights, last, gates, first: number * part, output, cell });
            };
            let now = &mut now[..width];
            match threads {
                1 => units((0, (now, &mut cell))),
                _ => now.par_chunks_mut(part).zip(cell.par_chunks_mut(part)).enumerate().for_each(units),
            }
        }
        Ok(Tensor::from_vec(outputs, (frames, width), &Device::Cpu)?)
    }
}

/// One step of some units.
struct Units<'a> {
    /// The weights for the last output, `(4 · width, width)`.
    weights: &'a [f32],
    /// The last output of all units.
    last: &'a [f32],
    /// The input's part of the gates of all units.
    gates: &'a [f32],
    /// The first unit.
    first: usize,
    /// Their outputs.
    output: &'a mut [f32],
    /// Their cells.
    cell: &'a mut [f32],
}

impl Kernel for Units<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd, const ROWS: usize, const VECTORS: usize>(self, simd: S) {
        let width = self.last.len();
        for (index, (output, cell)) in self.output.iter_mut().zip(self.cell).enumerate() {
            let unit = self.first + index;
            let row = |gate: usize| {
                let row = gate * width + unit;
                &self.weights[row * width..][..width]
            };
            let sums = dots(simd, [row(0), row(1), row(2), row(3)], self.last);
            let gate = |number: usize| self.gates[number * width + unit] + sums[number];
            *cell = sigmoid(gate(1)) * *cell + sigmoid(gate(0)) * gate(2).tanh();
            *output = sigmoid(gate(3)) * cell.tanh();
        }
    }
}

/// The dot products of four rows with a vector, each in two sums.
#[inline(always)]
fn dots<S: Simd>(simd: S, rows: [&[f32]; 4], vector: &[f32]) -> [f32; 4] {
    let (vectors, rest) = S::as_simd_f32s(vector);
    let rows = rows.map(|row| S::as_simd_f32s(row));
    let mut sums = [[simd.splat_f32s(0.0); 2]; 4];
    let (pairs, single) = vectors.as_chunks::<2>();
    for (i, pair) in pairs.iter().enumerate() {
        for (sums, row) in sums.iter_mut().zip(&rows) {
            sums[0] = mul_add(simd, row.0[2 * i], pair[0], sums[0]);
            sums[1] = mul_add(simd, row.0[2 * i + 1], pair[1], sums[1]);
        }
    }
    let mut result = [0.0; 4];
    for ((result, [first, second]), (whole, tail)) in result.iter_mut().zip(sums).zip(rows) {
        let mut sum = simd.add_f32s(first, second);
        if let [last] = single {
            sum = mul_add(simd, whole[vectors.len() - 1], *last, sum);
        }
        *result = simd.reduce_sum_f32s(sum) + tail.iter().zip(rest).map(|(a, b)| a * b).sum::<f32>();
    }
    result
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    /// The recurrence in f64.
    fn expected(gates: &[f32], weights: &[f32], width: usize) -> Vec<f64> {
        let (mut hidden, mut cell, mut outputs) = (vec![0.0; width], vec![0.0; width], Vec::new());
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        for gates in gates.chunks_exact(4 * width) {
            let sum = |row: usize| {
                let dot: f64 =
                    weights[row * width..][..width].iter().zip(&hidden).map(|(&a, b)| f64::from(a) * b).sum();
                f64::from(gates[row]) + dot
            };
            let sums: Vec<f64> = (0..4 * width).map(sum).collect();
            for unit in 0..width {
                let [i, f, g, o] = [0, 1, 2, 3].map(|gate| sums[gate * width + unit]);
                cell[unit] = sigmoid(f) * cell[unit] + sigmoid(i) * g.tanh();
                hidden[unit] = sigmoid(o) * cell[unit].tanh();
            }
            outputs.extend(&hidden);
        }
        outputs
    }

    #[test]
    fn steps_are_those_in_f64_with_one_thread_or_more() {
        for (width, frames) in [(5, 4), (32, 3), (52, 2), (301, 3)] {
            let (gates, weights) = (drawn(frames * 4 * width, 1), drawn(4 * width * width, 2));
            let scaled: Vec<f32> = weights.iter().map(|w| w / (width as f32).sqrt()).collect();
            let tensor =
                |values: &[f32], shape: (usize, usize)| Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
            let hidden = tensor(&scaled, (4 * width, width));
            let layer = LstmLayer { input: hidden.clone(), hidden, bias: tensor(&[], (0, 0)) };
            let gates_tensor = tensor(&gates, (frames, 4 * width));
            let expected = expected(&gates, &scaled, width);
            for output in [layer.steps(&gates_tensor).unwrap(), layer.steps_on_cpu(&gates_tensor).unwrap()] {
                let output: Vec<f32> = output.flatten_all().unwrap().to_vec1().unwrap();
                for (&a, &b) in output.iter().zip(&expected) {
                    assert!((f64::from(a) - b).abs() <= 2e-6, "{a} {b}");
                }
            }
        }
    }
}
