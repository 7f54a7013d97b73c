//! The files beside the weights of two bundles, which change the music as weights do: the configurations of T5 and EnCodec, the
//! tokenizer, and the settings of generation.

use std::path::Path;

use mert_arch::{CONFIG_FILE, EncodecConfig, T5Config, printable_line};
use mert_musicgen::bundle::BundleConfig;
use serde_json::{Map, Value, json};

use super::missing::BundlePart;
use super::verdict::{Figure, PartVerdict};

/// The tokenizer of the text encoder.
const TOKENIZER_FILE: &str = "tokenizer.json";

/// Fields of a tokenizer.json that it had for the training alone: the encoder pads and truncates by itself.
const UNUSED: [&str; 3] = ["padding", "truncation", "version"];

/// The verdict on the settings of generation and the rates, which no weight shows.
pub(super) fn compare_settings(ours: &BundleConfig, theirs: &BundleConfig) -> PartVerdict {
    let fields = |config: &BundleConfig| {
        let BundleConfig { generation, sampling_rate, hop_length, .. } = config;
        Map::from_iter([
            ("guidance_scale".to_string(), json!(generation.guidance_scale)),
            ("top_k".to_string(), json!(generation.top_k)),
            ("top_p".to_string(), json!(generation.top_p)),
            ("temperature".to_string(), json!(generation.temperature)),
            ("do_sample".to_string(), json!(generation.do_sample)),
            ("sampling_rate".to_string(), json!(sampling_rate)),
            ("samples of a frame".to_string(), json!(hop_length)),
        ])
    };
    verdict(CONFIG_FILE.into(), &fields(ours), &fields(theirs))
}

/// The verdicts on the files of a part, whose folders both bundles have.
pub(super) fn compare_part(part: BundlePart, ours: &Path, theirs: &Path) -> Vec<PartVerdict> {
    let files: &[&str] = match part {
        BundlePart::T5 => &[CONFIG_FILE, TOKENIZER_FILE],
        BundlePart::Encodec => &[CONFIG_FILE],
    };
    files.iter().map(|file| compare_file(part, ours, theirs, file)).collect()
}

fn compare_file(part: BundlePart, ours: &Path, theirs: &Path, file: &str) -> PartVerdict {
    let name = format!("{part}/{file}");
    let fields = |folder: &Path| fields(part, &folder.join(file), file);
    match (fields(ours), fields(theirs)) {
        (Ok(ours), Ok(theirs)) => verdict(name, &ours, &theirs),
        (Err(reason), _) => PartVerdict::fault(name, reason),
        (_, Err(reason)) => PartVerdict::fault(name, format!("of the other bundle: {reason}")),
    }
}

/// The fields of a file that have an effect, those that it does not state with their defaults.
fn fields(part: BundlePart, path: &Path, file: &str) -> Result<Map<String, Value>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("it cannot be read: {error}"))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| format!("it is not JSON: {error}"))?;
    let config = |error: mert_arch::ConfigError| printable_line(&error.to_string());
    match (part, file) {
        (_, TOKENIZER_FILE) => match value {
            Value::Object(mut fields) => {
                UNUSED.iter().for_each(|field| drop(fields.remove(*field)));
                Ok(fields)
            }
            _ => Err("it is not an object, as tokenizer.json is".into()),
        },
        (BundlePart::T5, _) => Ok(T5Config::from_value(&value).map_err(config)?.to_fields()),
        (BundlePart::Encodec, _) => Ok(EncodecConfig::from_value(&value).map_err(config)?.to_fields()),
    }
}

/// Fails if a field differs, and names the first that does.
fn verdict(part: String, ours: &Map<String, Value>, theirs: &Map<String, Value>) -> PartVerdict {
    let mut all: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
    all.sort();
    all.dedup();
    let different: Vec<&String> =
        all.iter().filter(|field| ours.get(**field) != theirs.get(**field)).copied().collect();
    let fault = different.first().map(|field| {
        let [found, expected] = [ours, theirs].map(|fields| fields.get(*field).map_or("absent".into(), shown));
        format!("`{}` is {found}, expected {expected}, as in the other bundle", printable_line(field))
    });
    let figures = vec![
        Figure { name: "differing fields", value: different.len() as f64, limit: Some(0.0) },
        Figure { name: "of", value: all.len() as f64, limit: None },
    ];
    PartVerdict { part, figures, fault }
}

/// A value as JSON, or its kind if it is long.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".into(),
        Value::Array(values) if values.len() > 8 => format!("a list of {}", values.len()),
        value => printable_line(&value.to_string()),
    }
}
