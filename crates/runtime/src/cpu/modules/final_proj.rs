//! The head `final_proj`: a linear map of each frame of a finished hidden state, outside the forward pass.

use candle_core::Result;
use rayon::prelude::*;

use super::super::arithmetic::Arithmetic;
use super::super::kernels::gemm::{Columns, Product};
use super::super::kernels::left_operand::{LeftOperand, Rows};
use super::super::kernels::output::{Epilogue, Output};
use super::super::memory::with_scratch;
use super::linear::Linear;
use super::weight_loader::WeightLoader;

/// fairseq's and RVC's `final_proj`, in f32 on the processor whatever the engine of the model: hidden states are there
/// when it gets them.
#[derive(Debug)]
pub(crate) struct FinalProj {
    arithmetic: Arithmetic,
    linear: Linear,
}

impl FinalProj {
    /// Loads the tensors under `final_proj.`, with `size` outputs.
    pub(crate) fn load(weights: &WeightLoader<'_>, hidden_size: usize, size: usize) -> Result<Self> {
        Ok(FinalProj {
            arithmetic: weights.arithmetic(),
            linear: weights.linear(mert_arch::FINAL_PROJ, hidden_size, size)?,
        })
    }

    pub(crate) fn outputs(&self) -> usize {
        self.linear.outputs()
    }

    pub(crate) fn inputs(&self) -> usize {
        self.linear.inputs()
    }

    /// Maps `frames` `(frames, hidden_size)` to `out` `(frames, outputs)`, on all threads.
    pub(crate) fn forward(&self, frames: &[f32], out: &mut [f32]) {
        /// Frames of a task: a multiple of any tile, and few enough for all threads to get some.
        const FRAMES: usize = 48;
        let (inputs, outputs) = (self.inputs(), self.outputs());
        let columns = Columns { weight: self.linear.weight(), first_panel: 0, epilogue: Epilogue::default() };
        let tasks = out.par_chunks_mut(FRAMES * outputs).zip(frames.par_chunks(FRAMES * inputs));
        tasks.with_max_len(1).for_each(|(values, frames)| {
            let x = LeftOperand::Rows(Rows::new(frames, inputs));
            let out = Output::Strided { values, stride: outputs, columns: outputs };
            with_scratch(|scratch| Product { x, columns, out }.run(self.arithmetic, &mut scratch.gemm));
        });
    }
}
