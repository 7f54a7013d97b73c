//! The sizes of the model that the files hold, and the `config.json` of a bundle.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mert_arch::naming::MusicgenNames;
use mert_arch::{ConfigError, MusicgenConfig, MusicgenDecoder, json_from_text};
use serde_json::{Map, Value, json};

use super::error::MusicgenError;
use super::kind::{MusicgenKind, RecognizedMusicgen};
use super::options::MusicgenOptions;
use super::part::LICENSE;
use super::plan::MusicgenPlan;
use super::source::Sources;
use super::tensors::Found;
use super::yaml::{lookup, number, xp_cfg};
use crate::Result;

/// The sizes of a model, and what they come from.
pub(super) struct FoundConfig {
    pub(super) config: MusicgenConfig,
    /// The origin in a few words.
    pub(super) origin: String,
    /// What was assumed, a sentence each.
    pub(super) assumptions: Vec<String>,
}

/// The JSON value of a configuration file.
///
/// # Errors
/// [`MusicgenError::Config`].
pub(super) fn parsed(path: &Path, text: &str) -> Result<Value> {
    let error = |error: serde_json::Error| MusicgenError::Config {
        path: path.to_path_buf(),
        what: "config.json",
        source: ConfigError::Syntax(error.to_string()),
    };
    Ok(json_from_text(text).map_err(error)?)
}

/// Finds the sizes: in the `config.json` of transformers, or by the shapes and the number of heads in an `xp.cfg`.
///
/// # Errors
/// [`MusicgenError::Config`] if they are not those of a model, or contradict each other.
pub(super) fn find(
    sources: &Sources,
    model: &BTreeMap<String, Found>,
    options: &MusicgenOptions,
) -> Result<FoundConfig> {
    let main = &sources.main;
    if main.kind == MusicgenKind::HuggingFace
        && let Some((path, text)) = main.config_text()?
    {
        return of_transformers(path, &text, options.num_attention_heads);
    }
    let shapes = model.iter().map(|(name, found)| (name.clone(), found.info.shape.clone())).collect();
    let stated = stated(sources)?;
    let heads = options.num_attention_heads.or(stated.as_ref().and_then(|stated| stated.heads));
    let config = MusicgenConfig::infer(&shapes, heads);
    let path = main.path.clone();
    let config = config.map_err(|source| MusicgenError::Config { path, what: "the shapes of the tensors", source })?;
    if let Some(stated) = &stated {
        stated.check(&config.decoder)?;
    }
    let mut assumptions = Vec::new();
    if heads.is_none() {
        assumptions.push(format!(
            "num_attention_heads {}: heads of 64 values, as every published MusicGen has; --base or --set num_attention_heads=N \
             states it",
            config.decoder.num_attention_heads
        ));
    }
    let origin = match (options.num_attention_heads, &stated) {
        (Some(_), _) => "the shapes of the tensors, heads by --set".to_string(),
        (None, Some(stated)) => format!("the shapes of the tensors, heads by {}", stated.origin),
        (None, None) => "the shapes of the tensors".to_string(),
    };
    Ok(FoundConfig { config, origin, assumptions })
}

/// The sizes in the `config.json` of transformers, with the number of heads of `--set`.
fn of_transformers(path: PathBuf, text: &str, heads: Option<usize>) -> Result<FoundConfig> {
    let value = parsed(&path, text)?;
    let (mut origin, mut assumptions) = (path.display().to_string(), Vec::new());
    let error = |source| MusicgenError::Config { path: path.clone(), what: "config.json", source };
    let mut config = MusicgenConfig::from_value(&value).map_err(error)?;
    let is_stated = value.get("decoder").is_some_and(|decoder| decoder.get("num_attention_heads").is_some());
    if let Some(heads) = heads {
        config.decoder.num_attention_heads = heads;
        config.validate().map_err(error)?;
        origin += ", heads by --set";
    } else if !is_stated {
        let default = config.decoder.num_attention_heads;
        assumptions.push(format!(
            "num_attention_heads {default}: transformers' default, because config.json states none; --set num_attention_heads=N states it"
        ));
    }
    Ok(FoundConfig { config, origin, assumptions })
}

