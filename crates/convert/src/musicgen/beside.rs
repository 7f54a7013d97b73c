//! The parts of a bundle beside the language model, T5 and the codec: from a file of their own, or from the input's own MusicGen
//! of transformers.

use std::collections::BTreeMap;

use mert_arch::MusicgenConfig;
use serde_json::{Map, Value};

use super::config::{stated_names, with_name};
use super::error::MusicgenError;
use super::kind::{MusicgenKind, RecognizedMusicgen};
use super::options::MusicgenOptions;
use super::part::MusicgenPart;
use super::pool::Pool;
use super::source::Sources;
use super::steps::Reads;
use super::tensors::{Found, LEFT_OUT};
use super::{codec, codec_fit, t5};
use crate::Result;
use crate::plan::{Dropped, matches_drop_pattern};

/// The names by which mlx-examples and transformers load T5 and the codec.
const T5_NAME: &str = "t5-base";
const CODEC_NAME: &str = "facebook/encodec_32khz";

/// The parts beside the language model, as far as there are files of them.
pub(super) fn other_parts(
    sources: &Sources,
    text_encoder: BTreeMap<String, Found>,
    audio_encoder: BTreeMap<String, Found>,
    config: &mut MusicgenConfig,
    options: &MusicgenOptions,
    reads: &mut Reads,
    notes: &mut Vec<String>,
) -> Result<Vec<(Option<MusicgenPart>, Pool)>> {
    let mut parts = Vec::new();
    let (t5_name, codec_name) = stated_names(sources)?;
    let t5 = Beside::new(sources, sources.t5.as_ref(), "--t5", "text_encoder.", text_encoder, options)?;
    let fields = t5.source.map(t5::fields).transpose()?;
    if let (Some(source), Some(fields)) = (t5.source, &fields) {
        let (part, pool) = t5::part(source, t5.found, fields, options, sources, reads)?;
        parts.push((Some(part), pool));
    } else if !options.for_mlx_examples {
        notes.push("without T5, which texts need: give --t5 google-t5/t5-base, or a folder of it".into());
    }
    let own = std::mem::take(&mut config.text_encoder);
    config.text_encoder = with_name(fields.unwrap_or(own), t5_name.as_deref().unwrap_or(T5_NAME));
    check_text_width(config)?;
    parts.push((None, Pool { dropped: t5.dropped, ..Pool::default() }));

    let codec = Beside::new(sources, sources.codec.as_ref(), "--codec", "audio_encoder.", audio_encoder, options)?;
    let fields = codec.source.map(codec::fields).transpose()?;
    if let (Some(source), Some(fields)) = (codec.source, &fields) {
        let (part, pool) = codec::part(source, codec.found, fields, options, sources, reads)?;
        parts.push((Some(part), pool));
    } else if !options.for_mlx_examples {
        notes.push("without the codec, which sound needs: give --codec facebook/encodec_32khz, a folder of it, or compression_state_dict.bin".into());
    }
    let own = std::mem::take(&mut config.audio_encoder);
    if let (Some(source), Some(fields)) = (codec.source, &fields) {
        codec_fit::check(source, fields, &own, config, sources)?;
    }
    let own = if own.is_empty() { codec_fields(config) } else { own };
    config.audio_encoder = with_name(fields.unwrap_or(own), codec_name.as_deref().unwrap_or(CODEC_NAME));
    check_codebooks(config)?;
    parts.push((None, Pool { dropped: codec.dropped, ..Pool::default() }));
    Ok(parts)
}

/// The tensors of a part beside the language model, and where they come from.
struct Beside<'s> {
    source: Option<&'s RecognizedMusicgen>,
    found: BTreeMap<String, Found>,
    dropped: Vec<Dropped>,
}

impl<'s> Beside<'s> {
    /// The tensors of an option's file or, without one, those in the input's own MusicGen of transformers.
    fn new(
        sources: &'s Sources,
        given: Option<&'s (usize, RecognizedMusicgen)>,
        option: &'static str,
        prefix: &str,
        own: BTreeMap<String, Found>,
        options: &MusicgenOptions,
    ) -> Result<Self> {
        let leave_out = |found: &Found, reason: String| Dropped { name: sources.key_name(found), reason };
        if options.for_mlx_examples {
            if given.is_some() {
                let reason = "has no place in the output of --for mlx-examples, which loads that model by its name; leave it out";
                return Err(MusicgenError::Option { option, reason: reason.into() }.into());
            }
            let reason = "mlx-examples loads this model by its name";
            let dropped = own.values().map(|found| leave_out(found, reason.into())).collect();
            return Ok(Beside { source: None, found: BTreeMap::new(), dropped });
        }
        let Some((number, source)) = given else {
            let source = (!own.is_empty()).then_some(&sources.main);
            return Ok(Beside { source, found: own, dropped: Vec::new() });
        };
        let mut dropped: Vec<Dropped> =
            own.values().map(|found| leave_out(found, format!("{option} takes its place"))).collect();
        let mut found = BTreeMap::new();
        for (key, info) in &source.listing().tensors {
            let tensor = Found { source: *number, key: key.clone(), third: None, info: info.clone() };
            if options.drop.iter().any(|pattern| matches_drop_pattern(pattern, key)) {
                dropped.push(leave_out(&tensor, LEFT_OUT.into()));
                continue;
            }
            match (source.kind == MusicgenKind::HuggingFace, key.strip_prefix(prefix)) {
                (true, Some(name)) => drop(found.insert(name.to_string(), tensor)),
                (true, None) => dropped.push(leave_out(&tensor, format!("another part of the MusicGen of {option}"))),
                (false, _) => drop(found.insert(key.clone(), tensor)),
            }
        }
        Ok(Beside { source: Some(source), found, dropped })
    }
}

/// Checks that T5's states have the width that the language model projects.
fn check_text_width(config: &MusicgenConfig) -> Result<()> {
    let width = config.text_encoder.get("d_model").and_then(Value::as_u64);
    if width.is_none_or(|width| width == config.text_hidden_size as u64) {
        return Ok(());
    }
    let reason = format!(
        "is a T5 of width {}, but the language model reads states of width {}: give the T5 that it was trained with (t5-base)",
        width.unwrap_or_default(),
        config.text_hidden_size
    );
    Err(MusicgenError::Option { option: "--t5", reason }.into())
}

/// Checks that the codec has the codes that the language model reads.
fn check_codebooks(config: &MusicgenConfig) -> Result<()> {
    let size = config.audio_encoder.get("codebook_size").and_then(Value::as_u64);
    if size.is_none_or(|size| size == config.decoder.vocab_size as u64) {
        return Ok(());
    }
    let reason = format!(
        "is a codec with {} codes in a codebook, but the language model has {}: give the codec that it was trained with",
        size.unwrap_or_default(),
        config.decoder.vocab_size
    );
    Err(MusicgenError::Option { option: "--codec", reason }.into())
}

/// The fields of the codec that the language model alone implies.
fn codec_fields(config: &MusicgenConfig) -> Map<String, Value> {
    Map::from_iter([
        ("codebook_size".to_string(), config.decoder.vocab_size.into()),
        ("sampling_rate".to_string(), 32_000.into()),
    ])
}
