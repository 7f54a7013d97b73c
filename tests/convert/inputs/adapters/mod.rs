//! Adapters that `mert-convert` merges: the same bits as PEFT's `merge_and_unload`, and what the result says of them.
//!
//! - this file: the comparison with PEFT and mlx-lm, the plan, and the part of a change that is kept.
//! - `embedded.rs`: adapters between the weights; `refusals.rs`: what is refused; `tiny.rs`: the tiny model and its adapters.

mod embedded;
mod refusals;
mod tiny;

use sha2::{Digest, Sha256};

use self::tiny::{PEFT, TinyModel, base, dtype_of, expected, f16_base, tensors};
use crate::scratch::Scratch;

/// The first digits of a SHA-256, as `make_adapters.py` writes them.
fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// PEFT merged the same adapters into the same weights, in f32 and in f16; the tensors without an adapter are unchanged.
#[test]
fn merged_weights_have_the_bits_of_peft_s() {
    let expected = expected();
    for dtype in ["f32", "f16"] {
        let scratch = Scratch::new();
        let base = if dtype == "f16" { f16_base(&scratch) } else { base() };
        let plain = tensors(&scratch, &base, &["--dtype", dtype]);
        for adapter in PEFT {
            let folder = tiny::adapter(adapter);
            let merged = tensors(&scratch, &base, &["--dtype", dtype, "--adapter", folder.to_str().unwrap()]);
            let changed = expected[adapter][dtype].as_object().unwrap();
            let is_head = |name: &str| name.starts_with("classifier.") || name.starts_with("projector.");
            assert!(changed.keys().any(|name| !is_head(name)));
            for (name, bytes) in &merged {
                match changed.get(name) {
                    Some(expected) => assert_eq!(digest(bytes), expected.as_str().unwrap(), "{adapter} {dtype} {name}"),
                    None => assert!(plain[name] == *bytes, "{adapter} {dtype}: {name} was changed"),
                }
            }
            let missing: Vec<_> = changed.keys().filter(|name| !merged.contains_key(*name) && !is_head(name)).collect();
            assert!(missing.is_empty(), "{missing:?}");
        }
    }
}

/// mlx-lm's fused weight times cos(0), cos(1), …, for its own adapters of LoRA and DoRA.
#[test]
fn merged_weights_are_those_of_mlx_lm() {
    let expected = expected();
    let scratch = Scratch::new();
    for adapter in ["mlx-lora", "mlx-dora"] {
        let folder = tiny::adapter(adapter);
        let merged = tensors(&scratch, &base(), &["--dtype", "f32", "--adapter", folder.to_str().unwrap()]);
        for (name, products) in expected[adapter].as_object().unwrap() {
            let weight: Vec<f64> =
                merged[name].as_chunks().0.iter().map(|&word| f64::from(f32::from_le_bytes(word))).collect();
            for (row, expected) in weight.chunks(64).zip(products.as_array().unwrap()) {
                let product: f64 = row.iter().enumerate().map(|(i, value)| value * (i as f64).cos()).sum();
                // MLX rounds the scaled factor and each product; the weights are below 2 and 64 are added.
                let expected = expected.as_f64().unwrap();
                assert!((product - expected).abs() < 2e-5, "{adapter} {name}: {product}, expected {expected}");
            }
        }
    }
}

/// PEFT ignores the option for linear layers, as the script checks.
#[test]
fn fan_in_fan_out_has_no_effect() {
    let scratch = Scratch::new();
    let model = TinyModel::new(&scratch);
    let merged =
        tensors(&scratch, &model.path, &["--dtype", "f32", "--adapter", tiny::adapter("lora").to_str().unwrap()]);
    let other = model.adapter(&scratch, "lora", |config| config["fan_in_fan_out"] = true.into());
    let output = scratch.path("fan.safetensors");
    let run =
        crate::scratch::mert_convert(&model.path, &output, &["--dtype", "f32", "--adapter", other.to_str().unwrap()]);
    assert!(run.code == 0 && run.stdout.contains("`fan_in_fan_out` is true, which PEFT ignores"), "{}", run.stderr);
    assert_eq!(tiny::read(&output), merged);
}

#[test]
fn the_plan_and_the_file_name_the_adapter() {
    let scratch = Scratch::new();
    let folder = tiny::adapter("rslora");
    let options = ["--adapter", folder.to_str().unwrap()];
    let plan = mert_testkit::runner::run("mert-convert", [&[base().to_str().unwrap()], &options[..]].concat());
    for words in [
        "2 linear layers, scale 3.5355339059327373, 6 tensors replaced",
        "k_proj.weight + adapter_model.bin:base_model.model.hubert.encoder.layers.2.attention.k_proj.lora_A.weight",
        "LoRA merged (rank 2, scale 3.5355339059327373)",
        "bias of LoRA added (scale 3.5355339059327373)",
        "adapter_model.bin:base_model.model.classifier.weight",
        "dropped: ",
    ] {
        assert!(plan.stdout.contains(words), "{words}: {}", plan.stdout);
    }
    let message = scratch.convert(&base(), &options);
    assert!(message.contains("delta kept   at least "), "{message}");
    let metadata = tiny::metadata(&scratch.path("out.safetensors"));
    let file = std::fs::read(folder.join("adapter_model.bin")).unwrap();
    let sha256: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(metadata["adapter"], "PEFT adapter_model.bin");
    assert_eq!(metadata["adapter_sha256"], sha256);
}

