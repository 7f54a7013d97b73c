//! The `config.json` of a bundle beside those of its T5 and its codec: every field that both have, and what defaults imply.

use mert_arch::{EncodecConfig, T5Config};
use mert_musicgen::bundle::Bundle;
use serde_json::json;

use super::*;

/// Opens a bundle whose parts have these configurations, after a change of the bundle's own.
fn opened(edit: impl FnOnce(&mut Value)) -> Result<(), String> {
    let codec = EncodecConfig { codebook_size: 64, target_bandwidths: vec![1.2], ..EncodecConfig::default() };
    let t5 = T5Config::default();
    let mut value = json!({
        "model_type": "musicgen",
        "decoder": {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "ffn_dim": 128,
            "num_codebooks": 4, "vocab_size": 64},
        "text_encoder": t5.to_fields(),
        "audio_encoder": codec.to_fields(),
    });
    edit(&mut value);
    let scratch = Scratch::new();
    for (part, fields) in [("t5", t5.to_fields()), ("encodec", codec.to_fields())] {
        fs::create_dir(scratch.path(part)).unwrap();
        fs::write(scratch.path(part).join("config.json"), Value::Object(fields).to_string()).unwrap();
    }
    let config = scratch.write("config.json", value.to_string().as_bytes());
    Bundle::open(config.parent().unwrap()).map(drop).map_err(|error| error.to_string())
}

#[test]
fn files_that_say_the_same_agree() {
    opened(|_| ()).unwrap();
    opened(|v| v["audio_encoder"]["trim_right_ratio"] = 1.into()).unwrap();
    opened(|v| drop(v["audio_encoder"].as_object_mut().unwrap().remove("upsampling_ratios"))).unwrap();
    opened(|v| v["audio_encoder"]["_name_or_path"] = "facebook/encodec_32khz".into()).unwrap();
}

#[test]
fn fields_that_differ_are_named_with_both_files_and_values() {
    type Edit = fn(&mut Value);
    let cases: [(&[&str], Edit); 7] = [
        (&["`audio_encoder.sampling_rate` is 16000", "`sampling_rate` is 32000 in", "encodec/config.json"], |v| {
            v["audio_encoder"]["sampling_rate"] = 16000.into();
        }),
        (&["`audio_encoder.upsampling_ratios` is [8,5,4,2]", "is [8,5,4,4] in", "encodec/config.json"], |v| {
            v["audio_encoder"]["upsampling_ratios"] = json!([8, 5, 4, 2]);
        }),
        (&["`audio_encoder.pad_mode` is \"constant\"", "is \"reflect\" in"], |v| {
            v["audio_encoder"]["pad_mode"] = "constant".into();
        }),
        (&["`decoder.vocab_size` is 128", "`codebook_size` is 64 in"], |v| v["decoder"]["vocab_size"] = 128.into()),
        (&["num_codebooks (of a channel)` is 6", "its codebooks)` is 4 in"], |v| {
            v["decoder"]["num_codebooks"] = 6.into();
        }),
        (&["`text_encoder.num_heads` is 6", "`num_heads` is 12 in", "t5/config.json"], |v| {
            v["text_encoder"]["num_heads"] = 6.into();
        }),
        (&["`text_encoder.d_model` is 512", "`d_model` is 768 in"], |v| v["text_encoder"] = json!({"d_model": 512})),
    ];
    for (words, edit) in cases {
        let error = opened(edit).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)), "{words:?}: {error}");
    }
}
