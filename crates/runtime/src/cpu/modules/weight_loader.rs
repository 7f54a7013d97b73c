//! The checkpoint's tensors by name, as the forms that the modules compute with.

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::VarBuilder;

use super::super::kernels::isa::Isa;
use super::layer_norm::LayerNorm;
use super::linear::Linear;

/// The tensors under one path of the checkpoint, in the dtype of the file, and the instruction set to pack them for.
#[derive(Clone)]
pub(crate) struct WeightLoader<'a> {
    vb: VarBuilder<'a>,
    stored: DType,
    isa: Isa,
}

impl<'a> WeightLoader<'a> {
    /// A loader of the tensors of `vb`, kept in the dtype `stored`.
    pub(crate) fn new(isa: Isa, vb: VarBuilder<'a>, stored: DType) -> Self {
        WeightLoader { vb, stored, isa }
    }

    /// The loader of the tensors under `path` below this one's, as candle's `VarBuilder::pp`.
    pub(crate) fn pp(&self, path: impl ToString) -> Self {
        WeightLoader { vb: self.vb.pp(path), ..*self }
    }

    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    pub(crate) fn vector(&self, name: &str, size: usize) -> Result<Tensor> {
        self.tensor(name, size)
    }

    /// A convolution's weight `(out, in / groups, kernel)` as the matrix `(out, kernel · in / groups)` that multiplies
    /// consecutive frames.
    pub(crate) fn matrix(&self, name: &str, shape: (usize, usize, usize)) -> Result<Tensor> {
        self.tensor(name, shape)?.transpose(1, 2)?.contiguous()?.flatten(1, 2)
    }

    /// The linear map with the weight `(outputs, inputs)` and the bias `(outputs,)` under `name`.
    pub(crate) fn linear(&self, name: &str, inputs: usize, outputs: usize) -> Result<Linear> {
        let loader = self.pp(name);
        Linear::new(self.isa, &loader.tensor("weight", (outputs, inputs))?, &loader.vector("bias", outputs)?)
    }

    /// Several linear maps of the same input as one, with their outputs one after the other.
    pub(crate) fn joined_linear(&self, names: &[&str], inputs: usize, outputs: usize) -> Result<Linear> {
        let all = |name: &str, shape: Shape| -> Result<Tensor> {
            let parts = names.iter().map(|part| self.pp(part).tensor(name, shape.clone()));
            Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)
        };
        Linear::new(self.isa, &all("weight", (outputs, inputs).into())?, &all("bias", outputs.into())?)
    }

    pub(crate) fn layer_norm(&self, name: &str, size: usize, eps: f64) -> Result<LayerNorm> {
        let loader = self.pp(name);
        LayerNorm::new(&loader.vector("weight", size)?, &loader.vector("bias", size)?, eps)
    }

    pub(crate) fn tensor(&self, name: &str, shape: impl Into<Shape>) -> Result<Tensor> {
        self.vb.get_with_hints_dtype(shape, name, Default::default(), self.stored)?.to_device(&Device::Cpu)
    }
}
