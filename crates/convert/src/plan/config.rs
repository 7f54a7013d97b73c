//! The configuration of a checkpoint: from a `config.json`, from the training configuration in the file, or inferred from
//! the tensors' shapes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mert_arch::fairseq::{Contradiction, FairseqConfig, FairseqError, FairseqModel, StatedFields};
use mert_arch::{CONFIG_FILE, Config, ConfigField, InferError, InferredConfig, infer_config};
use mert_checkpoint::{Listing, Source, read_named_text};
use serde::Serialize;

use super::layer_cut::LayerCut;
use super::options::PlanOptions;
use crate::{ConvertError, Result};

/// The origin of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigOrigin {
    /// A `config.json`, by its path.
    File(PathBuf),
    /// The training configuration in the checkpoint (`cfg` or `args`); sizes from the tensors' shapes.
    Cfg {
        /// The registered name of the model, if the configuration has it.
        name: Option<String>,
        /// The fields that it does not state, one sentence each.
        assumptions: Vec<String>,
    },
    /// The tensors' shapes, with assumptions about what they do not determine.
    Inferred {
        /// The assumptions, one sentence each.
        assumptions: Vec<String>,
    },
}

impl ConfigOrigin {
    /// The assumptions about fields that nothing states, one sentence each.
    pub fn assumptions(&self) -> &[String] {
        match self {
            ConfigOrigin::File(_) => &[],
            ConfigOrigin::Cfg { assumptions, .. } | ConfigOrigin::Inferred { assumptions } => assumptions,
        }
    }
}

impl std::fmt::Display for ConfigOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConfigOrigin::File(path) => write!(f, "{}", path.display()),
            ConfigOrigin::Cfg { name: Some(name), .. } => {
                write!(f, "cfg in the checkpoint (`{}`), sizes from the tensors", mert_arch::printable_line(name))
            }
            ConfigOrigin::Cfg { name: None, .. } => f.write_str("cfg in the checkpoint, sizes from the tensors"),
            ConfigOrigin::Inferred { .. } => f.write_str("inferred from the tensors' shapes"),
        }
    }
}

/// The configuration of a checkpoint with its origin.
pub(super) struct FoundConfig {
    pub(super) config: Config,
    pub(super) origin: ConfigOrigin,
    /// The training configuration in the checkpoint.
    pub(super) training: Option<FairseqConfig>,
    /// Notes for the user, one sentence each.
    pub(super) notes: Vec<String>,
}

/// Reads or infers the configuration of the encoder under `prefix`. The layers of `cut` do not belong to it.
///
/// # Errors
/// [`ConvertError::Config`], [`ConvertError::SetField`] or [`ConvertError::Cfg`] for an invalid one,
/// [`ConvertError::CfgContradiction`] if the training configuration contradicts the tensors or a `config.json` that the user
/// did not name, [`ConvertError::Infer`] if the shapes do not imply one.
pub(super) fn find_config(
    source: &Source,
    listing: &Listing,
    prefix: &str,
    cut: Option<LayerCut>,
    options: &PlanOptions,
) -> Result<FoundConfig> {
    let training = listing.training_config.as_ref().map(FairseqConfig::from_cfg).transpose();
    if options.config_file.as_ref().or(source.config_file.as_ref()).is_some() {
        return beside_a_file(source, training, options);
    }
    let mut training = training.map_err(|error| ConvertError::cfg(source, error))?;
    let fields = &options.config_set;
    if let Some(model) = training.as_mut().and_then(|training| training.model.as_mut())
        && is_set(fields, "model_type")
    {
        model.name = None;
    }
    let shapes = shapes(listing, prefix, cut);
    let (config, origin) = match training.as_ref().and_then(|training| Some((training, training.model.as_ref()?))) {
        Some((training, model)) => {
            let StatedFields { fields: stated, mut assumptions } =
                training.stated_fields().map_err(|error| ConvertError::cfg(source, error))?;
            let (config, inferred) = infer_stated(source, &shapes, prefix, &stated, fields)?;
            assumptions.retain(|text| !text.split(' ').next().is_some_and(|field| is_set(fields, field)));
            if !is_set(fields, "model_type") && !stated.iter().any(|field| field.name == "model_type") {
                assumptions.extend(inferred.into_iter().filter(|text| text.starts_with("model_type")));
            }
            let contradictions = contradictions(listing, prefix, model, &config, cut, fields);
            if !contradictions.is_empty() {
                let path = source.path.clone();
                return Err(ConvertError::CfgContradiction { path, contradictions, advice: OF_TWO_MODELS });
            }
            let name = model.name.clone();
            (config, ConfigOrigin::Cfg { name, assumptions })
        }
        None => {
            let InferredConfig { config, assumptions } = infer_config(&shapes, prefix, fields)?;
            (config, ConfigOrigin::Inferred { assumptions })
        }
    };
    Ok(FoundConfig { config, origin, training, notes: Vec::new() })
}

const OF_TWO_MODELS: &str = "the weights and the configuration are not of one model, or the file is incomplete; give the right \
                             config.json with --config";

fn is_set(fields: &[ConfigField], field: &str) -> bool {
    fields.iter().any(|set| set.name == field)
}

