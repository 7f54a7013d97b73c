//! The model whose bits are chosen: its layers with the encodings that they can have, and its weights in any mix of them.

use std::collections::HashMap;

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use mert_arch::{Dtype, Encoding, FINAL_PROJ, Layout, Quantization, QuantizationMode, StoredTensor};
use mert_checkpoint::Source;
use mert_convert::transform::{Quantize, Transform};
use mert_convert::write::safetensors_len;
use mert_convert::{Plan, PlanOptions, QuantizeOptions, Step, run_step};
use mert_runtime::Model;

use crate::decode::decode;
use crate::goal::Goal;
use crate::mix::mixed;
use crate::{BudgetError, Result};

/// An encoding that a layer can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The quantization; `None` for the float type.
    pub quantization: Option<Quantization>,
    /// The number of bytes of the weight.
    pub bytes: usize,
}

/// A linear layer whose bits are chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The path of the module, such as `encoder.layers.0.attention.q_proj`.
    pub module: String,
    /// The encodings that it can have, the smallest first and the float type last.
    pub candidates: Vec<Candidate>,
    /// The layer of the encoder that it belongs to, where 1 is the first; 0 for one before all of them.
    pub(crate) layer: usize,
}

/// A checkpoint, and the layers of it whose bits are chosen.
pub struct Subject<'a> {
    source: &'a Source,
    options: PlanOptions,
    quantize: QuantizeOptions,
    /// All in the float type of the output, in PyTorch's order.
    float: Plan,
    /// All in f32, in PyTorch's order.
    exact: Plan,
    groups: Vec<Group>,
}

impl<'a> Subject<'a> {
    /// Plans the conversion of a checkpoint. The linear layers that `options.quantize` selects are those whose bits are
    /// chosen, in groups of its size.
    ///
    /// # Errors
    /// [`BudgetError::Convert`] for a checkpoint that cannot be planned.
    pub fn new(source: &'a Source, options: &PlanOptions) -> Result<Self> {
        let quantize = options.quantize.clone().unwrap_or_default();
        let measured =
            |dtype, quantize| PlanOptions { program: None, layout: Layout::Torch, dtype, quantize, ..options.clone() };
        let quantized = Plan::new(source, &measured(options.dtype, Some(quantize.clone())))?;
        let float = Plan::new(source, &measured(options.dtype, None))?;
        let exact = Plan::new(source, &measured(Dtype::F32, None))?;
        let group_size = quantize.default.group_size;
        let groups: Vec<Group> = quantized.steps.iter().filter_map(|step| group(step, group_size)).collect();
        Ok(Subject { source, options: options.clone(), quantize, float, exact, groups })
    }

    /// The plan of the conversion without quantization.
    pub fn plan(&self) -> &Plan {
        &self.float
    }

    /// The layers whose bits are chosen, in the order of their names.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The number of values of a group.
    pub(crate) fn group_size(&self) -> usize {
        self.quantize.default.group_size
    }

    /// The options of the conversion with the candidate `choice[i]` for each group i.
    pub fn options(&self, choice: &[usize]) -> PlanOptions {
        let modules = self.groups.iter().zip(choice);
        let modules = modules.map(|(group, &i)| (group.module.clone(), group.candidates[i].quantization));
        let mut quantize = mixed(&self.quantize, modules.collect());
        if self.options.keep_final_proj {
            // No hidden state shows its error.
            quantize.layers.insert(FINAL_PROJ.into(), None);
        }
        PlanOptions { quantize: Some(quantize), ..self.options.clone() }
    }

    /// The size in bytes of the file with the candidate `choice[i]` for each group i, its header included.
    ///
    /// # Errors
    /// [`BudgetError::Convert`].
    pub fn file_len(&self, choice: &[usize]) -> Result<usize> {
        Ok(safetensors_len(&Plan::new(self.source, &self.options(choice))?))
    }

    /// Refuses a goal that can be told to be out of reach before anything is measured.
    ///
    /// # Errors
    /// [`BudgetError::TooSmall`] if the fewest bits take more bytes than allowed.
    pub fn check(&self, goal: Goal) -> Result<()> {
        let Goal::Size(size) = goal else { return Ok(()) };
        let smallest = self.file_len(&vec![0; self.groups.len()])? as u64;
        if smallest > size.0 { Err(BudgetError::TooSmall { size, smallest }) } else { Ok(()) }
    }

    /// The model in f32, with the original weights.
    ///
    /// # Errors
    /// [`BudgetError::Model`] if a weight cannot be read.
    pub fn exact_model(&self) -> Result<Model> {
        self.load(&self.exact, HashMap::new())
    }

