//! The ML Program of a plan.

use std::collections::BTreeMap;

use mert_arch::{Dtype, Layout};

use super::blob::{self, Blob};
use super::description::{self, FRAMES_OUTPUT, INPUT, POOLED_OUTPUT};
use super::graph::{Dim, Finished, Float, Graph, Tensor};
use super::inline::InlineWeight;
use super::model::{self, Model};
use super::options::{CoreMlOptions, DeploymentTarget, InputSamples};
use super::proto;
use crate::plan::Plan;
use crate::{ConvertError, Result};

/// A program and the weights that it uses.
pub struct CoreMlProgram<'p> {
    pub(super) plan: &'p Plan,
    target: DeploymentTarget,
    samples: InputSamples,
    /// The indices of the hidden states that the program returns, ascending.
    layers: Vec<usize>,
    input: Tensor,
    outputs: Vec<Tensor>,
    finished: Finished<'p>,
}

/// Builds the program for a plan, whose tensors must be in PyTorch's order (layout `candle`).
///
/// A program in f16 has the weights of an f16 file and computes in half precision, except for the first convolution, its
/// normalisation, and the means over frames.
///
/// # Errors
/// [`ConvertError::CoreMl`] for options that Core ML does not support, or hidden states that the model does not have.
pub fn coreml_program<'p>(plan: &'p Plan, options: &CoreMlOptions) -> Result<CoreMlProgram<'p>> {
    let config = &plan.config;
    let dtype = match plan.dtype {
        Dtype::F16 => Float::F16,
        Dtype::F32 => Float::F32,
        Dtype::Bf16 => return Err(ConvertError::core_ml("Core ML has no bf16; use --dtype f16 or --dtype f32")),
    };
    if plan.layout != Layout::Torch {
        return Err(ConvertError::core_ml("its weights are in PyTorch's order; leave --layout out"));
    }
    if plan.quantization.is_some() {
        return Err(ConvertError::core_ml(
            "MLX's codes have no exact counterpart there; give --compress, such as int8 or int4, in place of --quantize",
        ));
    }
    if let Some(compression) = &plan.compression {
        let needed = DeploymentTarget::with_compression(compression);
        if options.minimum_deployment < needed {
            return Err(ConvertError::core_ml(format!(
                "weights in {compression} need {needed} or later, and {} is the oldest system that it must run on; give \
                 --minimum-deployment {needed}",
                options.minimum_deployment
            )));
        }
    }
    let samples = options.lengths.in_samples(config, plan.preprocessor.preprocessor.sampling_rate)?;
    let layers =
        options.layers.resolve(config.num_hidden_states()).map_err(|e| ConvertError::core_ml(e.to_string()))?;
    let last = layers.last().copied().unwrap_or_default();

    let length = match samples {
        InputSamples::Fixed(samples) => Dim::Fixed(samples),
        InputSamples::Listed(_) | InputSamples::Range(..) => Dim::Unknown,
    };
    let input = Tensor { name: INPUT.into(), dtype: Float::F32, dims: vec![Dim::Fixed(1), length] };
    let mut graph = Graph::new(&plan.steps, blob::HEADER_LEN, options.minimum_deployment);
    let longest = config.frames(samples.longest()).unwrap_or_default();
    let model = Model { config, dtype, fused_attention: options.minimum_deployment.has_attention(), longest };
    let states = model.hidden_states(&mut graph, &input, last);
    let states: Vec<(usize, Tensor)> = layers
        .iter()
        .map(|&index| (index, graph.cast(&format!("{POOLED_OUTPUT}.{index}"), &states[index], Float::F32)))
        .collect();
    let mut outputs = vec![model::pooled(&mut graph, &states, POOLED_OUTPUT)];
    if options.frames {
        outputs.push(model::stacked(&mut graph, &states, FRAMES_OUTPUT));
    }
    let finished = graph.finish(&outputs, |tensor| model.needs(tensor, last)).map_err(ConvertError::core_ml)?;
    Ok(CoreMlProgram { plan, target: options.minimum_deployment, samples, layers, input, outputs, finished })
}

impl<'p> CoreMlProgram<'p> {
    /// The weights in the blob file.
    pub(super) fn blobs(&self) -> &[Blob<'p>] {
        &self.finished.blobs
    }

    /// The weights that are part of the program.
    pub(super) fn inline(&self) -> &[InlineWeight<'p>] {
        &self.finished.inline
    }

    /// The number of tensors of the checkpoint that the requested hidden states depend on.
    pub fn tensor_count(&self) -> usize {
        self.blobs().len() + self.inline().len()
    }

    /// The number of them that are compressed.
    pub fn compressed_count(&self) -> usize {
        self.blobs().iter().filter(|blob| blob.records.len() > 1).count()
    }

    /// The number of bytes of these tensors.
    pub fn byte_len(&self) -> usize {
        let inline = self.inline().iter().map(|weight| weight.tensor.byte_len());
        self.blobs().iter().map(|blob| blob.tensor().byte_len()).chain(inline).sum()
    }

    /// The input, the outputs and the deployment target, in a line.
    pub fn summary(&self) -> String {
        let samples = match &self.samples {
            InputSamples::Fixed(samples) => samples.to_string(),
            InputSamples::Listed(listed) => {
                let listed: Vec<String> = listed.iter().map(usize::to_string).collect();
                listed.join(" or ")
            }
            InputSamples::Range(shortest, longest) => format!("{shortest} to {longest}"),
        };
        let extent = |dim: &Dim| match dim {
            Dim::Fixed(extent) => extent.to_string(),
            Dim::Unknown => "frames".into(),
        };
        let output = |tensor: &Tensor| {
            let dims: Vec<String> = tensor.dims.iter().map(extent).collect();
            format!("{} ({})", tensor.name, dims.join(", "))
        };
        let outputs: Vec<String> = self.outputs.iter().map(output).collect();
        format!("{INPUT} (1, {samples}) to {}; {} and later", outputs.join(" and "), self.target)
    }

    /// The content of the file `model.mlmodel`, with the values of the inline weights.
    pub(super) fn model(&self, source_sha256: String, inline: Vec<proto::ValueKind>) -> proto::Model {
        let mut block = self.finished.block.clone();
        for (weight, value) in self.inline().iter().zip(inline) {
            if let Some(declared) = block.operations[weight.operation].attributes.get_mut("val") {
                declared.value = Some(value);
            }
        }
        let opset = self.target.opset().to_string();
        let function = proto::Function {
            inputs: vec![self.input.named_type()],
            block_specializations: BTreeMap::from([(opset.clone(), block)]),
            opset,
        };
        let description = proto::ModelDescription {
            input: vec![description::input(self.plan.preprocessor.preprocessor, &self.samples)],
            output: self.outputs.iter().map(|output| description::output(output, &self.layers)).collect(),
            metadata: Some(description::metadata(self.plan, &self.layers, source_sha256)),
        };
        proto::Model {
            specification_version: self.target.specification_version(),
            description: Some(description),
            ml_program: Some(proto::Program { version: 1, functions: BTreeMap::from([("main".into(), function)]) }),
        }
    }
}
