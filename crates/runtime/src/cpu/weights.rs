use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::VarBuilder;

use super::isa::{Isa, Shape as TileShape};
use super::layer_norm::LayerNorm;
use super::linear::Linear;

/// The tensors under one path of the checkpoint, in the type that the file has them in.
#[derive(Clone)]
pub(crate) struct Weights<'a> {
    vb: VarBuilder<'a>,
    dtype: DType,
}

impl<'a> Weights<'a> {
    pub(crate) fn new(vb: VarBuilder<'a>, dtype: DType) -> Self {
        Weights { vb, dtype }
    }

    pub(crate) fn pp(&self, path: impl ToString) -> Self {
        Weights { vb: self.vb.pp(path), dtype: self.dtype }
    }

    pub(crate) fn vector(&self, name: &str, size: usize) -> Result<Tensor> {
        self.tensor(name, size)
    }

    /// A convolution's weight `(out, in / groups, kernel)` as the matrix `(out, kernel · in / groups)`
    /// that multiplies frames lying one after the other.
    pub(crate) fn matrix(&self, name: &str, shape: (usize, usize, usize)) -> Result<Tensor> {
        self.tensor(name, shape)?.transpose(1, 2)?.contiguous()?.flatten(1, 2)
    }

    /// `(outputs, inputs)` and `(outputs,)` under `name`.
    pub(crate) fn linear(&self, isa: Isa, name: &str, inputs: usize, outputs: usize) -> Result<Linear> {
        let weights = self.pp(name);
        let weight = weights.tensor("weight", (outputs, inputs))?;
        Linear::pack(isa, TileShape::Wide, &weight, Some(&weights.vector("bias", outputs)?))
    }

    /// Several maps of the same input as one.
    pub(crate) fn joined_linear(&self, isa: Isa, names: &[&str], inputs: usize, outputs: usize) -> Result<Linear> {
        let all = |name: &str, shape: Shape| -> Result<Tensor> {
            let parts = names.iter().map(|part| self.pp(part).tensor(name, shape.clone()));
            Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)
        };
        Linear::pack(
            isa,
            TileShape::Wide,
            &all("weight", (outputs, inputs).into())?,
            Some(&all("bias", outputs.into())?),
        )
    }

    pub(crate) fn layer_norm(&self, name: &str, size: usize, eps: f64) -> Result<LayerNorm> {
        let weights = self.pp(name);
        LayerNorm::new(&weights.vector("weight", size)?, &weights.vector("bias", size)?, eps)
    }

    fn tensor(&self, name: &str, shape: impl Into<Shape>) -> Result<Tensor> {
        self.vb.get_with_hints_dtype(shape, name, Default::default(), self.dtype)?.to_device(&Device::Cpu)
    }
}
