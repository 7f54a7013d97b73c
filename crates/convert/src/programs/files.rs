//! The files beside the weights in a model folder: `config.json` and `preprocessor_config.json`.

use mert_arch::{CONFIG_FILE, Config, FeatureExtractorNorm, PREPROCESSOR_FILES, WEIGHT_FILES};
use serde_json::{Map, Value, json};

use super::{Companion, ModelFacts};

/// The name of the weights in a model folder.
pub const MODEL_WEIGHTS: &str = WEIGHT_FILES[0];

/// The files of a model folder: the weights, the configuration and the preprocessor.
pub const MODEL_FOLDER_FILES: [&str; 3] = [CONFIG_FILE, MODEL_WEIGHTS, PREPROCESSOR_FILES[0]];

/// The files beside the weights.
pub(super) fn companions(config: Map<String, Value>, model: &ModelFacts<'_>) -> Vec<Companion> {
    vec![Companion { name: CONFIG_FILE, text: json_text(Value::Object(config)) }, preprocessor_companion(model)]
}

/// The file that describes the audio input.
pub(crate) fn preprocessor_companion(model: &ModelFacts<'_>) -> Companion {
    Companion { name: PREPROCESSOR_FILES[0], text: json_text(preprocessor(model)) }
}

/// The fields of a `config.json` that every class reads. `masked_spec_embed` is a parameter of a class only if it masks, as
/// it does only in training: the probabilities are HuBERT's default, or 0.
pub(crate) fn config_fields(config: &Config, masks: bool) -> Map<String, Value> {
    let mut fields = config.class_fields();
    let more = [
        ("num_feat_extract_layers", json!(config.conv_dim.len())),
        ("mask_time_prob", json!(if masks { 0.05 } else { 0.0 })),
        ("mask_feature_prob", json!(0.0)),
    ];
    fields.extend(more.map(|(name, value)| (name.to_string(), value)));
    fields
}

/// The fields that transformers' `Wav2Vec2FeatureExtractor` saves. Models with a group norm, whose statistics padding
/// changes, were trained without attention masks; that concerns batches of clips of different lengths.
fn preprocessor(model: &ModelFacts<'_>) -> Value {
    json!({
        "do_normalize": model.preprocessor.do_normalize,
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": model.config.feat_extract_norm == FeatureExtractorNorm::Layer,
        "sampling_rate": model.preprocessor.sampling_rate,
    })
}

/// JSON as transformers writes it: indented by two spaces, sorted by name, with a line break at the end.
pub(crate) fn json_text(value: Value) -> String {
    format!("{value:#}\n")
}
