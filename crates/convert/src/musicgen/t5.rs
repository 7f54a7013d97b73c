//! The part `t5/` of a bundle: the encoder of T5 under its own names, its configuration and its tokenizer.

use std::collections::BTreeMap;

use mert_arch::{CONFIG_FILE, T5Config, t5_left_out_reason};
use serde_json::{Map, Value};

use super::config::{json_text, parsed};
use super::error::MusicgenError;
use super::kind::{MusicgenKind, RecognizedMusicgen};
use super::options::MusicgenOptions;
use super::part::{Companion, MusicgenPart};
use super::pool::Pool;
use super::source::Sources;
use super::steps::{Reads, plain};
use super::tensors::Found;
use crate::Result;

/// The file of the tokenizer.
const TOKENIZER: &str = "tokenizer.json";

/// What T5 is published under, by its authors.
const LICENSE: &str = "Apache-2.0";

/// The fields of T5's configuration as its folder, or a MusicGen, has them.
pub(super) fn fields(source: &RecognizedMusicgen) -> Result<Map<String, Value>> {
    let purpose = "in which T5's sizes are; give the whole folder";
    let missing = || MusicgenError::MissingFile { folder: source.path.clone(), name: CONFIG_FILE, purpose };
    let (path, text) = source.config_text()?.ok_or_else(missing)?;
    let value = parsed(&path, &text)?;
    let value = match source.kind {
        MusicgenKind::HuggingFace => value.get("text_encoder").cloned().unwrap_or_default(),
        _ => value,
    };
    let config = T5Config::from_value(&value);
    let config = config.map_err(|source| MusicgenError::Config { path, what: "T5's configuration", source })?;
    let mut fields = value.as_object().cloned().unwrap_or_default();
    fields.extend(config.to_fields());
    Ok(fields)
}

/// The part, from tensors by their names in transformers' T5.
pub(super) fn part(
    source: &RecognizedMusicgen,
    found: BTreeMap<String, Found>,
    fields: &Map<String, Value>,
    options: &MusicgenOptions,
    sources: &Sources,
    reads: &mut Reads,
) -> Result<(MusicgenPart, Pool)> {
    let value = Value::Object(fields.clone());
    let config = T5Config::from_value(&value);
    let path = source.path.clone();
    let config = config.map_err(|source| MusicgenError::Config { path, what: "T5's configuration", source })?;
    let mut pool = Pool::new(found);
    if !pool.found.contains_key("shared.weight")
        && let Some(embedding) = pool.found.remove("encoder.embed_tokens.weight")
    {
        pool.found.insert("shared.weight".into(), embedding);
    }
    let specs = config.inventory();
    let expected: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
    let mut steps = Vec::new();
    for spec in &specs {
        if let Some(found) = pool.take(&spec.name, &spec.name, &spec.shape) {
            let step = plain(&spec.name, &found, &spec.shape, spec.role, None, options.t5_dtype);
            steps.push(step.into_step(sources, reads));
        }
    }
    pool.account_for(&expected, t5_left_out_reason);
    let purpose = "without which texts cannot be encoded; download it from the model's page (t5-base has one)";
    let missing = || MusicgenError::MissingFile { folder: source.path.clone(), name: TOKENIZER, purpose };
    let (_, tokenizer) = source.text_beside(TOKENIZER)?.ok_or_else(missing)?;
    let companions = vec![
        Companion { name: CONFIG_FILE.into(), text: json_text(value) },
        Companion { name: TOKENIZER.into(), text: tokenizer },
    ];
    Ok((MusicgenPart::new("t5", LICENSE, steps, companions), pool))
}
