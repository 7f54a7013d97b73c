//! The tensors of a checkpoint, each accounted for: in the order and names of MLX, or in PyTorch's with weight norm fused
//! or not.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Device, Tensor};
use mert_arch::{
    EncodecConfig, EncodecMlxTensor, EncodecRole, EncodecTensor, EncodecWeightNorm, PadMode,
    encodec_training_only_reason, encodec_weight_norms,
};
use mert_checkpoint::{Checkpoint, nearest, read_f32};

use crate::conv::{Conv1d, Downsample, Upsample};
use crate::lstm::{Lstm, LstmLayer};
use crate::{EncodecError, Result};

/// The names that a checkpoint's tensors have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    /// mlx-examples'.
    Mlx,
    /// transformers'.
    HuggingFace,
}

/// The tensors of a checkpoint, with those that have been read.
pub(crate) struct Weights<'s> {
    checkpoint: &'s dyn Checkpoint,
    device: &'s Device,
    names: Names,
    pad_mode: PadMode,
    inventory: BTreeMap<String, EncodecMlxTensor>,
    read: RefCell<BTreeSet<String>>,
}

impl<'s> Weights<'s> {
    pub(crate) fn new(config: &EncodecConfig, checkpoint: &'s dyn Checkpoint, device: &'s Device) -> Self {
        // Every codec has an LSTM, whose names differ.
        let is_mlx = checkpoint.listing().tensors.keys().any(|name| name.contains(".lstm.") && name.ends_with(".Wx"));
        let names = if is_mlx { Names::Mlx } else { Names::HuggingFace };
        let inventory = config.mlx_inventory().into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        Weights { checkpoint, device, names, pad_mode: config.pad_mode, inventory, read: RefCell::default() }
    }

    /// A convolution of stride 1.
    pub(crate) fn conv1d(&self, path: &str, dilation: usize) -> Result<Conv1d> {
        let (weight, bias) = self.conv(path)?;
        Conv1d::new(&weight, bias, dilation, self.pad_mode)
    }

    /// A convolution that lowers the rate.
    pub(crate) fn downsample(&self, path: &str) -> Result<Downsample> {
        let (weight, bias) = self.conv(path)?;
        Downsample::new(&weight, bias, self.pad_mode)
    }

    /// A convolution that raises the rate.
    pub(crate) fn upsample(&self, path: &str) -> Result<Upsample> {
        let (weight, bias) = self.conv(path)?;
        Upsample::new(&weight, bias)
    }

    /// The LSTM.
    pub(crate) fn lstm(&self, config: &EncodecConfig, path: &str) -> Result<Lstm> {
        let layer = |number: usize| {
            let tensor = |parameter: &str| self.tensor(&format!("{path}.lstm.{number}.{parameter}"));
            let input = tensor("Wx")?.t()?.contiguous()?;
            Ok(LstmLayer { input, hidden: tensor("Wh")?, bias: tensor("bias")? })
        };
        Ok(Lstm { layers: (0..config.num_lstm_layers).map(layer).collect::<Result<_>>()? })
    }

    /// The vectors of all codebooks.
    pub(crate) fn codebooks(&self, config: &EncodecConfig) -> Result<Vec<Tensor>> {
        (0..config.num_quantizers()).map(|k| self.tensor(&format!("quantizer.layers.{k}.codebook.embed"))).collect()
    }

    /// Checks that all tensors were read, except those that only training uses.
    ///
    /// # Errors
    /// [`EncodecError::UnknownTensors`].
    pub(crate) fn check_all_read(&self) -> Result<()> {
        let read = self.read.borrow();
        let tensors = self.checkpoint.listing().tensors.keys();
        let unknown: Vec<&String> =
            tensors.filter(|key| !read.contains(*key) && encodec_training_only_reason(key).is_none()).collect();
        match unknown.first() {
            None => Ok(()),
            Some(first) => Err(EncodecError::UnknownTensors { count: unknown.len(), first: (*first).clone() }),
        }
    }

