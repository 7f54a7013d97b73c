//! Adapters between the weights of a checkpoint: the state dict of a whole PEFT model.

use std::path::{Path, PathBuf};

use mert_checkpoint::{AdapterOptions, Source};
use mert_testkit::{Tensor, fixture, write_torch_zip};

use super::tiny::{self, PEFT, all_tensors, base, tensors};
use crate::scratch::Scratch;

/// The tensors of a PEFT model, with the keys that its state_dict() has: the base's and the adapter's, named `name`.
fn peft_state_dict(adapter: &str, name: &str) -> Vec<(String, Tensor)> {
    let options = AdapterOptions { path: Some(tiny::adapter(adapter)), ..AdapterOptions::default() };
    let source = Source::open_with(&base(), None, &options).unwrap();
    let adapter = source.adapter.as_ref().unwrap();
    // The adapted model of two of the three fixtures is in a classifier.
    let prefix = if adapter.layers.keys().any(|module| module.starts_with("hubert.")) { "hubert." } else { "" };
    let key = |key: String| match key.split_once(':') {
        None => {
            let key = format!("{prefix}{key}");
            let (module, leaf) = key.rsplit_once('.').unwrap_or_default();
            if adapter.layers.contains_key(module) {
                format!("base_model.model.{module}.base_layer.{leaf}")
            } else if adapter.replaced.contains_key(&key) {
                format!("base_model.model.{module}.original_module.{leaf}")
            } else {
                format!("base_model.model.{key}")
            }
        }
        Some((_, key)) => match key.rsplit_once('.').unwrap() {
            (module, "lora_magnitude_vector") => format!("{module}.lora_magnitude_vector.{name}.weight"),
            (module, leaf) if key.contains(".lora_") => format!("{module}.{name}.{leaf}"),
            (module, leaf) => format!("{module}.modules_to_save.{name}.{leaf}"),
        },
    };
    all_tensors(&source).into_iter().map(|(name, tensor)| (key(name), tensor)).collect()
}

/// Writes a checkpoint with its config.json, and the adapter's if `config`.
fn write(scratch: &Scratch, tensors: &[(String, Tensor)], config: Option<&str>) -> PathBuf {
    let path = scratch.path("checkpoint.bin");
    write_torch_zip(&path, tensors).unwrap();
    std::fs::copy(fixture("mert-tiny/config.json"), scratch.path("config.json")).unwrap();
    let beside = scratch.path("adapter_config.json");
    let _ = std::fs::remove_file(&beside);
    if let Some(adapter) = config {
        std::fs::copy(tiny::adapter(adapter).join("adapter_config.json"), beside).unwrap();
    }
    path
}

fn prefixed(prefix: &str, tensors: Vec<(String, Tensor)>) -> Vec<(String, Tensor)> {
    tensors.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)).collect()
}

/// What the adapter merges to from its own folder.
fn from_folder(scratch: &Scratch, adapter: &str) -> tiny::Bytes {
    let folder = tiny::adapter(adapter);
    tensors(scratch, &base(), &["--dtype", "f32", "--adapter", folder.to_str().unwrap()])
}

#[test]
fn a_whole_model_of_peft() {
    let expected = tiny::expected();
    for adapter in PEFT {
        let scratch = Scratch::new();
        let state_dict = peft_state_dict(adapter, "default");
        let keys = expected[adapter]["keys"].as_array().unwrap();
        let found = |key: &&serde_json::Value| state_dict.iter().any(|(name, _)| name == key.as_str().unwrap());
        assert_eq!(keys.iter().find(|key| !found(key)), None, "a key of PEFT's own model");
        let merged = from_folder(&scratch, adapter);
        // As Lightning saves a module with such an attribute, and as PEFT's own state_dict() is.
        for prefix in ["", "model.peft_model."] {
            let input = write(&scratch, &prefixed(prefix, state_dict.clone()), Some(adapter));
            assert!(tensors(&scratch, &input, &["--dtype", "f32"]) == merged, "{adapter} under `{prefix}`");
        }
        let metadata = tiny::metadata(&scratch.path("out.safetensors"));
        assert_eq!(metadata["adapter"], "default, in the checkpoint");
        assert!(!metadata.contains_key("adapter_sha256"));
    }
}

/// The factors as plain parameters beside an unwrapped weight, as loralib has them.
#[test]
fn loralib_s_names() {
    let scratch = Scratch::new();
    let mut tensors_of_model = peft_state_dict("lora", "default");
    for (name, _) in &mut tensors_of_model {
        *name = name.replace("base_model.model.", "").replace(".base_layer", "");
        *name = name.replace(".lora_A.default.weight", ".lora_A").replace(".lora_B.default.weight", ".lora_B");
    }
    let input = write(&scratch, &tensors_of_model, Some("lora"));
    assert!(tensors(&scratch, &input, &["--dtype", "f32"]) == from_folder(&scratch, "lora"));
}

#[test]
fn the_scale_is_never_guessed() {
    let scratch = Scratch::new();
    let input = write(&scratch, &peft_state_dict("dora", "default"), None);
    scratch.refused(&input, &[], &["scale is not in its tensors (rank 2)", "adapter_config.json", "--lora-alpha"]);
    assert!(tensors(&scratch, &input, &["--dtype", "f32", "--lora-alpha", "4"]) == from_folder(&scratch, "dora"));
    assert!(tensors(&scratch, &input, &["--dtype", "f32", "--lora-alpha", "5"]) != from_folder(&scratch, "dora"));
    let input = write(&scratch, &peft_state_dict("dora", "default"), Some("dora"));
    std::fs::remove_file(scratch.path("out.safetensors")).unwrap();
    scratch.refused(&input, &["--lora-alpha", "4"], &["states the scale: leave --lora-alpha out"]);
}

