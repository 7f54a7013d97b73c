//! The metadata of a GGUF file: the format's own keys, and this toolkit's.

use mert_arch::Metadata;

use super::format::{ALIGNMENT, Entry, TensorType, Value};

/// The namespace of this toolkit's keys. After it come the keys of a converted safetensors file's `__metadata__`.
const NAMESPACE: &str = "mert_convert";

/// The key of the configuration's JSON, which may end in spaces.
const CONFIG: &str = "config";

/// The version of the quantized types' layout, `GGML_QNT_VERSION`.
const QUANTIZATION_VERSION: u32 = 2;

/// The entries: the format's keys with their meaning in
/// <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, then all of `metadata` as text under [`NAMESPACE`].
///
/// `matrices` is the type of the linear layers' weights. `own` are the toolkit's entries, sorted.
pub(super) fn entries(
    metadata: &Metadata,
    matrices: TensorType,
    own: impl IntoIterator<Item = (String, String)>,
) -> Vec<Entry> {
    let config = &metadata.config;
    let architecture = architecture(config.family().model_type);
    let count = |value: usize| Value::U32(value.try_into().unwrap_or(u32::MAX));
    let mut entries: Vec<Entry> = vec![
        ("general.architecture".into(), Value::Text(architecture.clone())),
        ("general.type".into(), Value::Text("model".into())),
        ("general.alignment".into(), count(ALIGNMENT)),
        ("general.file_type".into(), Value::U32(matrices.file_type())),
    ];
    if matches!(matrices, TensorType::Blocks(_)) {
        entries.push(("general.quantization_version".into(), Value::U32(QUANTIZATION_VERSION)));
    }
    if let Some(license) = &metadata.license {
        entries.push(("general.license".into(), Value::Text(license.clone())));
    }
    let sizes = [
        ("block_count", count(config.num_hidden_layers)),
        ("embedding_length", count(config.hidden_size)),
        ("feed_forward_length", count(config.intermediate_size)),
        ("attention.head_count", count(config.num_attention_heads)),
        ("attention.layer_norm_epsilon", Value::F32(config.layer_norm_eps as f32)),
    ];
    entries.extend(sizes.map(|(key, value)| (format!("{architecture}.{key}"), value)));
    entries.extend(own.into_iter().map(|(key, value)| (format!("{NAMESPACE}.{key}"), Value::Text(value))));
    entries
}

/// Appends spaces to the configuration's JSON, as the header of a safetensors file is padded.
pub(super) fn pad(entries: &mut [Entry], spaces: usize) {
    let key = format!("{NAMESPACE}.{CONFIG}");
    if let Some((_, Value::Text(json))) = entries.iter_mut().find(|(found, _)| *found == key) {
        json.extend(std::iter::repeat_n(' ', spaces));
    }
}

/// The value of `general.architecture`, which is made of lower-case letters and digits: `mert` for `mert_model`,
/// `data2vecaudio` for `data2vec-audio`.
fn architecture(model_type: &str) -> String {
    let name = model_type.strip_suffix("_model").unwrap_or(model_type);
    name.chars().filter(char::is_ascii_alphanumeric).collect()
}

#[cfg(test)]
mod tests {
    use mert_arch::ModelConfig;

    use super::*;

    #[test]
    fn architectures_are_names_of_the_format() {
        let names: Vec<_> = ModelConfig::all().iter().map(|family| architecture(family.names().model_type)).collect();
        assert!(
            names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())),
            "{names:?}"
        );
        assert!(["mert", "hubert", "wav2vec2", "data2vecaudio"].iter().all(|name| names.contains(&name.to_string())));
        assert!(!names.contains(&"mertconvert".to_string()));
    }
}