    /// The weight `(output, kernel, input)` and the bias of a convolution.
    fn conv(&self, path: &str) -> Result<(Tensor, Tensor)> {
        Ok((self.tensor(&format!("{path}.conv.weight"))?, self.tensor(&format!("{path}.conv.bias"))?))
    }

    /// A tensor by its name in MLX, in MLX's order and f32.
    fn tensor(&self, name: &str) -> Result<Tensor> {
        let Some(EncodecMlxTensor { shape, sources, .. }) = self.inventory.get(name) else {
            return Err(self.missing(name));
        };
        if self.names == Names::Mlx {
            return Ok(Tensor::from_vec(self.values(name, shape)?, shape.as_slice(), self.device)?);
        }
        let mut sum: Option<Tensor> = None;
        for source in sources {
            let tensor = self.torch_tensor(source)?;
            sum = Some(match sum {
                Some(sum) => (sum + tensor)?,
                None => tensor,
            });
        }
        sum.ok_or_else(|| self.missing(name))
    }

    /// A tensor of transformers in MLX's order.
    fn torch_tensor(&self, tensor: &EncodecTensor) -> Result<Tensor> {
        let EncodecTensor { name, shape, role } = tensor;
        let values = match self.weight_norm(name, *role) {
            Some(pair) => self.fused(&pair, shape)?,
            None => self.values(name, shape)?,
        };
        let tensor = Tensor::from_vec(values, shape.as_slice(), self.device)?;
        Ok(match role.mlx_axes() {
            Some(axes) => tensor.permute(axes.as_slice())?.contiguous()?,
            None => tensor,
        })
    }

    /// The names of magnitude and direction, if the checkpoint has the weight under weight norm.
    fn weight_norm(&self, name: &str, role: EncodecRole) -> Option<EncodecWeightNorm> {
        let tensors = &self.checkpoint.listing().tensors;
        let pairs = encodec_weight_norms(name);
        pairs.into_iter().find(|pair| role.has_weight_norm() && tensors.contains_key(&pair.v))
    }

    /// g · v / ‖v‖, with a norm for each index of the first axis.
    fn fused(&self, pair: &EncodecWeightNorm, shape: &[usize]) -> Result<Vec<f32>> {
        let rows = shape.first().copied().unwrap_or(1);
        let mut weight = self.values(&pair.v, shape)?;
        let magnitudes = self.values(&pair.g, &[rows, 1, 1])?;
        let width = weight.len() / rows.max(1);
        for (row, magnitude) in weight.chunks_exact_mut(width.max(1)).zip(magnitudes) {
            let norm = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
            let factor = f64::from(magnitude) / norm;
            row.iter_mut().for_each(|v| *v = (f64::from(*v) * factor) as f32);
            if let Some(index) = row.iter().position(|value| !value.is_finite()) {
                return Err(EncodecError::NotFinite { name: pair.v.clone(), index, value: row[index] });
            }
        }
        Ok(weight)
    }

    /// The values of a tensor of the file, widened to f32.
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let Some(info) = self.checkpoint.listing().tensors.get(name) else {
            return Err(self.missing(name));
        };
        if info.shape != shape {
            let (found, expected) = (info.shape.clone(), shape.to_vec());
            return Err(EncodecError::Shape { name: name.into(), found, expected });
        }
        self.read.borrow_mut().insert(name.to_string());
        let values = read_f32(self.checkpoint, name)?;
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(index) => Err(EncodecError::NotFinite { name: name.into(), index, value: values[index] }),
        }
    }

    fn missing(&self, name: &str) -> EncodecError {
        let hint = nearest(name, self.checkpoint.listing().tensors.keys().map(String::as_str));
        let hint = hint.map(|hint| format!(" (the nearest name is `{hint}`)")).unwrap_or_default();
        EncodecError::MissingTensor { name: name.into(), hint }
    }
}
