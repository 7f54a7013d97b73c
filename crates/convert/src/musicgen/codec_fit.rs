//! The check that a codec is the one whose codes the language model was trained on: enough codebooks, and the rates that the
//! model's own configuration states.

use mert_arch::{ConfigError, EncodecConfig, MusicgenConfig, printable_line};
use serde_json::{Map, Value};

use super::config::parsed;
use super::error::{MusicgenError, SizeDifference};
use super::kind::{MusicgenKind, RecognizedMusicgen};
use super::source::Sources;
use super::yaml::{number, xp_cfg};
use crate::Result;

/// What a configuration states about the sound that its language model was trained on.
struct StatedAudio {
    /// The file, and where in it.
    origin: String,
    sampling_rate: Option<u64>,
    /// The field `upsampling_ratios`.
    ratios: Option<Vec<u64>>,
}

/// Checks that the codec `fields` of `source` fit the language model of `config`. `own` are the fields of `audio_encoder` in the
/// input's own `config.json`.
///
/// # Errors
/// [`MusicgenError::Unfit`] with every difference.
pub(super) fn check(
    source: &RecognizedMusicgen,
    fields: &Map<String, Value>,
    own: &Map<String, Value>,
    config: &MusicgenConfig,
    sources: &Sources,
) -> Result<()> {
    let error = |error: ConfigError| {
        let (path, what) = (source.path.clone(), "the codec's configuration");
        MusicgenError::Config { path, what, source: error }
    };
    let codec = EncodecConfig::from_value(&Value::Object(fields.clone())).map_err(error)?;
    let found_by = printable_line(&source.path.display().to_string());
    let mut differences = Vec::new();
    let channels = config.decoder.audio_channels;
    let (codebooks, needed) = (codec.num_quantizers(), config.decoder.num_codebooks / channels.max(1));
    if codebooks < needed {
        let each = if channels > 1 { " for each channel" } else { "" };
        differences.push(SizeDifference {
            field: "num_codebooks",
            found: codebooks.to_string(),
            found_by: found_by.clone(),
            expected: format!("at least {needed}{each}"),
            expected_by: "the language model".into(),
        });
    }
    if let Some(stated) = stated_audio(own, sources)? {
        let mut differs = |field, found: String, expected: String| {
            let (found_by, expected_by) = (found_by.clone(), stated.origin.clone());
            differences.push(SizeDifference { field, found, found_by, expected, expected_by });
        };
        if let Some(rate) = stated.sampling_rate.filter(|&rate| rate != u64::from(codec.sampling_rate)) {
            differs("sampling_rate", codec.sampling_rate.to_string(), rate.to_string());
        }
        let samples = |ratios: &[u64]| ratios.iter().fold(1u64, |product, &ratio| product.saturating_mul(ratio));
        let hop = codec.hop_length() as u64;
        if let Some(ratios) = stated.ratios.filter(|ratios| samples(ratios) != hop) {
            let found = format!("{:?}, {hop} samples a frame,", codec.upsampling_ratios);
            differs("upsampling_ratios", found, format!("{ratios:?}, {} samples,", samples(&ratios)));
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    let advice = "give the codec that the language model was trained with";
    let option = if sources.codec.is_some() { "--codec" } else { "INPUT" };
    Err(MusicgenError::Unfit { option, path: source.path.clone(), differences, advice }.into())
}

/// The statement of the input itself, or else of its base; `None` if neither has one.
fn stated_audio(own: &Map<String, Value>, sources: &Sources) -> Result<Option<StatedAudio>> {
    for source in [Some(&sources.main), sources.base.as_ref().map(|(_, base)| base)].into_iter().flatten() {
        if let Some(cfg) = xp_cfg(source)? {
            let origin = printable_line(&format!("`sample_rate` in the xp.cfg of {}", source.path.display()));
            let sampling_rate = number(&cfg, "sample_rate").map(|rate| rate as u64);
            return Ok(Some(StatedAudio { origin, sampling_rate, ratios: None }));
        }
        if source.kind != MusicgenKind::HuggingFace {
            continue;
        }
        let Some((path, text)) = source.config_text()? else { continue };
        let of_base = parsed(&path, &text)?.get("audio_encoder").and_then(Value::as_object).cloned();
        let fields = if own.is_empty() { of_base.unwrap_or_default() } else { own.clone() };
        let numbers = |value: &Value| value.as_array()?.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>();
        return Ok(Some(StatedAudio {
            origin: printable_line(&format!("`audio_encoder` in {}", path.display())),
            sampling_rate: fields.get("sampling_rate").and_then(Value::as_u64),
            ratios: fields.get("upsampling_ratios").and_then(numbers),
        }));
    }
    Ok(None)
}