    /// The model with the candidate `choice[i]` for each group i, and everything else in the float type.
    ///
    /// # Errors
    /// [`BudgetError::Model`] if a weight cannot be read.
    pub fn model(&self, choice: &[usize]) -> Result<Model> {
        let steps =
            self.groups.iter().zip(choice).map(|(group, &i)| self.step(group, group.candidates[i].quantization));
        self.load(&self.float, steps.flatten().map(|step| (step.name.clone(), step)).collect())
    }

    /// The model in f32 with one layer before the encoder's quantized.
    pub(crate) fn model_with(&self, group: &Group, quantization: Option<Quantization>) -> Result<Model> {
        let step = self.step(group, quantization);
        self.load(&self.exact, step.map(|step| (step.name.clone(), step)).into_iter().collect())
    }

    /// The weights of an encoder layer in f32, by name.
    pub(crate) fn layer_weights(&self, layer: usize) -> Result<HashMap<String, Tensor>> {
        let prefix = format!("encoder.layers.{}.", layer - 1);
        let steps = self.exact.steps.iter().filter(|step| step.name.starts_with(&prefix));
        steps.map(|step| Ok((step.name.clone(), self.tensor(step)?))).collect()
    }

    /// The name of a group's weight, and its values when decoded.
    pub(crate) fn decoded(
        &self,
        group: &Group,
        quantization: Option<Quantization>,
    ) -> Result<Option<(String, Tensor)>> {
        self.step(group, quantization).map(|step| Ok((step.name.clone(), self.tensor(&step)?))).transpose()
    }

    /// The step that stores a group's weight.
    fn step(&self, group: &Group, quantization: Option<Quantization>) -> Option<Step> {
        let name = format!("{}.weight", group.module);
        let mut step = self.float.steps.iter().find(|step| step.name == name)?.clone();
        if let Some(quantization) = quantization {
            let float = self.float.dtype;
            step.chain.push(Transform::Quantize(Quantize { quantization, float }));
            step.outputs = Encoding::Quantized { quantization, float }.stored_tensors(&step.name, &step.shape);
        }
        Some(step)
    }

    /// The values that a reader of a step's output gets.
    fn tensor(&self, step: &Step) -> Result<Tensor> {
        let mut stored: Vec<Vec<u8>> =
            step.outputs.iter().map(StoredTensor::byte_len).map(Vec::with_capacity).collect();
        run_step(step, self.source.checkpoint(), &mut |output, bytes| {
            stored[output].extend_from_slice(bytes);
            Ok(())
        })?;
        let columns = step.shape.last().copied().unwrap_or(1);
        Ok(Tensor::from_vec(decode(step.encoding(), columns, &stored), step.shape.as_slice(), &Device::Cpu)?)
    }

    fn load(&self, plan: &Plan, replaced: HashMap<String, Step>) -> Result<Model> {
        let steps = plan.steps.iter().map(|step| (step.name.as_str(), step)).collect();
        let backend = Weights { subject: self, steps, replaced: &replaced };
        Ok(Model::load(VarBuilder::from_backend(Box::new(backend), DType::F32, Device::Cpu), &plan.config)?)
    }
}

/// The group of a step that quantizes, with every width of a code that groups of `group_size` can have.
fn group(step: &Step, group_size: usize) -> Option<Group> {
    let Encoding::Quantized { float, .. } = step.encoding() else { return None };
    let module = step.name.strip_suffix(".weight").filter(|module| *module != FINAL_PROJ)?;
    let layer = module.strip_prefix("encoder.layers.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
    let quantized = QuantizationMode::Affine.bits().iter().filter_map(|&bits| {
        let quantization = Quantization::new(QuantizationMode::Affine, bits, group_size).ok()?;
        let bytes = Encoding::Quantized { quantization, float }.byte_len(&step.shape);
        Some(Candidate { quantization: Some(quantization), bytes })
    });
    let float = Candidate { quantization: None, bytes: Encoding::Float(float).byte_len(&step.shape) };
    let candidates = quantized.chain([float]).collect();
    Some(Group { module: module.to_string(), candidates, layer: layer.map_or(0, |layer| layer + 1) })
}

/// The weights of a plan, some of them replaced, as a source that a model is loaded from.
struct Weights<'s> {
    subject: &'s Subject<'s>,
    steps: HashMap<&'s str, &'s Step>,
    replaced: &'s HashMap<String, Step>,
}

impl SimpleBackend for Weights<'_> {
    fn get(&self, _: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        self.get_unchecked(name, dtype, device)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        let step = self.replaced.get(name).or_else(|| self.steps.get(name).copied());
        let step = step.ok_or_else(|| candle_core::Error::CannotFindTensor { path: name.to_string() }.bt())?;
        self.subject.tensor(step).map_err(candle_core::Error::wrap)?.to_device(device)?.to_dtype(dtype)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.steps.contains_key(name)
    }
}