#[test]
fn several_adapters_are_chosen_by_name() {
    let scratch = Scratch::new();
    let mut both = peft_state_dict("dora", "first");
    let second = peft_state_dict("dora", "second");
    both.extend(second.into_iter().filter(|(name, _)| name.contains(".second.")).map(|(name, mut tensor)| {
        tensor.values.iter_mut().for_each(|value| *value *= 1.5);
        (name, tensor)
    }));
    let input = write(&scratch, &both, Some("dora"));
    scratch.refused(&input, &[], &["more than one adapter: `first`, `second`", "--adapter-name"]);
    scratch.refused(&input, &["--adapter-name", "third"], &["no adapter `third`"]);
    let merged = from_folder(&scratch, "dora");
    let first = scratch.convert(&input, &["--dtype", "f32", "--force", "--adapter-name", "first"]);
    assert!(first.contains("of an adapter that is not merged"), "{first}");
    assert!(tiny::read(&scratch.path("out.safetensors")) == merged);
    assert!(tensors(&scratch, &input, &["--dtype", "f32", "--adapter-name", "second"]) != merged);
}

#[test]
fn without_the_adapter_on_request_only() {
    let scratch = Scratch::new();
    let plain = tensors(&scratch, &base(), &["--dtype", "f32"]);
    let input = write(&scratch, &peft_state_dict("lora", "default"), None);
    let message = scratch.convert(&input, &["--dtype", "f32", "--no-adapter", "--force"]);
    assert!(message.contains("without an adapter (LoRA)") && message.contains("lora_A"), "{message}");
    assert!(tiny::read(&scratch.path("out.safetensors")) == plain);
}

/// The base's own layers as PEFT wrapped them, whose adapter is in a file of its own.
#[test]
fn wrapped_layers_and_an_adapter_s_file() {
    let scratch = Scratch::new();
    let mut wrapped = peft_state_dict("lora", "default");
    wrapped.retain(|(name, _)| !name.contains("lora_"));
    let input = write(&scratch, &wrapped, None);
    scratch.refused(&input, &[], &["the layers of a model with an adapter, without its tensors", "--adapter"]);
    let folder = tiny::adapter("lora");
    let merged = tensors(&scratch, &input, &["--dtype", "f32", "--adapter", folder.to_str().unwrap()]);
    assert!(merged == from_folder(&scratch, "lora"));
    let input = write(&scratch, &peft_state_dict("dora", "default"), None);
    refused(&scratch, &input, &["--adapter", folder.to_str().unwrap()], &["an adapter of its own"]);
}

/// The state dict of a PEFT model of torchaudio, and an adapter's file in its names.
#[test]
fn names_of_another_implementation() {
    let scratch = Scratch::new();
    let source = Source::open(&fixture("fairseq/torchaudio.pt")).unwrap();
    let name_in_file = |(name, tensor): (String, Tensor)| (source.listing().name_in_file(&name), tensor);
    let plain: Vec<_> = all_tensors(&source).into_iter().map(name_in_file).collect();
    let module = "encoder.transformer.layers.0.attention.q_proj";
    assert!(plain.iter().any(|(name, _)| *name == format!("{module}.weight")));
    let factor = |shape: [usize; 2], step: f32| {
        let values = (0..shape[0] * shape[1]).map(|i| (i as f32 * step).sin()).collect();
        Tensor { shape: shape.to_vec(), values }
    };
    let parts = [("lora_A", factor([3, 16], 0.7)), ("lora_B", factor([16, 3], 1.1))];
    let given = ["--dtype", "f32", "--set", "conv_stride=[5,2,2]", "--set", "num_attention_heads=4"];
    let given = [&given[..], &["--set", "do_stable_layer_norm=false", "--lora-alpha", "6"]].concat();

    let mut wrapped: Vec<_> = plain
        .iter()
        .map(|(name, tensor)| {
            (format!("base_model.model.{}", name.replace("q_proj.", "q_proj.base_layer.")), tensor.clone())
        })
        .collect();
    let part = |kind: &'static str| {
        move |(part, tensor): &(&str, Tensor)| (format!("base_model.model.{module}.{part}.{kind}"), tensor.clone())
    };
    wrapped.extend(parts.iter().map(part("default.weight")));
    let embedded = scratch.path("embedded.bin");
    write_torch_zip(&embedded, &wrapped).unwrap();
    let merged = tensors(&scratch, &embedded, &given);

    let file = scratch.path("adapter_model.safetensors");
    tiny::write_safetensors(&file, &parts.iter().map(part("weight")).collect::<Vec<_>>());
    let alone = scratch.path("alone");
    std::fs::create_dir(&alone).unwrap();
    let model = alone.join("model.bin");
    write_torch_zip(&model, &plain).unwrap();
    let with_file = tensors(&scratch, &model, &[&given[..], &["--adapter", file.to_str().unwrap()]].concat());
    assert!(merged == with_file);
    let without = tensors(&scratch, &model, &given[..given.len() - 2]);
    let changed: Vec<&String> = merged.keys().filter(|name| merged[*name] != without[*name]).collect();
    assert_eq!(changed, ["encoder.layers.0.attention.q_proj.weight"]);
}

#[track_caller]
fn refused(scratch: &Scratch, input: &Path, options: &[&str], words: &[&str]) {
    let _ = std::fs::remove_file(scratch.path("out.safetensors"));
    scratch.refused(input, options, words);
}
