//! The language model and the condition transformer of a bundle: a step for each tensor, merged and quantized as the options say.

use std::collections::BTreeMap;

use mert_arch::{Encoding, MusicgenConfig, QuantizationConfig, Role, TensorSpec};
use mert_checkpoint::{SourceDtype, nearest};

use super::config::names;
use super::error::{MusicgenError, MusicgenProblem};
use super::kind::MusicgenKind;
use super::lora::{Change, Changes};
use super::options::MusicgenOptions;
use super::pool::Pool;
use super::source::Sources;
use super::steps::{Reads, StepSpec};
use super::tensors::Found;
use crate::plan::{Choice, QuantizeOptions, Step, choose_encoding};
use crate::transform::Transform;
use crate::{Problem, Result};

/// The steps of the language model, and what is left of its tensors.
pub(super) struct LanguageModel {
    pub(super) steps: Vec<Step>,
    pub(super) quantization: Option<QuantizationConfig>,
    pub(super) pool: Pool,
}

/// Plans the language model. `shown` is the name that the input would have for a tensor.
///
/// # Errors
/// [`MusicgenError::UnusedPattern`] for a pattern of layers that matches none.
pub(super) fn plan(
    config: &MusicgenConfig,
    found: BTreeMap<String, Found>,
    mut changes: Changes,
    shown: &dyn Fn(&str) -> String,
    options: &MusicgenOptions,
    sources: &Sources,
    reads: &mut Reads,
) -> Result<LanguageModel> {
    let specs = config.inventory();
    if let Some(quantize) = &options.quantize {
        let linear: Vec<TensorSpec> = specs.iter().filter(|spec| fixed_reason(spec).is_none()).cloned().collect();
        if let Some((option, pattern)) = quantize.unused(&linear) {
            return Err(unused_pattern(option, pattern, &linear).into());
        }
    }
    let mut pool = Pool::new(found);
    let (mut steps, mut layers) = (Vec::new(), BTreeMap::new());
    let is_instruct = sources.main.kind == MusicgenKind::Instruct;
    for spec in &specs {
        if is_instruct && is_cross_projection(&spec.name) && !pool.found.contains_key(&spec.name) {
            let (name, expected) = (shown(&spec.name), spec.shape.clone());
            pool.problems.push(MusicgenProblem::MissingCrossAttention { name, expected });
            continue;
        }
        let Some(base) = pool.take(&spec.name, &shown(&spec.name), &spec.shape) else { continue };
        let change = changes.remove(&spec.name).and_then(|change| checked(change, spec, &mut pool.problems));
        let choice = encoding(spec, options);
        let name = names(options).from_mlx(&spec.name).unwrap_or_else(|| spec.name.clone());
        if is_module(spec) {
            layers.insert(module(&name).to_string(), choice.quantization());
        }
        let merge = change.as_ref().map(|change| Transform::MergeLora(change.merge));
        let factors = change.iter().flat_map(|change| &change.factors);
        let step = StepSpec {
            name,
            torch_shape: spec.shape.clone(),
            role: spec.role,
            inputs: std::iter::once(&base).chain(factors).collect(),
            change: merge,
            axes: None,
            encoding: choice.encoding,
            left_unquantized: choice.left_unquantized,
        };
        steps.push(step.into_step(sources, reads));
    }
    for (name, change) in changes {
        let reason = format!("it changes `{name}`, which the model does not have");
        let key = change.factors.first().map(|factor| factor.key.clone()).unwrap_or_default();
        pool.problems.push(MusicgenProblem::Lora { name: key, reason });
    }
    let expected: Vec<String> = specs.iter().map(|spec| shown(&spec.name)).collect();
    pool.account_for(&expected, |_| None);
    let quantization = options.quantize.as_ref().and_then(|options| quantization(layers, options));
    Ok(LanguageModel { steps, quantization, pool })
}

/// The error for a pattern that matches none of these layers.
fn unused_pattern(option: &'static str, pattern: String, linear: &[TensorSpec]) -> MusicgenError {
    let modules: Vec<&str> =
        linear.iter().filter(|spec| spec.role == Role::Linear).map(|spec| module(&spec.name)).collect();
    let example = nearest(&pattern, modules.iter().copied()).map(|module| module.to_string());
    let example = example.or_else(|| modules.first().map(|module| module.to_string())).unwrap_or_default();
    MusicgenError::UnusedPattern { option, pattern, example }
}