/// The configuration of a `config.json`, which must say the same as the training configuration unless the user named it.
fn beside_a_file(
    source: &Source,
    training: Result<Option<FairseqConfig>, FairseqError>,
    options: &PlanOptions,
) -> Result<FoundConfig> {
    let (config, path) = from_file(source, options)?;
    // A training configuration that cannot be read does not matter beside a config.json.
    let (training, mut notes) = match training {
        Ok(training) => (training, Vec::new()),
        Err(error) => (None, vec![format!("the cfg in the checkpoint was not used: {error}")]),
    };
    let differences = training.as_ref().map(|training| differences(training, &config, &options.config_set));
    let differences = differences.unwrap_or_default();
    if !differences.is_empty() && options.config_file.is_none() {
        let path = source.path.clone();
        let advice = "find out which is right, and give that config.json with --config";
        return Err(ConvertError::CfgContradiction { path, contradictions: differences, advice });
    }
    notes.extend(differences.into_iter().map(|difference| format!("{difference}; --config takes precedence")));
    Ok(FoundConfig { config, origin: ConfigOrigin::File(path), training, notes })
}

/// The configuration of a `config.json`: the user's, or the one beside the checkpoint.
fn from_file(source: &Source, options: &PlanOptions) -> Result<(Config, PathBuf)> {
    let fields = &options.config_set;
    let path = options.config_file.as_ref().or(source.config_file.as_ref()).cloned().unwrap_or_default();
    let text = read_named_text(&path, CONFIG_FILE)?;
    let config = Config::from_json_with(&text, fields).map_err(|source| {
        let is_set = source.field().is_some_and(|field| is_set(fields, field));
        match is_set || !fields.is_empty() && Config::from_json(&text).is_ok() {
            true => ConvertError::SetField { source },
            false => ConvertError::config(&path, source),
        }
    })?;
    Ok((config, path))
}

/// The shapes of the encoder's tensors by their names without the prefix, without the layers that are cut off.
fn shapes(listing: &Listing, prefix: &str, cut: Option<LayerCut>) -> BTreeMap<String, Vec<usize>> {
    let named = listing.tensors.iter().filter_map(|(name, info)| Some((name.strip_prefix(prefix)?, info)));
    let kept = named.filter(|(name, _)| cut.is_none_or(|cut| !cut.leaves_out(name)));
    kept.map(|(name, info)| (name.to_string(), info.shape.clone())).collect()
}

/// Infers the configuration with the fields that the training configuration states; those that the user set take precedence.
fn infer_stated(
    source: &Source,
    shapes: &BTreeMap<String, Vec<usize>>,
    prefix: &str,
    stated: &[ConfigField],
    set: &[ConfigField],
) -> Result<(Config, Vec<String>)> {
    let stated = stated.iter().filter(|field| !is_set(set, &field.name));
    let given: Vec<ConfigField> = stated.chain(set).cloned().collect();
    match infer_config(shapes, prefix, &given) {
        Ok(InferredConfig { config, assumptions }) => Ok((config, assumptions)),
        Err(InferError::Given { reason }) if set.is_empty() => {
            Err(ConvertError::CfgImpossible { path: source.path.clone(), reason })
        }
        Err(error) => Err(error.into()),
    }
}

/// What the tensors contradict in a training configuration, except in fields that the user set.
fn contradictions(
    listing: &Listing,
    prefix: &str,
    model: &FairseqModel,
    config: &Config,
    cut: Option<LayerCut>,
    set: &[ConfigField],
) -> Vec<String> {
    let found = model.contradictions(config, cut.map_or(0, |cut| cut.left_out)).into_iter();
    let text = |mut contradiction: Contradiction| {
        contradiction.tensor = listing.name_in_file(&format!("{prefix}{}", contradiction.tensor));
        contradiction.to_string()
    };
    found.filter(|contradiction| !is_set(set, contradiction.config_field)).map(text).collect()
}

/// What a training configuration states differently from a `config.json`, except in fields that the user set. Names of
/// families do not count: several compute the same.
fn differences(training: &FairseqConfig, config: &Config, set: &[ConfigField]) -> Vec<String> {
    const COMPARED: [&str; 6] =
        ["num_attention_heads", "do_stable_layer_norm", "conv_stride", "hidden_act", "max_bucket_distance", "deepnorm"];
    // A model that no family computes is refused only where the configuration is needed.
    let StatedFields { fields, assumptions } = training.stated_fields().unwrap_or_default();
    let json = serde_json::to_value(config).unwrap_or_default();
    let is_assumed = |field: &ConfigField| assumptions.iter().any(|text| text.starts_with(&format!("{} ", field.name)));
    let differ = |field: &&ConfigField| {
        COMPARED.contains(&field.name.as_str())
            && !is_assumed(field)
            && !is_set(set, &field.name)
            && json.get(&field.name).is_some_and(|value| *value != field.value)
    };
    let text = |field: &ConfigField| {
        let stated = json.get(&field.name).map(ToString::to_string).unwrap_or_default();
        format!("`{}` is {stated} in config.json, and {} by the cfg in the checkpoint", field.name, field.value)
    };
    fields.iter().filter(differ).map(text).collect()
}
