//! Sizes that are read, written and inferred, the number of values of a published model, and what is refused.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;

const SMALL: &str = r#"{"model_type": "musicgen", "decoder": {"hidden_size": 64, "num_attention_heads": 4, "ffn_dim": 128,
    "num_hidden_layers": 3, "vocab_size": 64}, "text_encoder": {"d_model": 48, "num_layers": 2},
    "audio_encoder": {"codebook_size": 64}}"#;

fn shapes(config: &MusicgenConfig) -> BTreeMap<String, Vec<usize>> {
    config.inventory().into_iter().map(|spec| (spec.name, spec.shape)).collect()
}

/// Shapes of the published large model, with a condition transformer of 501 rows.
fn large() -> MusicgenConfig {
    let decoder = r#"{"model_type": "instruct_musicgen", "decoder": {"hidden_size": 2048, "num_attention_heads": 32,
        "ffn_dim": 8192, "num_hidden_layers": 48}, "text_encoder": {}, "audio_encoder": {},
        "cp_transformer": {"num_layers": 48, "max_frames": 501, "hidden_size": 2048}}"#;
    MusicgenConfig::from_json(decoder).unwrap()
}

#[test]
fn sizes_are_read_written_and_inferred() {
    let mut config = MusicgenConfig::from_json(SMALL).unwrap();
    let again = MusicgenConfig::from_value(&Value::Object(config.to_fields())).unwrap();
    assert_eq!(again, config);
    let mut inferred = MusicgenConfig::infer(&shapes(&config), Some(4)).unwrap();
    inferred.text_encoder = config.text_encoder.clone();
    inferred.audio_encoder = config.audio_encoder.clone();
    assert_eq!(inferred, config);
    config.cp_transformer = Some(CpTransformer { num_layers: 3, max_frames: 21, hidden_size: 64 });
    assert_eq!(MusicgenConfig::infer(&shapes(&config), None).unwrap().cp_transformer, config.cp_transformer);
    assert_eq!(MusicgenConfig::infer(&shapes(&large()), None).unwrap().decoder, large().decoder);
}

/// The numbers of values of MusicGen-large's blocks, embeddings and heads, and of the condition transformer: 48 · 16 D² and
/// so on.
#[test]
fn the_large_model_has_its_number_of_values() {
    let values = |start: &str| -> usize {
        let tensors = large().inventory();
        let of = tensors.iter().filter(|spec| spec.name.starts_with(start));
        of.map(|spec| spec.shape.iter().product::<usize>()).sum()
    };
    let norms = 48 * 6 * 2048;
    assert_eq!(values("lm.layers."), 48 * 16 * 2048 * 2048 + norms);
    assert_eq!(values("lm.emb.") + values("lm.linears."), 4 * (2049 + 2048) * 2048);
    assert_eq!(values("cp_transformer."), 49 * 501 * 2048 + 48 + 48 * 2048 * 2048);
    assert_eq!(large().inventory().len(), 4 + 2 + 48 * (8 + 2 + 6) + 2 + 4 + 2 + 48);
}

#[test]
fn fields_that_no_musicgen_has_are_refused() {
    for (from, to, word) in [
        (r#""model_type": "musicgen""#, r#""model_type": "musicgen_melody""#, "chromagram"),
        (r#""model_type": "musicgen""#, r#""model_type": "t5""#, "model_type"),
        (r#""num_attention_heads": 4"#, r#""num_attention_heads": 5"#, "num_attention_heads"),
        (r#""vocab_size": 64"#, r#""vocab_size": 64, "pad_token_id": 0"#, "pad_token_id"),
        (r#""vocab_size": 64"#, r#""vocab_size": 64, "activation_function": "relu""#, "activation_function"),
        (r#""vocab_size": 64"#, r#""vocab_size": 64, "audio_channels": 3"#, "audio_channels"),
        (r#""num_hidden_layers": 3"#, r#""num_hidden_layers": 0"#, "num_hidden_layers"),
        (r#""d_model": 48"#, r#""d_model": "48""#, "text_encoder.d_model"),
        (r#""audio_encoder""#, r#""audio""#, "audio_encoder"),
    ] {
        assert!(SMALL.contains(from));
        let error = MusicgenConfig::from_json(&SMALL.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(word), "{to}: {error}");
    }
    let mut config = large();
    config.decoder.audio_channels = 2;
    assert!(config.validate().unwrap_err().to_string().contains("edits mono"));
    config.cp_transformer = Some(CpTransformer { num_layers: 47, max_frames: 501, hidden_size: 2048 });
    assert!(config.validate().unwrap_err().to_string().contains("cp_transformer.num_layers"));
    let mut missing = shapes(&large());
    missing.remove("lm.emb.0.weight");
    assert!(MusicgenConfig::infer(&missing, None).unwrap_err().to_string().contains("lm.emb.0.weight"));
}