/// Whether a tensor is the frozen q, k or v of a cross-attention.
fn is_cross_projection(name: &str) -> bool {
    let projection = name.rsplit_once(".cross_attn.").map(|(_, projection)| projection);
    matches!(projection, Some("q_proj.weight" | "k_proj.weight" | "v_proj.weight"))
}

/// Checks that a change fits its weight.
fn checked(change: Change, spec: &TensorSpec, problems: &mut Vec<MusicgenProblem>) -> Option<Change> {
    let [a, b] = [change.factors.first()?, change.factors.get(1)?];
    for factor in &change.factors {
        if let SourceDtype::Other(found) = &factor.info.dtype {
            problems.push(Problem::Dtype { name: factor.key.clone(), found: found.clone() }.into());
            return None;
        }
    }
    let sizes = |found: &Found| [found.info.shape.first().copied(), found.info.shape.get(1).copied()];
    let shape = match change.merge.is_transposed {
        true => [sizes(b)[1], sizes(a)[0]],
        false => [sizes(b)[0], sizes(a)[1]],
    };
    if spec.role != Role::Linear || spec.shape.iter().copied().map(Some).ne(shape) {
        let reason = format!(
            "it is of a layer {:?}, but `{}` is {:?}",
            shape.map(Option::unwrap_or_default),
            spec.name,
            spec.shape
        );
        problems.push(MusicgenProblem::Lora { name: a.key.clone(), reason });
        return None;
    }
    Some(change)
}

/// The encoding of a tensor.
pub(super) fn encoding(spec: &TensorSpec, options: &MusicgenOptions) -> Choice {
    match (fixed_reason(spec), &options.quantize) {
        (Some(reason), Some(_)) => {
            Choice { encoding: Encoding::Float(options.dtype), left_unquantized: Some(reason.into()) }
        }
        (_, quantize) => choose_encoding(spec, options.dtype, quantize.as_ref()),
    }
}

/// The reason why a linear layer stays in the float type in every bundle, as those of MLX's relatives of MusicGen do.
fn fixed_reason(spec: &TensorSpec) -> Option<&'static str> {
    if spec.name.starts_with("lm.linears.") {
        Some("a head, whose errors go into every token")
    } else if spec.name.starts_with("text_conditioner.") && spec.role == Role::Linear {
        Some("the projection of the text, which runs once")
    } else {
        None
    }
}

/// Whether `mlx.nn.quantize` would quantize the module of a tensor, so that the configuration must say whether it is.
pub(super) fn is_module(spec: &TensorSpec) -> bool {
    spec.name.ends_with(".weight") && matches!(spec.role, Role::Linear | Role::Embedding)
}

/// The path of the module of a weight.
pub(super) fn module(name: &str) -> &str {
    name.strip_suffix(".weight").unwrap_or(name)
}

/// The field `quantization`: every module that differs from the default by its path in the output. `None` if none is
/// quantized.
pub(super) fn quantization(
    mut layers: BTreeMap<String, Option<mert_arch::Quantization>>,
    options: &QuantizeOptions,
) -> Option<QuantizationConfig> {
    if layers.values().all(Option::is_none) {
        return None;
    }
    layers.retain(|_, layer| *layer != Some(options.default));
    Some(QuantizationConfig { default: options.default, layers })
}

/// Whether an output is for a program that has no condition transformer.
///
/// # Errors
/// [`MusicgenError::Option`] for a model with one.
pub(super) fn check_program(config: &MusicgenConfig, options: &MusicgenOptions) -> Result<()> {
    if !options.for_mlx_examples || config.cp_transformer.is_none() {
        return Ok(());
    }
    let reason = "is for plain MusicGen: the class of mlx-examples has no condition transformer, without which Instruct-MusicGen \
                  is another model; leave it out"
        .to_string();
    Err(MusicgenError::Option { option: "--for mlx-examples", reason }.into())
}
