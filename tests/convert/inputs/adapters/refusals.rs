//! Adapters that are refused: options that would be applied differently, tensors that contradict them, quantized weights, and
//! every way in which an adapter could be lost.

use mert_checkpoint::{AdapterOptions, Source};
use mert_testkit::Tensor;
use serde_json::{Value, json};

use super::tiny::{self, TinyModel, all_tensors, base};
use crate::scratch::Scratch;

/// Tries to merge an adapter's folder with a changed configuration.
#[track_caller]
fn refused_config(name: &str, change: impl FnOnce(&mut Value), words: &[&str]) {
    let scratch = Scratch::new();
    let model = TinyModel::new(&scratch);
    let folder = model.adapter(&scratch, name, change);
    scratch.refused(&model.path, &["--adapter", folder.to_str().unwrap()], words);
}

#[test]
fn options_that_change_the_result() {
    for (field, value, words) in [
        ("peft_type", json!("IA3"), &["`peft_type` is \"IA3\"", "merge_and_unload"][..]),
        ("init_lora_weights", json!("pissa_niter_4"), &["base weights that were changed"]),
        ("init_lora_weights", json!("loftq"), &["base weights that were changed"]),
        ("init_lora_weights", json!("new"), &["is not known"]),
        ("layer_replication", json!([[0, 4], [2, 5]]), &["more layers"]),
        ("use_qalora", json!(true), &["QALoRA"]),
        ("kasa_config", json!({"beta": 1.0}), &["KaSA"]),
        ("a_new_option", json!(3), &["`a_new_option` is 3", "not known"]),
        ("r", json!(4), &["rank 3", "but 4", "(r)", "lora_A"]),
        ("rank_pattern", json!({"layers.1.attention.q_proj": 3}), &["rank 2", "but 3", "(rank_pattern)"]),
        ("rank_pattern", json!({"(?=q)q_proj": 2}), &["`rank_pattern`", "(?=q)q_proj"]),
        ("lora_alpha", json!(0), &["scale 0 is not a positive"]),
        ("lora_alpha", json!(-6), &["scale -2 is not a positive"]),
        ("lora_alpha", json!("six"), &["adapter_config.json", "invalid type"]),
        ("lora_alpha", Value::Null, &["no `lora_alpha`"]),
        ("use_dora", json!(true), &["`use_dora` is true, but module", "has no such tensor"]),
        ("lora_bias", json!(true), &["`lora_bias` is true"]),
    ] {
        refused_config("lora", |config| config[field] = value, words);
    }
    refused_config("dora", |config| config["use_dora"] = false.into(), &["`use_dora` is false, but there is a tensor"]);
    refused_config("lora", |config| *config = json!({"x": 1}), &["neither PEFT's", "nor mlx-lm's"]);
    for (field, value, words) in [
        ("fine_tune_type", json!("full"), &["whole weights"][..]),
        ("fine_tune_type", json!("dora"), &["`fine_tune_type` is dora", "no `m`"]),
        ("lora_parameters", json!({"rank": 3}), &["lora_parameters.scale"]),
        ("lora_parameters", json!({"rank": 3, "scale": 1.0, "alpha": 16}), &["lora_parameters.alpha"]),
        ("lora_parameters", json!({"rank": 8, "scale": 1.0}), &["rank 3", "but 8"]),
    ] {
        refused_config("mlx-lora", |config| config[field] = value, words);
    }
}

/// Tries to merge an adapter whose tensors were changed.
#[track_caller]
fn refused_tensors(change: impl FnOnce(&mut Vec<(String, Tensor)>), words: &[&str]) {
    let scratch = Scratch::new();
    let folder = changed(&scratch, change);
    scratch.refused(&base(), &["--adapter", &folder], words);
}

/// An adapter's folder with other tensors.
fn changed(scratch: &Scratch, change: impl FnOnce(&mut Vec<(String, Tensor)>)) -> String {
    let model = TinyModel::new(scratch);
    let folder = model.adapter(scratch, "lora", |_| {});
    let options = AdapterOptions { path: Some(folder.clone()), ..AdapterOptions::default() };
    let source = Source::open_with(&base(), None, &options).unwrap();
    let mut tensors: Vec<_> = all_tensors(&source)
        .into_iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix("adapter_model.safetensors:")?.to_string(), tensor)))
        .collect();
    change(&mut tensors);
    tiny::write_safetensors(&folder.join("adapter_model.safetensors"), &tensors);
    folder.to_str().unwrap().to_string()
}

fn named<'a>(tensors: &'a mut [(String, Tensor)], words: &str) -> &'a mut (String, Tensor) {
    tensors.iter_mut().find(|(name, _)| name.contains(words)).unwrap()
}

