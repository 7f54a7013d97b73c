//! The checkpoint's tensors by name, as the forms that the modules compute with.

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::VarBuilder;
use mert_simd::Factors;

use super::super::arithmetic::{Arithmetic, ModuleFactors};
use super::joined_linear::JoinedLinear;
use super::layer_norm::LayerNorm;
use super::linear::Linear;
use crate::ConvertedFile;
use crate::converted_file::StoredQuantized;
use crate::device::candle_dtype;
use crate::quantized::{JoinedWeight, QuantizedEncoding};

/// The tensors under one path of the checkpoint, and the arithmetic to pack them for.
#[derive(Clone)]
pub(crate) struct WeightLoader<'a> {
    vb: VarBuilder<'a>,
    /// The file behind `vb`, whose tensors keep the encodings that they have there; without one they have `vb`'s dtype.
    file: Option<&'a ConvertedFile>,
    arithmetic: Arithmetic,
    modules: &'a ModuleFactors,
}

/// The form in which a linear layer's weight is stored.
#[derive(Clone, Copy, PartialEq)]
enum StoredForm {
    Float(DType),
    Quantized(QuantizedEncoding),
}

impl<'a> WeightLoader<'a> {
    /// A loader of the tensors of `vb`, whose path is empty, and of `file` where `vb` is its.
    pub(crate) fn new(arithmetic: Arithmetic, vb: VarBuilder<'a>, file: Option<&'a ConvertedFile>) -> Self {
        WeightLoader { vb, file, arithmetic, modules: ModuleFactors::NONE }
    }

    /// The same tensors, those of `modules` packed for products of their numbers.
    pub(crate) fn with_modules(&self, modules: &'a ModuleFactors) -> Self {
        WeightLoader { modules, ..self.clone() }
    }

    /// The loader of the tensors under `path` below this one's, as candle's `VarBuilder::pp`.
    pub(crate) fn pp(&self, path: impl ToString) -> Self {
        WeightLoader { vb: self.vb.pp(path), ..*self }
    }

    /// The arithmetic of the module at this path.
    pub(crate) fn arithmetic(&self) -> Arithmetic {
        self.arithmetic.with(self.modules.at(&self.vb.prefix()).unwrap_or(self.arithmetic.factors))
    }

    /// The same tensors, packed for products of other numbers.
    pub(crate) fn with_factors(&self, factors: Factors) -> Self {
        WeightLoader { arithmetic: self.arithmetic.with(factors), modules: ModuleFactors::NONE, ..self.clone() }
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
        let bias = loader.vector("bias", outputs)?;
        let arithmetic = loader.arithmetic();
        match loader.quantized() {
            Some(quantized) => Linear::quantized(arithmetic, &quantized.weight(), &bias),
            None => Linear::new(arithmetic, &loader.tensor("weight", (outputs, inputs))?, &bias),
        }
    }

    /// Several linear maps of the same input, with their outputs one after the other.
    pub(crate) fn joined_linear(&self, names: &[&str], inputs: usize, outputs: usize) -> Result<JoinedLinear> {
        // They are of one module, since their input is packed once for all.
        let arithmetic = self.arithmetic();
        let parts: Vec<Self> = names.iter().map(|name| self.pp(name)).collect();
        let all = |name: &str, shape: Shape| -> Result<Tensor> {
            let tensors = parts.iter().map(|part| part.tensor(name, shape.clone()));
            Tensor::cat(&tensors.collect::<Result<Vec<_>>>()?, 0)
        };
        let (first, weight, bias) = (parts.first().map(Self::form), (outputs, inputs).into(), outputs.into());
        let linears = match first.filter(|first| parts.iter().all(|part| part.form() == *first)) {
            None => names.iter().map(|name| self.linear(name, inputs, outputs)).collect::<Result<_>>()?,
            Some(StoredForm::Float(_)) => {
                vec![Linear::new(arithmetic, &all("weight", weight)?, &all("bias", bias)?)?]
            }
            Some(StoredForm::Quantized(_)) => {
                let stored: Vec<_> = parts.iter().filter_map(Self::quantized).collect();
                let weights: Vec<_> = stored.iter().map(StoredQuantized::weight).collect();
                let joined = JoinedWeight::new(&weights);
                let linear = joined.weight().map(|weight| Linear::quantized(arithmetic, &weight, &all("bias", bias)?));
                linear.transpose()?.into_iter().collect()
            }
        };
        Ok(JoinedLinear::new(linears))
    }

    /// The form of the weight of the linear layer at this path.
    fn form(&self) -> StoredForm {
        match self.quantized() {
            Some(stored) => StoredForm::Quantized(stored.weight().encoding),
            None => StoredForm::Float(self.stored_float("weight")),
        }
    }

    /// The weight of the linear layer at this path if it is quantized.
    fn quantized(&self) -> Option<StoredQuantized<'a>> {
        self.file.and_then(|file| file.quantized(&self.path("weight")))
    }

    /// The type in which a tensor is stored, or f32 if it is quantized.
    fn stored_float(&self, name: &str) -> DType {
        let stored = self.file.and_then(|file| file.stored_float(&self.path(name)));
        stored.map_or(self.vb.dtype(), candle_dtype)
    }

    fn path(&self, name: &str) -> String {
        match self.vb.prefix() {
            prefix if prefix.is_empty() => name.to_string(),
            prefix => format!("{prefix}.{name}"),
        }
    }

    pub(crate) fn layer_norm(&self, name: &str, size: usize, eps: f64) -> Result<LayerNorm> {
        let loader = self.pp(name);
        LayerNorm::new(&loader.vector("weight", size)?, &loader.vector("bias", size)?, eps)
    }

    /// A tensor in the type in which it is stored, or in f32 if it is quantized.
    pub(crate) fn tensor(&self, name: &str, shape: impl Into<Shape>) -> Result<Tensor> {
        let dtype = self.stored_float(name);
        self.vb.get_with_hints_dtype(shape, name, Default::default(), dtype)?.to_device(&Device::Cpu)
    }
}