/// What a configuration beside the shapes states.
struct Stated<'s> {
    source: &'s RecognizedMusicgen,
    origin: String,
    heads: Option<usize>,
    /// The sizes that the shapes have, too, by their names there.
    sizes: Vec<(&'static str, usize)>,
    /// The whole `xp.cfg` of audiocraft.
    cfg: Option<Value>,
}

/// The configuration of the model or its base.
fn stated(sources: &Sources) -> Result<Option<Stated<'_>>> {
    for source in [Some(&sources.main), sources.base.as_ref().map(|(_, base)| base)].into_iter().flatten() {
        if let Some(cfg) = xp_cfg(source)? {
            const SIZES: [&str; 4] =
                ["transformer_lm.dim", "transformer_lm.num_layers", "transformer_lm.n_q", "transformer_lm.card"];
            let sizes = SIZES.into_iter().filter_map(|path| Some((path, number(&cfg, path)?))).collect();
            let origin = format!("the xp.cfg of {}", source.path.display());
            let heads = number(&cfg, "transformer_lm.num_heads");
            return Ok(Some(Stated { source, origin, heads, sizes, cfg: Some(cfg) }));
        }
        if source.kind == MusicgenKind::HuggingFace
            && let Some((path, text)) = source.config_text()?
        {
            let decoder = parsed(&path, &text)?.get("decoder").cloned().unwrap_or_default();
            let heads = number(&decoder, "num_attention_heads");
            let origin = path.display().to_string();
            return Ok(Some(Stated { source, origin, heads, sizes: Vec::new(), cfg: None }));
        }
    }
    Ok(None)
}

impl Stated<'_> {
    /// Checks that the sizes are those of the shapes.
    fn check(&self, decoder: &MusicgenDecoder) -> Result<()> {
        for &(field, stated) in &self.sizes {
            let found = match field {
                "transformer_lm.dim" => decoder.hidden_size,
                "transformer_lm.num_layers" => decoder.num_hidden_layers,
                "transformer_lm.n_q" => decoder.num_codebooks,
                _ => decoder.vocab_size,
            };
            if found != stated {
                let expected = format!("{found}, as the tensors have: is it the configuration of another model?");
                let source = ConfigError::Invalid { field, found: stated.to_string(), expected };
                return Err(self.error(source));
            }
        }
        self.cfg.as_ref().map_or(Ok(()), |cfg| check_pattern(cfg, decoder)).map_err(|source| self.error(source))
    }

    fn error(&self, source: ConfigError) -> crate::ConvertError {
        MusicgenError::Config { path: self.source.path.clone(), what: "xp.cfg", source }.into()
    }
}

/// Checks that codes are generated in the delay pattern, of which shapes say nothing. In stereo the codebooks of the channels
/// alternate, and both of a pair have one delay.
fn check_pattern(cfg: &Value, decoder: &MusicgenDecoder) -> Result<(), ConfigError> {
    let modeling = lookup(cfg, "codebooks_pattern.modeling").and_then(Value::as_str);
    if let Some(other) = modeling.filter(|modeling| *modeling != "delay") {
        let reason = "MusicGen generates codes in the delay pattern";
        return Err(ConfigError::Unsupported { field: "codebooks_pattern.modeling", found: other.to_string(), reason });
    }
    let expected: Vec<usize> = (0..decoder.num_codebooks).map(|k| k / decoder.audio_channels).collect();
    match lookup(cfg, "codebooks_pattern.delay.delays") {
        Some(delays) if *delays != json!(expected) => {
            let expected = format!("{expected:?}, as {} channels have", decoder.audio_channels);
            let (field, found) = ("codebooks_pattern.delay.delays", delays.to_string());
            return Err(ConfigError::Invalid { field, found, expected });
        }
        _ => {}
    }
    if lookup(cfg, "interleave_stereo_codebooks.per_timestep").and_then(Value::as_bool) == Some(true) {
        let (field, found) = ("interleave_stereo_codebooks.per_timestep", "true".to_string());
        let reason = "the codebooks of the channels alternate in published stereo models, not their frames";
        return Err(ConfigError::Unsupported { field, found, reason });
    }
    Ok(())
}

