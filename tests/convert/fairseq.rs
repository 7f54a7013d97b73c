//! Checkpoints of fairseq (ContentVec, HuBERT, wav2vec 2.0, data2vec, MERT), of the original WavLM and of torchaudio: every
//! value, the configuration from the training configuration in the file, and refusals of contradictions.
//!
//! `scripts/fixtures/make_fairseq.py` wrote the files, and the digests of the tensors that a conversion must give, by a
//! renaming of its own.

use std::collections::BTreeMap;
use std::path::Path;

use mert_arch::naming::{NamingScheme, Variant};
use mert_testkit::{Tensor, fixture};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::scratch::{Scratch, checkpoint, mert_convert};

/// The options for files that do not state their architecture.
const GIVEN: [&str; 8] = [
    "--set",
    "num_attention_heads=4",
    "--set",
    "do_stable_layer_norm=false",
    "--set",
    "conv_stride=[5,2,2]",
    "--sampling-rate",
    "16000",
];

fn options(name: &str) -> &'static [&'static str] {
    if name.starts_with("torchaudio") { &GIVEN } else { &[] }
}

fn file(name: &str) -> std::path::PathBuf {
    fixture(&format!("fairseq/{name}"))
}

/// The beginnings of the digests of a converted file's tensors.
fn digests(path: &Path) -> BTreeMap<String, String> {
    let bytes = std::fs::read(path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let hex = |data: &[u8]| Sha256::digest(data)[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    tensors.iter().map(|(name, view)| (name.to_string(), hex(view.data()))).collect()
}

/// The plan as JSON.
#[track_caller]
fn plan(scratch: &Scratch, input: &Path, options: &[&str]) -> Value {
    let run = mert_convert(input, &scratch.path("x.safetensors"), &[&["--dry-run", "--json"], options].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    serde_json::from_str::<Value>(&run.stdout).unwrap()["plan"].clone()
}

#[test]
fn every_value_is_that_of_an_independent_renaming() {
    let scratch = Scratch::new();
    let expected: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_slice(&std::fs::read(file("expected.json")).unwrap()).unwrap();
    assert_eq!(expected.len(), 18);
    for (case, expected) in &expected {
        let (name, key) = case.split_once(' ').map_or((case.as_str(), None), |(name, key)| (name, Some(key)));
        let key: Vec<&str> = key.iter().flat_map(|key| ["--key", key]).collect();
        let options = [&["--dtype", "f32", "--layout", "candle", "--force"], options(name), &key[..]].concat();
        scratch.convert(&file(name), &options);
        assert_eq!(&digests(&scratch.path("out.safetensors")), expected, "{case}");
    }
}

/// The family and the fields that only the training configuration tells, and the evidence.
#[test]
fn the_configuration_is_that_of_the_training() {
    let scratch = Scratch::new();
    let heads = |model_type: &str, pre_ln: bool| (model_type.to_string(), pre_ln);
    for (name, (model_type, pre_ln), normalize, by, names) in [
        ("contentvec.pt", heads("hubert", false), false, "cfg", "fairseq"),
        ("args.pt", heads("hubert", false), false, "cfg", "fairseq"),
        ("layer-norm.pt", heads("wav2vec2", true), true, "cfg", "fairseq"),
        ("omegaconf-2.0.pt", heads("hubert", true), true, "cfg", "fairseq"),
        ("omegaconf-2.3.pt", heads("hubert", true), true, "cfg", "fairseq"),
        ("fine-tuned.pt", heads("wav2vec2", false), false, "cfg", "fairseq"),
        ("data2vec.pt", heads("data2vec-audio", false), true, "cfg", "fairseq"),
        ("batch-norm.pt", heads("hubert", false), false, "cfg", "fairseq"),
        ("mert.pt", heads("mert_model", true), false, "cfg", "fairseq"),
        ("wavlm.pt", heads("wavlm", false), false, "cfg", "wav_lm"),
        ("torchaudio.pt", heads("hubert", false), false, "tensor_names", "torchaudio"),
        ("torchaudio-wavlm.pt", heads("wavlm", false), false, "tensor_names", "torchaudio"),
    ] {
        let plan = plan(&scratch, &file(name), options(name));
        let (recognized, config) = (&plan["recognized"], &plan["config"]);
        assert_eq!(*recognized, json!({ "family": model_type, "by": by, "names": names }), "{name}");
        assert_eq!(config["model_type"], model_type, "{name}");
        assert_eq!(config["do_stable_layer_norm"], pre_ln, "{name}");
        assert_eq!((&config["num_attention_heads"], &config["conv_stride"]), (&json!(4), &json!([5, 2, 2])), "{name}");
        assert_eq!(plan["preprocessor"]["do_normalize"], normalize, "{name}");
        let rate = if name == "mert.pt" { 24_000 } else { 16_000 };
        assert_eq!(plan["preprocessor"]["sampling_rate"], rate, "{name}");
        if by == "cfg" {
            assert_eq!(plan["preprocessor"]["do_normalize_origin"], "cfg in the checkpoint", "{name}");
        }
    }
    let wavlm = plan(&scratch, &file("wavlm.pt"), &[]);
    assert_eq!((&wavlm["config"]["num_buckets"], &wavlm["config"]["max_bucket_distance"]), (&json!(32), &json!(80)));
    let mert = plan(&scratch, &file("mert.pt"), &[]);
    assert_eq!((&mert["config"]["attention_relax"], &mert["config"]["sample_rate"]), (&json!(32.0), &json!(24_000)));
}

/// The plan accounts for every tensor of the file by its name there.
#[test]
fn the_plan_has_the_names_of_the_file() {
    let scratch = Scratch::new();
    let plan_json = plan(&scratch, &file("conditional.pt"), &[]);
    assert_eq!(plan_json["cut"], json!({ "kept": 2, "left_out": 2 }));
    assert_eq!(plan_json["config"]["num_hidden_layers"], 2);
    let dropped = plan_json["dropped"].as_array().unwrap();
    let conditional = |name: &str| {
        let entry = dropped.iter().find(|entry| entry["name"] == name).unwrap_or_else(|| panic!("{name}"));
        entry["reason"].as_str().unwrap().contains("speaker")
    };
    for name in [
        "encoder.layers.2.self_attn_layer_norm.weight_ln.weight",
        "encoder.layers.3.fc1.bias",
        "encoder.cond_layer_norm.bias_ln.weight",
    ] {
        assert!(conditional(name), "{name}");
    }
    assert!(!conditional("layer_proj.weight") && !conditional("mask_emb"));

    let text = mert_convert(&file("stacked.pt"), &scratch.path("x.safetensors"), &["--dry-run"]).stdout;
    for words in [
        "encoder.layers.1.self_attn.in_proj_weight (part 3 of 3)",
        "encoder.pos_conv.0.weight_g + encoder.pos_conv.0.weight_v",
        "hubert, by the cfg in the checkpoint; names as in fairseq",
        "post_extract_proj.bias",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let text = mert_convert(&file("no-projection.pt"), &scratch.path("x.safetensors"), &["--dry-run"]).stdout;
    for words in ["no `post_extract_proj`", "identity matrix", "(zeros)"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let text = mert_convert(&file("conditional.pt"), &scratch.path("x.safetensors"), &["--dry-run"]).stdout;
    assert!(text.contains("cut after layer 2, the 2 layers after it"), "{text}");

    // Every tensor of the file is used once or dropped with a reason.
    for (name, tensors) in [("contentvec.pt", 50), ("training-state.pt", 50 + 50 + 1), ("fine-tuned.pt", 52)] {
        let plan = plan(&scratch, &file(name), &[]);
        let used = plan["steps"].as_array().unwrap().iter().map(|step| step["inputs"].as_array().unwrap().len());
        assert_eq!(used.sum::<usize>() + plan["dropped"].as_array().unwrap().len(), tensors, "{name}");
    }
}

#[test]
fn a_contradicting_configuration_is_refused_with_both_sides() {
    let scratch = Scratch::new();
    let input = file("contradiction.pt");
    scratch.refused(
        &input,
        &[],
        &[
            "`model.conv_bias` is true, but the tensors have false",
            "`model.extractor_mode` is \"layer_norm\", but the tensors have \"default\"",
            "`feature_extractor.conv_layers.0.2.weight`",
            "`model.encoder_embed_dim` is 24, but the tensors have 16 (`post_extract_proj.weight`)",
            "--config",
        ],
    );
    // A config.json that fits the tensors takes precedence over the cfg.
    let mut config = plan(&scratch, &file("contentvec.pt"), &[])["config"].clone();
    let right = scratch.write("right.json", config.to_string().as_bytes());
    let plan_json = plan(&scratch, &input, &["--config", right.to_str().unwrap()]);
    assert_eq!(plan_json["recognized"]["by"], "config_json");

    // A config.json beside the file that says something else than the cfg: refused, unless the user names it.
    config["num_attention_heads"] = json!(2);
    std::fs::copy(file("contentvec.pt"), scratch.path("model.pt")).unwrap();
    scratch.write("config.json", config.to_string().as_bytes());
    let words = ["`num_attention_heads` is 2 in config.json, and 4 by the cfg", "--config"];
    scratch.refused(&scratch.path("model.pt"), &[], &words);
    // A field that the user sets is not compared.
    let set = plan(&scratch, &scratch.path("model.pt"), &["--set", "num_attention_heads=8"]);
    assert_eq!(set["config"]["num_attention_heads"], 8);
    let set =
        plan(&scratch, &file("contentvec.pt"), &["--set", "num_attention_heads=8", "--set", "model_type=wav2vec2"]);
    let config = &set["config"];
    assert_eq!((&config["num_attention_heads"], &config["model_type"]), (&json!(8), &json!("wav2vec2")));
    let path = scratch.path("config.json");
    let plan_json = plan(&scratch, &scratch.path("model.pt"), &["--config", path.to_str().unwrap()]);
    assert_eq!(plan_json["config"]["num_attention_heads"], 2);
    let notes = plan_json["notes"].to_string();
    assert!(notes.contains("`num_attention_heads` is 2 in config.json, and 4 by the cfg"), "{notes}");
    assert!(notes.contains("--config takes precedence"), "{notes}");
}

#[test]
fn the_audio_input_of_the_training_must_agree_with_files() {
    let scratch = Scratch::new();
    std::fs::copy(file("contentvec.pt"), scratch.path("model.pt")).unwrap();
    let extractor = json!({ "do_normalize": true, "sampling_rate": 16_000 });
    scratch.write("preprocessor_config.json", extractor.to_string().as_bytes());
    let words =
        ["`do_normalize` is true", "preprocessor_config.json", "false (cfg in the checkpoint)", "--do-normalize"];
    scratch.refused(&scratch.path("model.pt"), &[], &words);
    let plan = plan(&scratch, &scratch.path("model.pt"), &["--do-normalize", "false"]);
    assert_eq!(plan["preprocessor"]["do_normalize"], false);
}

#[test]
fn a_published_file_is_named_with_its_licence() {
    let scratch = Scratch::new();
    let known = mert_arch::KNOWN_CHECKPOINTS.into_iter().find(|known| known.file == "hubert_base.pt").unwrap();
    let options = ["--dry-run", "--source-sha256", known.sha256];
    let text = mert_convert(&file("contentvec.pt"), &scratch.path("x.safetensors"), &options).stdout;
    for words in ["published    ContentVec legacy 500", "licence      MIT"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

/// Tensors of the encoder cannot be dropped under any names.
#[test]
fn no_tensor_of_the_encoder_is_dropped() {
    let scratch = Scratch::new();
    for (name, pattern) in [
        ("contentvec.pt", "encoder.layers.1.fc1.bias"),
        ("contentvec.pt", "post_extract_proj.*"),
        ("contentvec.pt", "layer_norm.weight"),
        ("contentvec.pt", "feature_projection.*"),
        ("contentvec.pt", "encoder.pos_conv.0.weight_g"),
        ("wavlm.pt", "encoder.layers.0.self_attn.grep_a"),
        ("torchaudio.pt", "encoder.transformer.layer_norm.bias"),
        ("fine-tuned.pt", "w2v_encoder.w2v_model.encoder.*"),
    ] {
        scratch.refused(&file(name), &["--drop", pattern], &["inside the encoder", pattern]);
    }
    scratch.convert(&file("contentvec.pt"), &["--drop", "mask_emb", "--drop", "final_proj.*"]);
}

/// Writes the tiny model under the names of a scheme, after a change of its tensors.
fn renamed(
    scratch: &Scratch,
    scheme: NamingScheme,
    change: impl FnOnce(&mut Vec<(String, Tensor)>),
) -> std::path::PathBuf {
    let table = scheme.table(Variant::default());
    checkpoint(scratch, |tensors| {
        for (name, _) in tensors.iter_mut() {
            // torchaudio has no tensor for masked frames inside the encoder.
            *name = table.from_hugging_face(name).map_or(name.clone(), |other| other.name);
        }
        change(tensors);
    })
}

#[test]
fn other_architectures_are_refused_by_name_under_fairseq_s_names() {
    let scratch = Scratch::new();
    let one = || Tensor { shape: vec![1], values: vec![1.0] };
    for (name, word) in [
        ("encoder.layers.0.ffn1.w_1.weight", "Conformer"),
        ("encoder.layers.0.conv_module.batch_norm.weight", "Conformer"),
        ("encoder.layers.1.adapter_layer.W_a", "adapters"),
        ("encoder.upsample.0.weight", "SEW"),
        ("encoder.layers.0.self_attn.q_proj.weight_ema", "EMA"),
    ] {
        let input = renamed(&scratch, NamingScheme::Fairseq, |tensors| tensors.push((name.into(), one())));
        scratch.refused(&input, &[], &[word, name]);
    }
    let input = renamed(&scratch, NamingScheme::Fairseq, |tensors| tensors.push(("encoder.extra".into(), one())));
    scratch.refused(&input, &[], &["`encoder.extra`", "inside the encoder"]);
    let input = renamed(&scratch, NamingScheme::Fairseq, |tensors| {
        tensors.push(("encoder.layers.0.attention.q_proj.bias".into(), one()));
    });
    scratch.refused(&input, &[], &["`encoder.layers.0.self_attn.q_proj.bias`", "Hugging Face names"]);
    let input = renamed(&scratch, NamingScheme::Fairseq, |tensors| {
        tensors.retain(|(name, _)| name != "encoder.layers.1.fc2.bias");
    });
    scratch.refused(&input, &[], &["missing tensor `encoder.layers.1.fc2.bias`"]);
}

/// The same tensors under other names are the same converted file.
#[test]
fn names_do_not_change_the_output() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |_| {});
    scratch.convert(&input, &["--force"]);
    let expected = digests(&scratch.path("out.safetensors"));
    for scheme in [NamingScheme::Fairseq, NamingScheme::Torchaudio] {
        let input = renamed(&scratch, scheme, |_| {});
        let text = scratch.convert(&input, &["--force"]);
        assert!(text.contains(&format!("names as in {scheme}")), "{text}");
        assert_eq!(digests(&scratch.path("out.safetensors")), expected, "{scheme}");
    }
}
