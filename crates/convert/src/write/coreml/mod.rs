//! Core ML packages: an ML Program that Core ML compiles and runs, written without Apple's tools.
//!
//! [`model`] says what the program computes, in terms of [`graph`], which knows the operations; [`proto`] has
//! the messages that it becomes, [`blob`] the file of weights, [`description`] what an app sees of it,
//! [`package`] the folder. None of it is shared with what verifies packages.

mod blob;
mod description;
mod graph;
mod model;
mod options;
mod package;
mod proto;

use std::collections::BTreeMap;

use mert_arch::{Dtype, Layout};

use self::graph::{Blob, Dim, Float, Graph, Tensor};
use self::model::Model;
use self::options::InputSamples;
pub use self::options::{CoreMlOptions, DeploymentTarget, InputLengths};
pub use self::package::{check_package_output, coreml};
use crate::{ConvertError, Plan, Result};

/// The program's input, f32 `(1, samples)`.
const INPUT: &str = "input_values";
/// Its output, f32 `(hidden states, hidden_size)`.
const POOLED_OUTPUT: &str = "hidden_states";
/// Its other output where it is asked for, f32 `(hidden states, frames, hidden_size)`.
const FRAMES_OUTPUT: &str = "frame_hidden_states";

/// What a package will hold.
pub struct CoreMlProgram<'p> {
    plan: &'p Plan,
    target: DeploymentTarget,
    samples: InputSamples,
    /// The hidden states that it returns, ascending.
    layers: Vec<usize>,
    input: Tensor,
    outputs: Vec<Tensor>,
    block: proto::Block,
    blobs: Vec<Blob<'p>>,
}

/// Builds the program for a plan, whose tensors must be in PyTorch's order (layout `candle`).
///
/// A program in f16 has the weights of an f16 file and computes in half precision, but for the first
/// convolution, what normalises it, and the means over frames.
///
/// # Errors
/// [`ConvertError::CoreMl`] for what Core ML cannot do, or the model has not.
pub fn coreml_program<'p>(plan: &'p Plan, options: &CoreMlOptions) -> Result<CoreMlProgram<'p>> {
    let config = &plan.config;
    let dtype = match plan.dtype {
        Dtype::F16 => Float::F16,
        Dtype::F32 => Float::F32,
        Dtype::Bf16 => return Err(ConvertError::CoreMl("Core ML has no bf16; take --dtype f16 or --dtype f32".into())),
    };
    if plan.layout != Layout::Torch {
        return Err(ConvertError::CoreMl("its weights are in PyTorch's order; leave --layout out".into()));
    }
    let samples = options.lengths.in_samples(config, plan.preprocessor.preprocessor.sampling_rate)?;
    let layers = options.layers.resolve(config.num_hidden_states()).map_err(|e| ConvertError::CoreMl(e.to_string()))?;
    let last = layers.last().copied().unwrap_or_default();

    let length = match samples {
        InputSamples::Fixed(samples) => Dim::Fixed(samples),
        InputSamples::Listed(_) | InputSamples::Range(..) => Dim::Unknown,
    };
    let input = Tensor { name: INPUT.into(), dtype: Float::F32, dims: vec![Dim::Fixed(1), length] };
    let mut graph = Graph::new(&plan.steps, blob::HEADER_LEN);
    let model = Model { config, dtype, fused_attention: options.minimum_deployment.has_attention() };
    let states = model.hidden_states(&mut graph, &input, last);
    let states: Vec<(usize, Tensor)> = layers
        .iter()
        .map(|&index| (index, graph.cast(&format!("{POOLED_OUTPUT}.{index}"), &states[index], Float::F32)))
        .collect();
    let mut outputs = vec![model::pooled(&mut graph, &states, POOLED_OUTPUT)];
    if options.frames {
        outputs.push(model::stacked(&mut graph, &states, FRAMES_OUTPUT));
    }
    let (block, blobs) =
        graph.finish(&outputs).map_err(|reason| ConvertError::CoreMl(format!("{reason}; take --dtype f32")))?;
    Ok(CoreMlProgram { plan, target: options.minimum_deployment, samples, layers, input, outputs, block, blobs })
}

impl CoreMlProgram<'_> {
    /// How many tensors of the checkpoint it holds: those that the hidden states asked for depend on.
    pub fn tensor_count(&self) -> usize {
        self.blobs.len()
    }

    /// Bytes of all of them together.
    pub fn byte_len(&self) -> usize {
        self.blobs.iter().map(|blob| blob.placed().byte_len()).sum()
    }

    /// What it takes and returns and where it runs, in a line.
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

    /// The file `model.mlmodel`.
    fn model(&self, source_sha256: String) -> proto::Model {
        let opset = self.target.opset().to_string();
        let function = proto::Function {
            inputs: vec![self.input.named_type()],
            block_specializations: BTreeMap::from([(opset.clone(), self.block.clone())]),
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