/// The names of the text encoder and the codec that audiocraft's configuration states.
pub(super) fn stated_names(sources: &Sources) -> Result<(Option<String>, Option<String>)> {
    for source in [Some(&sources.main), sources.base.as_ref().map(|(_, base)| base)].into_iter().flatten() {
        if let Some(cfg) = xp_cfg(source)? {
            let text = |path: &str| lookup(&cfg, path).and_then(Value::as_str).map(str::to_string);
            let codec = text("compression_model_checkpoint").map(|name| name.replacen("//pretrained/", "", 1));
            return Ok((text("conditioners.description.t5.name"), codec));
        }
    }
    Ok((None, None))
}

/// The text of a bundle's `config.json`. `digests` is the JSON of the sources' digests.
pub(super) fn text(plan: &MusicgenPlan, digests: &str) -> String {
    let sources: Value = serde_json::from_str(digests).unwrap_or_default();
    let mut fields = plan.config.to_fields();
    fields.insert("names".into(), json!(plan.names.name()));
    fields.insert("license".into(), json!(LICENSE));
    fields.insert("sources".into(), sources.clone());
    fields.insert("generator".into(), json!(crate::GENERATOR));
    fields.insert("generation".into(), generation(plan));
    if let Some(quantization) = &plan.quantization {
        fields.insert("quantization".into(), quantization.to_value());
        fields.insert("quantization_config".into(), quantization.to_value());
    }
    if plan.config.cp_transformer.is_some() {
        fields.insert("instruct".into(), instruct(plan, sources));
    }
    json_text(Value::Object(fields))
}

/// The field `instruct`: how the model was made from the checkpoint.
fn instruct(plan: &MusicgenPlan, sources: Value) -> Value {
    let mut fields = Map::from_iter([
        ("lora_merged".to_string(), json!(plan.lora.is_some())),
        ("lora_scale".to_string(), json!(plan.lora.as_ref().map(|lora| lora.scales[0]))),
        ("base_was_random".to_string(), json!(plan.random.map(|random| random.is_random()))),
        ("sources".to_string(), sources),
    ]);
    if let Some(rows) = plan.positions {
        fields.insert("second_half_untrained".into(), json!(rows.second_half_is_untrained()));
        fields.insert("trained_frames".into(), json!(plan.trained_frames()));
    }
    Value::Object(fields)
}

/// The defaults of generation: audiocraft's, and Instruct-MusicGen's own top-k.
fn generation(plan: &MusicgenPlan) -> Value {
    let top_k = if plan.config.cp_transformer.is_some() { 100 } else { 250 };
    json!({ "guidance_scale": 3.0, "temperature": 1.0, "top_k": top_k, "top_p": 0.0, "do_sample": true })
}

/// Fields of `text_encoder` or `audio_encoder` with the name that mlx-examples loads the model by.
pub(super) fn with_name(mut fields: Map<String, Value>, name: &str) -> Map<String, Value> {
    let is_named = fields.get("_name_or_path").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
    if !is_named {
        fields.insert("_name_or_path".into(), json!(name));
    }
    fields
}

/// The names of the output.
pub(super) fn names(options: &MusicgenOptions) -> MusicgenNames {
    if options.for_mlx_examples { MusicgenNames::MlxExamples } else { options.names }
}

/// JSON in the form of transformers' configuration files.
pub(super) fn json_text(value: Value) -> String {
    crate::programs::json_text(value)
}