const Q: &str = "base_model.model.encoder.layers.0.attention.q_proj";

#[test]
fn tensors_that_do_not_fit() {
    let tensor = |shape: &[usize]| Tensor { shape: shape.to_vec(), values: vec![0.5; shape.iter().product()] };
    refused_tensors(
        |t| t.retain(|(name, _)| !name.contains("1.attention.q_proj.lora_B")),
        &["no `lora_B`", "incomplete"],
    );
    refused_tensors(|t| named(t, "q_proj.lora_A").1 = tensor(&[192]), &["lora_A", "[192]", "two axes"]);
    refused_tensors(|t| named(t, "q_proj.lora_B").1 = tensor(&[64, 5]), &["lora_B", "[64, 5]", "rank 3"]);
    // A layer of another size, with factors that fit each other.
    let narrow = |t: &mut Vec<(String, Tensor)>| named(t, "q_proj.lora_A").1 = tensor(&[3, 32]);
    refused_tensors(narrow, &["a layer [64, 32]", "checkpoint's is [64, 64]", "another model's"]);
    // The factors of a square layer exchanged fit each other, at another rank.
    let exchange = |t: &mut Vec<(String, Tensor)>| {
        let b = named(t, "q_proj.lora_B").1.clone();
        let a = std::mem::replace(&mut named(t, "q_proj.lora_A").1, b);
        named(t, "q_proj.lora_B").1 = a;
    };
    refused_tensors(exchange, &["rank 64", "but 3"]);
    let rename = |to: &'static str| {
        move |t: &mut Vec<(String, Tensor)>| {
            for (name, _) in t.iter_mut().filter(|(name, _)| name.starts_with(Q)) {
                *name = name.replace(Q, to);
            }
        }
    };
    let words =
        ["changes no tensor of the checkpoint", "layers.21.attention.q_proj", "the nearest is", "another model's"];
    refused_tensors(rename("base_model.model.encoder.layers.21.attention.q_proj"), &words);
    refused_tensors(
        rename("base_model.model.genre_head"),
        &["if it is of a head", "--drop base_model.model.genre_head"],
    );
    let convolution = "base_model.model.feature_extractor.conv_layers.1.conv";
    refused_tensors(rename(convolution), &["not a linear layer"]);
    let twice = "base_model.model.teacher.encoder.layers.0.attention.q_proj";
    let rank_3 = |t: &mut Vec<(String, Tensor)>| {
        for (part, tensor) in [("lora_A", tensor(&[3, 64])), ("lora_B", tensor(&[64, 3]))] {
            t.push((format!("{twice}.{part}.weight"), tensor));
        }
    };
    refused_tensors(rank_3, &["both change `encoder.layers.0.attention.q_proj.weight`"]);
    for name in ["encoder.layers.0.attention.q_proj.lora_embedding_A", "lora_unet.lora_down.weight"] {
        refused_tensors(|t| t.push((name.into(), tensor(&[2, 2]))), &[name, "not of LoRA or DoRA"]);
    }
    let other = format!("{Q}.lora_A.default.weight");
    refused_tensors(|t| t.push((other.clone(), tensor(&[2, 64]))), &[&other, "as the checkpoint itself"]);
    refused_tensors(|t| named(t, "q_proj.lora_A").1.values[70] = f32::NAN, &["lora_A", "NaN", "[1, 6]"]);
    refused_tensors(|t| t.retain(|_| false), &["none of its tensors is one of LoRA"]);
}

#[test]
fn tensors_of_heads_can_be_dropped() {
    let scratch = Scratch::new();
    let folder = changed(&scratch, |tensors| {
        let head = Tensor { shape: vec![2, 64], values: vec![0.5; 128] };
        tensors.push(("base_model.model.genre_head.weight".into(), head));
    });
    let options = ["--adapter", folder.as_str()];
    scratch.refused(&base(), &options, &["genre_head", "--drop"]);
    let drop = ["--drop", "base_model.model.genre_head.weight"];
    let message = scratch.convert(&base(), &[&options[..], &drop].concat());
    assert!(message.contains("genre_head.weight: left out with --drop"), "{message}");
    std::fs::remove_file(scratch.path("out.safetensors")).unwrap();
    let inside = ["--drop", "base_model.model.encoder.layers.1*"];
    scratch.refused(&base(), &[&options[..], &inside].concat(), &["matches no tensor"]);
}

