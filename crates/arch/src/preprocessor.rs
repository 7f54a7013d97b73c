//! The preprocessing of audio before it enters a model: the relevant fields of a `preprocessor_config.json`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::{ConfigError, check_sample_rate, parse, value_from_json};
use crate::{Config, FeatureExtractorNorm};

/// The preprocessing that transformers'
/// [`Wav2Vec2FeatureExtractor`](https://github.com/huggingface/transformers/blob/main/src/transformers/models/wav2vec2/feature_extraction_wav2vec2.py)
/// applies to audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preprocessor {
    /// Whether a window is normalised to zero mean and unit variance; otherwise its samples are unchanged.
    pub do_normalize: bool,
    /// The sampling rate of the audio in hertz.
    pub sampling_rate: u32,
}

impl Preprocessor {
    /// The default preprocessor for a model without one: the configuration's `sample_rate`, or else the rate of most
    /// published models of its type (24 000 Hz for MERT, 16 000 Hz for the others), and for
    /// `do_normalize` that of WavLM base for WavLM with a group norm, else transformers' default.
    ///
    /// It is a guess: MERT-v0-public takes 16 000 Hz without normalisation.
    pub fn assumed(config: &Config) -> Self {
        let usual = config.family().usual_sampling_rate;
        // WavLM base and base+ take samples as they are, WavLM large takes them normalised.
        let has_group_norm = config.feat_extract_norm == FeatureExtractorNorm::Group;
        let do_normalize = !(config.position_bias().is_some() && has_group_norm);
        Preprocessor { do_normalize, sampling_rate: config.sample_rate.unwrap_or(usual) }
    }
}

/// The fields of a `preprocessor_config.json` that affect the model's input; `None` where the file lacks one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PreprocessorConfig {
    /// The field `do_normalize`, as [`Preprocessor::do_normalize`].
    pub do_normalize: Option<bool>,
    /// The field `sampling_rate`, as [`Preprocessor::sampling_rate`].
    pub sampling_rate: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    sampling_rate: Option<f64>,
    feature_extractor_type: Option<String>,
    feature_size: Option<f64>,
}

/// The keys under which a `processor_config.json` nests the fields.
const NESTED: [&str; 2] = ["feature_extractor", "audio_processor"];

/// Checks a rate in whole hertz, which may be written as a float.
fn whole_rate(rate: f64) -> Result<u32, ConfigError> {
    if rate.fract() != 0.0 || !(0.0..=f64::from(u32::MAX)).contains(&rate) {
        return Err(ConfigError::invalid("sampling_rate", rate, "a whole number of hertz"));
    }
    let rate = rate as u32;
    check_sample_rate("sampling_rate", rate).map(|()| rate)
}

/// The truth of a value as Python, and so transformers, takes it: null and 0 are false.
fn truth(value: &Value) -> Result<bool, ConfigError> {
    match value {
        Value::Null => Ok(false),
        Value::Bool(value) => Ok(*value),
        Value::Number(number) => Ok(number.as_f64() != Some(0.0)),
        other => Err(ConfigError::invalid("do_normalize", other, "true or false")),
    }
}

