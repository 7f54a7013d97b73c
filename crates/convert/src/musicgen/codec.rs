//! The part `encodec/` of a bundle: EnCodec with weight norm fused, in the names and the order of axes of mlx-examples.

use std::collections::BTreeMap;

use mert_arch::{
    CONFIG_FILE, EncodecConfig, EncodecMlxTensor, EncodecRole, EncodecTensor, Encoding, Role,
    encodec_training_only_reason, encodec_weight_norms, hf_encodec_name,
};
use serde_json::{Map, Value};

use super::config::{json_text, parsed};
use super::error::MusicgenError;
use super::kind::{MusicgenKind, RecognizedMusicgen};
use super::options::MusicgenOptions;
use super::part::{Companion, LICENSE, MusicgenPart};
use super::pool::Pool;
use super::source::Sources;
use super::steps::{Reads, StepSpec, plain};
use super::tensors::Found;
use super::yaml::xp_cfg;
use crate::Result;
use crate::transform::{FuseWeightNorm, Transform};

/// The axis of a convolution's weight along which each index has its own norm: PyTorch's default, also where the first axis
/// is the input, as in transposed convolutions.
const FUSE: FuseWeightNorm = FuseWeightNorm { dim: 0 };

/// The fields of the codec's configuration, from the `config.json` of transformers or the `xp.cfg` of audiocraft.
pub(super) fn fields(source: &RecognizedMusicgen) -> Result<Map<String, Value>> {
    let (what, path) = ("the codec's configuration", source.path.clone());
    let error = |source| MusicgenError::Config { path, what, source };
    let (mut fields, config) = match (xp_cfg(source)?, source.config_text()?) {
        (Some(cfg), _) => (Map::new(), EncodecConfig::from_audiocraft(&cfg).map_err(error)?),
        (None, Some((path, text))) => {
            let value = parsed(&path, &text)?;
            let value = match source.kind {
                MusicgenKind::HuggingFace => value.get("audio_encoder").cloned().unwrap_or_default(),
                _ => value,
            };
            let config = EncodecConfig::from_value(&value).map_err(error)?;
            (value.as_object().cloned().unwrap_or_default(), config)
        }
        (None, None) => {
            let purpose =
                "in which the codec's sizes are; give the whole folder, or audiocraft's compression_state_dict.bin";
            return Err(MusicgenError::MissingFile { folder: source.path.clone(), name: CONFIG_FILE, purpose }.into());
        }
    };
    fields.extend(config.to_fields());
    Ok(fields)
}

/// The part, from tensors by their names in the file without prefixes.
pub(super) fn part(
    source: &RecognizedMusicgen,
    found: BTreeMap<String, Found>,
    fields: &Map<String, Value>,
    options: &MusicgenOptions,
    sources: &Sources,
    reads: &mut Reads,
) -> Result<(MusicgenPart, Pool)> {
    let value = Value::Object(fields.clone());
    let config = EncodecConfig::from_value(&value);
    let path = source.path.clone();
    let config = config.map_err(|source| MusicgenError::Config { path, what: "the codec's configuration", source })?;
    let mut pool = Pool::new(found.into_iter().map(|(name, found)| (hf_encodec_name(&name), found)).collect());
    let specs = config.mlx_inventory();
    let expected: Vec<String> = specs.iter().flat_map(|spec| &spec.sources).map(|source| source.name.clone()).collect();
    let mut steps = Vec::new();
    for spec in &specs {
        let Some(inputs) = inputs(&mut pool, spec) else { continue };
        steps.push(step_spec(spec, &inputs, options).into_step(sources, reads));
    }
    pool.account_for(&expected, encodec_training_only_reason);
    let companions = vec![Companion { name: CONFIG_FILE.into(), text: json_text(value) }];
    Ok((MusicgenPart::new("encodec", LICENSE, steps, companions), pool))
}

/// The tensors that one of the output is made of.
enum Inputs {
    One(Found),
    /// The factors of a weight norm: g and v.
    Factors([Found; 2]),
    /// Two biases that are added.
    Sum([Found; 2]),
}

/// Takes the tensors for one of the output.
fn inputs(pool: &mut Pool, spec: &EncodecMlxTensor) -> Option<Inputs> {
    match &spec.sources[..] {
        [one] if one.role.has_weight_norm() => weight(pool, one),
        [one] => pool.take(&one.name, &one.name, &one.shape).map(Inputs::One),
        [first, second] => {
            let first = pool.take(&first.name, &first.name, &first.shape);
            let second = pool.take(&second.name, &second.name, &second.shape);
            Some(Inputs::Sum([first?, second?]))
        }
        _ => None,
    }
}

/// Takes the weight of a convolution: fused, or under weight norm in one of its spellings.
fn weight(pool: &mut Pool, tensor: &EncodecTensor) -> Option<Inputs> {
    let spelled = encodec_weight_norms(&tensor.name).into_iter().find(|names| pool.found.contains_key(&names.v));
    let Some(names) = spelled else {
        return pool.take(&tensor.name, &tensor.name, &tensor.shape).map(Inputs::One);
    };
    let first = tensor.shape.first().copied().unwrap_or(1);
    let g = pool.take(&names.g, &names.g, &[first, 1, 1]);
    let v = pool.take(&names.v, &names.v, &tensor.shape);
    Some(Inputs::Factors([g?, v?]))
}

fn step_spec<'a>(spec: &EncodecMlxTensor, inputs: &'a Inputs, options: &MusicgenOptions) -> StepSpec<'a> {
    let role = spec.sources.first().map_or(EncodecRole::Codebook, |source| source.role);
    let torch_shape = spec.sources.first().map(|source| source.shape.clone()).unwrap_or_default();
    let axes = role.mlx_axes();
    let of_model = match role {
        EncodecRole::Conv1d | EncodecRole::ConvTranspose1d => Role::Conv1d,
        EncodecRole::LstmInput | EncodecRole::LstmHidden => Role::Linear,
        EncodecRole::Codebook => Role::Embedding,
        _ => Role::Bias,
    };
    let changed = |inputs: &'a [Found; 2], change| StepSpec {
        name: spec.name.clone(),
        torch_shape: torch_shape.clone(),
        role: of_model,
        inputs: inputs.iter().collect(),
        change: Some(change),
        axes,
        encoding: Encoding::Float(options.codec_dtype),
        left_unquantized: None,
    };
    match inputs {
        Inputs::One(found) => plain(&spec.name, found, &torch_shape, of_model, axes, options.codec_dtype),
        Inputs::Factors(factors) => changed(factors, Transform::FuseWeightNorm(FUSE)),
        Inputs::Sum(biases) => changed(biases, Transform::SumBiases),
    }
}