#[test]
fn quantized_weights() {
    let scratch = Scratch::new();
    let model = TinyModel::new(&scratch);
    let folder = tiny::adapter("lora");
    let options = ["--adapter", folder.to_str().unwrap()];
    for name in ["q_proj.scales", "q_proj.qweight", "q_proj.SCB", "q_proj.weight.absmax"] {
        let name = format!("encoder.layers.0.attention.{name}");
        model.write(|tensors| tensors.push((name.clone(), Tensor { shape: vec![1], values: vec![1.0] })));
        scratch.refused(&model.path, &options, &[&name, "onto which an adapter is not merged", "quantize the result"]);
    }
    let quantized = scratch.path("quantized.safetensors");
    let run = crate::scratch::mert_convert(&base(), &quantized, &["--quantize"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    scratch.refused(&quantized, &options, &["already converted"]);
}

/// An adapter outside the model's names or dictionary: --drop and --prefix were the advice for its tensors.
#[test]
fn an_adapter_is_not_lost_by_following_advice() {
    let scratch = Scratch::new();
    let model = TinyModel::new(&scratch);
    let parts = || {
        let tensor = |shape: [usize; 2]| Tensor { shape: shape.to_vec(), values: vec![0.01; shape.iter().product()] };
        let module = "base_model.model.hubert.encoder.layers.0.attention.q_proj";
        [(format!("{module}.lora_A.weight"), tensor([2, 64])), (format!("{module}.lora_B.weight"), tensor([64, 2]))]
    };
    model.write(|tensors| {
        tensors.iter_mut().for_each(|(name, _)| name.insert_str(0, "hubert."));
        tensors.extend(parts());
    });
    for options in [&[][..], &["--prefix", "hubert."], &["--drop", "base_model*"]] {
        let words = if options.contains(&"--drop") { "matches no tensor" } else { "--lora-alpha" };
        let alpha = if options.contains(&"--drop") { &["--lora-alpha", "4"][..] } else { &[] };
        scratch.refused(&model.path, &[options, alpha].concat(), &[words]);
    }
    let merged = tiny::tensors(&scratch, &model.path, &["--dtype", "f32", "--lora-alpha", "4"]);
    let plain = tiny::tensors(&scratch, &base(), &["--dtype", "f32"]);
    let changed: Vec<&String> = merged.keys().filter(|name| merged[*name] != plain[*name]).collect();
    assert_eq!(changed, ["encoder.layers.0.attention.q_proj.weight"]);
    std::fs::remove_file(scratch.path("out.safetensors")).unwrap();
    // A name of another tool, which is not known.
    model.write(|tensors| tensors.push(("extra.lora.0.up".into(), Tensor { shape: vec![2, 2], values: vec![0.1; 4] })));
    for options in [&[][..], &["--drop", "extra*"]] {
        scratch.refused(&model.path, options, &["extra"]);
    }
}

/// transformers applies an adapter that it finds beside a model.
#[test]
fn an_adapter_in_the_model_s_folder() {
    let scratch = Scratch::new();
    let model = TinyModel::new(&scratch);
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(tiny::adapter("lora").join(file), scratch.path(file)).unwrap();
    }
    let words = ["an adapter (LoRA) in its folder (`adapter_", "--adapter", "--no-adapter", "merge_and_unload"];
    scratch.refused(&model.path, &[], &words);
    let plain = tiny::tensors(&scratch, &model.path, &["--no-adapter"]);
    let folder = model.path.parent().unwrap().to_str().unwrap();
    assert!(tiny::tensors(&scratch, &model.path, &["--adapter", folder]) != plain);
}

#[test]
fn an_adapter_alone_and_options_without_one() {
    let scratch = Scratch::new();
    let file = tiny::adapter("lora").join("adapter_model.safetensors");
    scratch.refused(&file, &[], &["an adapter (LoRA) without the model", "--adapter", "lora_A"]);
    scratch.refused(&tiny::adapter("lora"), &[], &["an adapter of PEFT", "--adapter"]);
    for (options, words) in [
        (&["--lora-alpha", "4"][..], "--lora-alpha: the checkpoint holds no adapter"),
        (&["--adapter-name", "a"], "--adapter-name: the checkpoint holds no adapter"),
        (&["--no-adapter"], "--no-adapter: there is no adapter"),
        (&["--adapter", "gone"], "gone"),
        (&["--adapter", "gone", "--no-adapter"], "cannot be used with"),
        (&["--min-delta-kept", "1.5"], "a number from 0 to 1"),
    ] {
        scratch.refused(&base(), options, &[words]);
    }
    let empty = scratch.path("empty");
    std::fs::create_dir(&empty).unwrap();
    scratch.refused(&base(), &["--adapter", empty.to_str().unwrap()], &["adapter_model.safetensors"]);
    scratch.refused(&base(), &["--adapter", base().to_str().unwrap()], &["one of LoRA"]);
}