impl PreprocessorConfig {
    /// Parses a `preprocessor_config.json`, or the `processor_config.json` in which transformers 5 nests the same
    /// fields under `feature_extractor` or `audio_processor`.
    ///
    /// Padding and attention masks only affect batches of clips of different lengths, and are ignored.
    ///
    /// # Errors
    /// [`ConfigError`] for invalid text, and for a feature extractor whose output is not a waveform.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        let value = value_from_json(text)?;
        if !value.is_object() {
            return Err(ConfigError::Syntax("it is not a JSON object".into()));
        }
        let nested = NESTED.iter().find_map(|key| value.get(key).filter(|nested| nested.is_object()));
        let value = nested.unwrap_or(&value);
        let fields: Fields = parse(value)?;
        if let Some(found) = fields.feature_extractor_type.filter(|found| found != "Wav2Vec2FeatureExtractor") {
            return Err(ConfigError::unsupported(
                "feature_extractor_type",
                format!("`{found}`"),
                "only `Wav2Vec2FeatureExtractor`, which passes samples on, is; give the model's own \
                 preprocessor_config.json with --preprocessor",
            ));
        }
        if let Some(found) = fields.feature_size.filter(|&found| found != 1.0) {
            return Err(ConfigError::unsupported("feature_size", found, "the model takes one channel of samples (1)"));
        }
        let sampling_rate = fields.sampling_rate.map(whole_rate).transpose()?;
        let do_normalize = value.get("do_normalize").map(truth).transpose()?;
        Ok(PreprocessorConfig { do_normalize, sampling_rate })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_transformers_writes() {
        let fields = r#"{"do_normalize": false, "feature_extractor_type": "Wav2Vec2FeatureExtractor",
            "feature_size": 1, "padding_side": "right", "padding_value": 0.0, "return_attention_mask": false,
            "sampling_rate": 16000}"#;
        let expected = PreprocessorConfig { do_normalize: Some(false), sampling_rate: Some(16_000) };
        assert_eq!(PreprocessorConfig::from_json(fields).unwrap(), expected);
        let nested = format!(r#"{{"feature_extractor": {fields}, "processor_class": "Wav2Vec2Processor"}}"#);
        assert_eq!(PreprocessorConfig::from_json(&nested).unwrap(), expected);
        let nested = format!(r#"{{"audio_processor": {fields}, "processor_class": "X"}}"#);
        assert_eq!(PreprocessorConfig::from_json(&nested).unwrap(), expected);
        assert_eq!(PreprocessorConfig::from_json("{}").unwrap(), PreprocessorConfig::default());
    }

    #[test]
    fn values_as_python_takes_them() {
        for (json, normalize, rate) in [
            (r#"{"do_normalize": null, "sampling_rate": 16000.0}"#, Some(false), Some(16_000)),
            (r#"{"do_normalize": 0, "sampling_rate": null}"#, Some(false), None),
            (r#"{"do_normalize": 1, "padding_value": NaN, "feature_size": 1.0}"#, Some(true), None),
            (r#"{"do_normalize": true, "padding_value": -Infinity}"#, Some(true), None),
        ] {
            let expected = PreprocessorConfig { do_normalize: normalize, sampling_rate: rate };
            assert_eq!(PreprocessorConfig::from_json(json).unwrap(), expected, "{json}");
        }
        for json in [r#"{"do_normalize": NaN}"#, r#"{"sampling_rate": NaN}"#, r#"{"sampling_rate": 16000.5}"#] {
            let error = PreprocessorConfig::from_json(json).unwrap_err();
            assert!(json.contains(error.field().unwrap()), "{error}");
        }
    }

    #[test]
    fn another_front_end_is_refused() {
        for (json, word) in [
            (r#"{"feature_extractor_type": "WhisperFeatureExtractor"}"#, "Whisper"),
            (r#"{"feature_size": 80}"#, "feature_size"),
            (r#"{"sampling_rate": 0}"#, "sampling_rate"),
            (r#"{"sampling_rate": "16k"}"#, "sampling_rate"),
            (r#"{"do_normalize": "no"}"#, "do_normalize"),
            ("[", "invalid configuration"),
            ("3", "object"),
        ] {
            let error = PreprocessorConfig::from_json(json).unwrap_err().to_string();
            assert!(error.contains(word), "{json}: {error}");
        }
    }

    #[test]
    fn assumptions_follow_the_model_type() {
        assert_eq!(Preprocessor::assumed(&Config::default()).sampling_rate, 16_000);
        let mert = Config { sample_rate: None, ..Config::mert_v1_95m() };
        assert_eq!(Preprocessor::assumed(&mert), Preprocessor { do_normalize: true, sampling_rate: 24_000 });
        let stated = Config { sample_rate: Some(44_100), ..mert };
        assert_eq!(Preprocessor::assumed(&stated).sampling_rate, 44_100);
    }
}
