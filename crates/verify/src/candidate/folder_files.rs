//! The files beside the weights in a model folder, which MLX reads where this toolkit reads the weights' own metadata: the two
//! must say the same.

use std::path::Path;

use mert_arch::{
    CONFIG_FILE, Config, Metadata, PREPROCESSOR_FILES, PreprocessorConfig, QuantizationConfig, text_from_bytes,
};
use serde_json::Value;

/// The contradictions between a folder's `config.json` and `preprocessor_config.json` and the metadata of its weights, a
/// sentence each. A file that is not there contradicts nothing.
pub(crate) fn contradictions(model: &Path, metadata: &Metadata) -> Vec<String> {
    if !model.is_dir() {
        return Vec::new();
    }
    let text = |name: &str| text_from_bytes(&std::fs::read(model.join(name)).ok()?).ok().map(|text| text.to_string());
    let mut found = Vec::new();
    if let Some(text) = text(CONFIG_FILE) {
        found.extend(config(&text, metadata).into_iter().map(|reason| format!("{CONFIG_FILE}: {reason}")));
    }
    if let Some(text) = text(PREPROCESSOR_FILES[0]) {
        let reasons = preprocessor(&text, metadata);
        found.extend(reasons.into_iter().map(|reason| format!("{}: {reason}", PREPROCESSOR_FILES[0])));
    }
    found
}

/// What a program that reads this `config.json` would compute otherwise.
fn config(text: &str, metadata: &Metadata) -> Vec<String> {
    let mut reasons = Vec::new();
    match Config::from_json(text) {
        // The rate is the preprocessor's.
        Ok(config) if is_same(config.clone(), metadata) => {}
        Ok(_) => reasons.push("its architecture is not the one in the metadata of the weights".into()),
        Err(error) => reasons.push(error.to_string()),
    }
    let fields: Value = serde_json::from_str(text).unwrap_or_default();
    for name in ["quantization", "quantization_config"] {
        let stated = fields.get(name).filter(|value| !value.is_null()).map(QuantizationConfig::from_value).transpose();
        match stated {
            Err(reason) => reasons.push(reason),
            Ok(stated) if stated != metadata.quantization => {
                let default = |config: &Option<QuantizationConfig>| {
                    config.as_ref().map_or("no quantization".to_string(), |config| config.default.to_string())
                };
                let (stated, stored) = (default(&stated), default(&metadata.quantization));
                reasons.push(format!(
                    "`{name}` ({stated}) is not that of the weights ({stored}): MLX could not load them"
                ));
            }
            Ok(_) => {}
        }
    }
    reasons
}

/// Whether an architecture is that of the weights.
fn is_same(config: Config, metadata: &Metadata) -> bool {
    Config { sample_rate: metadata.config.sample_rate, ..config } == metadata.config
}

/// The fields of the audio input that differ.
fn preprocessor(text: &str, metadata: &Metadata) -> Vec<String> {
    let stated = match PreprocessorConfig::from_json(text) {
        Ok(stated) => stated,
        Err(error) => return vec![error.to_string()],
    };
    let stored = metadata.preprocessor;
    let mut reasons = Vec::new();
    if let Some(rate) = stated.sampling_rate.filter(|rate| *rate != stored.sampling_rate) {
        reasons.push(format!("`sampling_rate` is {rate}, but {} in the metadata of the weights", stored.sampling_rate));
    }
    if let Some(normalize) = stated.do_normalize.filter(|normalize| *normalize != stored.do_normalize) {
        reasons
            .push(format!("`do_normalize` is {normalize}, but {} in the metadata of the weights", stored.do_normalize));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use mert_testkit::fixture;

    use super::*;
    use crate::candidate::{ComputeOptions, PackageOptions, open};

    #[test]
    fn files_that_say_something_else_are_named() {
        let file = fixture("mert-tiny/model.safetensors");
        let opened = open(&file, ComputeOptions::default(), PackageOptions::default()).unwrap();
        let metadata = opened.metadata();
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
        let found = || contradictions(folder.path(), metadata);
        assert_eq!((found(), contradictions(&file, metadata)), (Vec::<String>::new(), Vec::new()));

        let fields = metadata.config.class_fields();
        write("config.json", Value::Object(fields.clone()).to_string());
        let normalize = metadata.preprocessor.do_normalize;
        write("preprocessor_config.json", format!(r#"{{"do_normalize": {normalize}, "sampling_rate": 24000}}"#));
        assert_eq!(found(), Vec::<String>::new());

        for (name, value, words) in [
            ("num_attention_heads", "8", "its architecture is not"),
            (
                "quantization",
                r#"{"bits": 4, "group_size": 64}"#,
                "`quantization` (4-bit g64) is not that of the weights",
            ),
            ("quantization_config", r#"{"bits": 7, "group_size": 64}"#, "no 7 bits"),
        ] {
            let mut changed = fields.clone();
            changed.insert(name.into(), serde_json::from_str(value).unwrap());
            write("config.json", Value::Object(changed).to_string());
            assert!(found().len() == 1 && found()[0].contains(words), "{:?}", found());
        }
        write("config.json", Value::Object(fields).to_string());
        write("preprocessor_config.json", format!(r#"{{"do_normalize": {}, "sampling_rate": 16000}}"#, !normalize));
        let found = found();
        assert!(found[0].contains("`sampling_rate` is 16000") && found[1].contains("`do_normalize`"), "{found:?}");
    }
}