/// The kept part of each change, from a file's own values in f64.
#[test]
fn the_kept_part_is_the_projection_of_what_is_stored() {
    let scratch = Scratch::new();
    let model = TinyModel::new(&scratch);
    // A change of a few roundings of the weights: a part of it is lost.
    let folder = model.adapter_without_config(&scratch, "dora");
    let base_of = |dtype| tensors(&scratch, &base(), &["--dtype", dtype]);
    for (dtype, alpha) in [("f32", "1e-4"), ("bf16", "0.004"), ("f16", "0.004")] {
        let options =
            ["--dtype", dtype, "--adapter", folder.to_str().unwrap(), "--lora-alpha", alpha, "--json", "--force"];
        let report: serde_json::Value = serde_json::from_str(&scratch.convert(&model.path, &options)).unwrap();
        let stored = tiny::read(&scratch.path("out.safetensors"));
        let exact = tensors(&scratch, &model.path, &[&["--dtype", "f32"], &options[2..6]].concat());
        let kept = &report["output"]["written"]["delta_kept"];
        for layer in kept["layers"].as_array().unwrap() {
            let name = layer["name"].as_str().unwrap();
            let before = dtype_of("f32").values(&base_of("f32")[name]);
            let (after, stored) = (dtype_of("f32").values(&exact[name]), dtype_of(dtype).values(&stored[name]));
            let delta = after.iter().zip(&before).map(|(after, before)| after - before);
            let along: f64 = delta.clone().zip(stored.iter().zip(&before)).map(|(d, (s, b))| d * (s - b)).sum();
            let expected = along / delta.map(|d| d * d).sum::<f64>();
            assert!((layer["kept"].as_f64().unwrap() - expected).abs() < 1e-9, "{dtype} {name}: {expected}");
        }
        let minimum = kept["minimum"].as_f64().unwrap();
        assert!(dtype != "f32" || minimum == 1.0, "{minimum}");
    }
}

/// An f16 checkpoint lies on the grid of f16: a change below half a step of it is lost whole.
#[test]
fn a_lost_change_is_below_the_floor() {
    let scratch = Scratch::new();
    let model = TinyModel::new(&scratch);
    let folder = model.adapter_without_config(&scratch, "lora");
    let options = ["--adapter", folder.to_str().unwrap(), "--lora-alpha", "1e-6"];
    let floor = ["--min-delta-kept", "0.9"];
    let base_f16 = f16_base(&scratch);
    scratch.refused(&base_f16, &[&options[..], &floor].concat(), &["3 of 3 changed layers keep less than", "0.000"]);
    let message = scratch.convert(&base_f16, &options);
    assert!(message.contains("at least 0.000, median 0.000"), "{message}");
    // From f32, the rounding to f16 does not favour the old value.
    let options = ["--adapter", folder.to_str().unwrap(), "--lora-alpha", "3", "--force"];
    scratch.convert(&base(), &[&options[..], &floor].concat());
    scratch.convert(&base(), &[&options[..], &floor, &["--quantize", "--q-group-size", "32"]].concat());
    std::fs::remove_file(scratch.path("out.safetensors")).unwrap();
    scratch.refused(&base(), &floor, &["--min-delta-kept is about an adapter"]);
}

/// Merging comes before quantization: the codes are those of the merged model's weights.
#[test]
fn quantized_after_the_merge() {
    let scratch = Scratch::new();
    let adapter = tiny::adapter("dora");
    let adapter = ["--adapter", adapter.to_str().unwrap()];
    let quantize = ["--quantize", "--q-bits", "4", "--q-group-size", "32"];
    let at_once = tensors(&scratch, &base(), &[&quantize[..], &adapter].concat());
    let merged = scratch.path("merged");
    let run = crate::scratch::mert_convert(
        &base(),
        &merged,
        &[&["--for", "hf", "--do-normalize", "true"], &adapter[..]].concat(),
    );
    assert_eq!(run.code, 0, "{}", run.stderr);
    let in_turn = tensors(&scratch, &merged, &quantize);
    let plain = tensors(&scratch, &base(), &quantize);
    let name = "encoder.layers.0.feed_forward.output_dense.weight";
    assert!(plain[name] != at_once[name]);
    assert!(at_once == in_turn);
}
