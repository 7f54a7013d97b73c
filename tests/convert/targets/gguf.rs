//! GGUF files in candle's own reader: names, types, metadata, and every value against the checkpoint's, MLX's codes and
//! candle's quantization; and in the gate, with defects that it must find.

mod documented;
mod gguf_file;

use std::fs;
use std::path::PathBuf;

use candle_core::quantized::gguf_file::Value;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use gguf_file::GgufFile;
use half::f16;
use mert_arch::{Config, Role, inventory};
use mert_testkit::{ConvertedModel, FamilyFixture, fixture, runner};
use safetensors::SafeTensors;
use serde_json::Value as Json;

use super::convert;
use crate::scratch::{Scratch, mert_convert};

/// The tiny MERT: widths of 64 and 128, and a projection of 32 values, which is no whole group of 64.
fn tiny() -> PathBuf {
    fixture("mert-tiny/pytorch_model.bin")
}

#[test]
fn floats_of_every_family_are_those_of_a_safetensors_file() {
    let scratch = Scratch::new();
    for family in FamilyFixture::all() {
        let checkpoint = family.checkpoint(&scratch.path("")).unwrap();
        for (dtype, expected) in [("f32", GgmlDType::F32), ("f16", GgmlDType::F16), ("bf16", GgmlDType::BF16)] {
            let (gguf, safetensors) = (scratch.path("a.gguf"), scratch.path("a.safetensors"));
            let options = ["--dtype", dtype, "--force", "--quiet"];
            convert(&checkpoint, &gguf, &options);
            convert(&checkpoint, &safetensors, &[&options[..], &["--layout", "candle"]].concat());
            let (file, model) = (GgufFile::open(&gguf), ConvertedModel::read(&safetensors).unwrap());
            assert_eq!(file.content.tensor_infos.len(), model.tensors.len());
            for (name, tensor) in &model.tensors {
                let found = file.tensor(name);
                assert_eq!((found.dtype(), found.shape().dims()), (expected, &tensor.shape[..]), "{name}");
                let values: Vec<u32> = gguf_file::values(&found).iter().map(|value| value.to_bits()).collect();
                assert!(values.iter().copied().eq(tensor.values.iter().map(|value| value.to_bits())), "{name}");
            }
        }
    }
}

#[test]
fn the_metadata_has_the_formats_keys_and_ours() {
    let scratch = Scratch::new();
    let output = scratch.path("a.gguf");
    convert(&tiny(), &output, &[]);
    let file = GgufFile::open(&output);
    let text = |key: &str| file.content.metadata[key].to_string().unwrap().clone();
    let number = |key: &str| match file.content.metadata[key] {
        Value::U32(number) => number,
        ref other => panic!("{key}: {other:?}"),
    };
    assert_eq!((text("general.architecture"), text("general.type")), ("mert".into(), "model".into()));
    assert_eq!((number("general.file_type"), number("general.alignment")), (1, 32));
    assert!(!file.content.metadata.contains_key("general.quantization_version"));
    assert_eq!((number("mert.block_count"), number("mert.embedding_length")), (12, 64));
    assert_eq!((number("mert.feed_forward_length"), number("mert.attention.head_count")), (128, 4));
    assert_eq!(file.content.metadata["mert.attention.layer_norm_epsilon"].to_f32().unwrap(), 1e-5);
    let config = Config::from_json(&text("mert_convert.config")).unwrap();
    let given = fs::read_to_string(fixture("mert-tiny/config.json")).unwrap();
    assert_eq!(config, Config::from_json(&given).unwrap());
    for (key, value) in [("sampling_rate", "24000"), ("do_normalize", "true"), ("layout", "candle"), ("dtype", "f16")] {
        assert_eq!(text(&format!("mert_convert.{key}")), value);
    }
    let digest = mert_fs::sha256_output(&tiny()).unwrap();
    assert_eq!(text("mert_convert.source_sha256"), digest);
    assert!(text("mert_convert.generator").starts_with("mert-convert "));
}

/// The published MERT is recognised by its digest, which adds two entries for its licence after the place of the data is
/// fixed.
#[test]
fn a_licence_that_is_found_last_has_its_place() {
    let scratch = Scratch::new();
    let (plain, licensed) = (scratch.path("a.gguf"), scratch.path("b.gguf"));
    let digest = "a2b8b747f72c06e0595aeae41ae5473f4364938c6b39b2c58be38c48e6bd3fcd";
    convert(&tiny(), &plain, &[]);
    convert(&tiny(), &licensed, &["--source-sha256", digest]);
    let (plain, licensed) = (GgufFile::open(&plain), GgufFile::open(&licensed));
    assert_eq!(licensed.content.metadata["general.license"].to_string().unwrap(), "CC-BY-NC-4.0");
    assert_eq!(licensed.content.metadata["mert_convert.license"].to_string().unwrap(), "CC-BY-NC-4.0");
    assert!(!plain.content.metadata.contains_key("general.license"));
    // Of the licences that might be found the longest one has room.
    assert!(plain.content.metadata["mert_convert.config"].to_string().unwrap().ends_with("  "));
    for name in plain.content.tensor_infos.keys() {
        assert_eq!(gguf_file::values(&plain.tensor(name)), gguf_file::values(&licensed.tensor(name)));
    }
}

/// The values of MLX's codes in a quantized safetensors file: scale · q + bias in f32.
fn decoded_by_mlx(file: &SafeTensors<'_>, module: &str, group_size: usize) -> Vec<f32> {
    let bytes = |part: &str| file.tensor(&format!("{module}.{part}")).unwrap().data().to_vec();
    let halves = |part: &str| -> Vec<f32> {
        bytes(part).chunks(2).map(|half| f16::from_le_bytes([half[0], half[1]]).to_f32()).collect()
    };
    let (scales, biases) = (halves("scales"), halves("biases"));
    let codes = bytes("weight").into_iter().flat_map(|byte| [byte & 15, byte >> 4]);
    codes.enumerate().map(|(i, code)| scales[i / group_size] * f32::from(code) + biases[i / group_size]).collect()
}

#[test]
fn q4_1_has_the_values_of_mlx() {
    let scratch = Scratch::new();
    for (group_size, quantized) in [(32, 73), (64, 72)] {
        let (gguf, safetensors) = (scratch.path("a.gguf"), scratch.path("a.safetensors"));
        let group = group_size.to_string();
        let options = ["--quantize", "--q-bits", "4", "--q-group-size", &group, "--force"];
        let text = convert(&tiny(), &gguf, &options);
        assert!(text.contains(&format!("{quantized} linear layers in Q4_1")), "{text}");
        convert(&tiny(), &safetensors, &[&options[..], &["--layout", "candle"]].concat());
        let bytes = fs::read(&safetensors).unwrap();
        let (file, codes) = (GgufFile::open(&gguf), SafeTensors::deserialize(&bytes).unwrap());
        let mut count = 0;
        for spec in inventory(&file.config()) {
            let tensor = file.tensor(&spec.name);
            let module = spec.name.trim_end_matches(".weight");
            if codes.tensor(&format!("{module}.scales")).is_err() {
                assert_eq!(tensor.dtype(), GgmlDType::F16, "{module}");
                continue;
            }
            assert_eq!((tensor.dtype(), spec.role), (GgmlDType::Q4_1, Role::Linear), "{module}");
            assert_eq!(gguf_file::values(&tensor), decoded_by_mlx(&codes, module, group_size), "{module}");
            count += 1;
        }
        assert_eq!(count, quantized);
        assert_eq!(file.content.metadata["general.file_type"].to_u32().unwrap(), 3);
        assert_eq!(file.content.metadata["general.quantization_version"].to_u32().unwrap(), 2);
        let described: Json =
            serde_json::from_str(file.content.metadata["mert_convert.quantization"].to_string().unwrap()).unwrap();
        assert_eq!((&described["bits"], &described["group_size"]), (&4.into(), &group_size.into()));
    }
}

#[test]
fn q8_0_is_candles_own_quantization_of_the_checkpoint() {
    let scratch = Scratch::new();
    let (gguf, floats) = (scratch.path("a.gguf"), scratch.path("a.safetensors"));
    let text = convert(&tiny(), &gguf, &["--quantize", "--q-bits", "8"]);
    assert!(text.contains("73 linear layers in Q8_0") && text.contains("ggml's own rule"), "{text}");
    convert(&tiny(), &floats, &["--dtype", "f32", "--layout", "candle"]);
    let (file, model) = (GgufFile::open(&gguf), ConvertedModel::read(&floats).unwrap());
    let mut count = 0;
    for spec in inventory(&file.config()) {
        let (tensor, values) = (file.tensor(&spec.name), &model.tensors[&spec.name].values);
        if spec.role != Role::Linear {
            assert_eq!(tensor.dtype(), GgmlDType::F16);
            continue;
        }
        let values = Tensor::from_slice(values, &spec.shape[..], &Device::Cpu).unwrap();
        let expected = QTensor::quantize(&values, GgmlDType::Q8_0).unwrap();
        assert_eq!(tensor.dtype(), GgmlDType::Q8_0);
        assert!(tensor.data().unwrap() == expected.data().unwrap(), "{}", spec.name);
        count += 1;
    }
    assert_eq!((count, file.content.metadata["general.file_type"].to_u32().unwrap()), (73, 7));
    assert!(!file.content.metadata.contains_key("mert_convert.quantization"));
}

#[test]
fn layers_are_left_as_floats_by_pattern() {
    let scratch = Scratch::new();
    for (bits, kind) in [("4", GgmlDType::Q4_1), ("8", GgmlDType::Q8_0)] {
        let output = scratch.path("a.gguf");
        convert(&tiny(), &output, &["--quantize", "--q-bits", bits, "--q-skip", "*.layers.0.*", "--force"]);
        let file = GgufFile::open(&output);
        let of = |layer: usize| file.tensor(&format!("encoder.layers.{layer}.attention.q_proj.weight")).dtype();
        assert_eq!((of(0), of(1)), (GgmlDType::F16, kind));
        let run = runner::run(
            "mert-verify",
            [output.to_str().unwrap(), "--reference", fixture("mert-tiny/reference.npz").to_str().unwrap()],
        );
        assert!(run.code < 2, "{}", run.stderr);
    }
}

#[test]
fn the_same_input_gives_the_same_file_on_any_number_of_threads() {
    let scratch = Scratch::new();
    for quantize in [&[][..], &["--quantize"], &["--quantize", "--q-bits", "8"]] {
        let write = |threads: &str| {
            let output = scratch.path("a.gguf");
            convert(&tiny(), &output, &[quantize, &["--threads", threads, "--force"]].concat());
            fs::read(output).unwrap()
        };
        let one = write("1");
        assert!(one == write("3"));
        assert_eq!(one.len() % 32, 0);
    }
}

#[test]
fn what_no_type_of_ggml_holds_is_refused_with_the_reason() {
    let scratch = Scratch::new();
    for (options, words) in [
        (&["--quantize", "--q-bits", "5"][..], &["no type of ggml holds 5-bit g64", "--q-bits 8 (Q8_0)"][..]),
        (&["--quantize", "--q-bits", "3", "--q-group-size", "32"], &["3-bit g32"]),
        (&["--quantize", "--q-group-size", "128"], &["4-bit g128", "--q-group-size 32 or 64 (Q4_1)"]),
        (&["--quantize", "--q-mode", "mxfp4"], &["mxfp4 g32"]),
        (&["--quantize", "--q-mode", "mxfp8"], &["mxfp8 g32"]),
        (&["--quantize", "--q-bits", "8", "--q-group-size", "64"], &["the blocks of Q8_0 are 32 values, not 64"]),
        (&["--quantize", "--dtype", "bf16"], &["the scales of Q4_1 are f16, not bf16"]),
        (&["--quantize", "--dtype", "f32"], &["the scales of Q4_1 are f16, not f32"]),
        (&["--layout", "mlx"], &["--layout mlx is for safetensors files", "leave it out"]),
        (&["--seconds", "5"], &["--seconds is for Core ML packages"]),
        (&["--for", "hf"], &["a folder"]),
    ] {
        let run = mert_convert(&tiny(), &scratch.path("a.gguf"), options);
        assert_eq!(run.code, 2, "{options:?}: {}", run.stdout);
        for word in words {
            assert!(run.stderr.contains(word), "{options:?}: `{word}` is not in: {}", run.stderr);
        }
    }
    assert!(scratch.listing().is_empty(), "something was left behind");
    let existing = scratch.write("a.gguf", b"mine");
    assert_eq!(mert_convert(&tiny(), &existing, &[]).code, 2);
    assert_eq!(fs::read(existing).unwrap(), b"mine");
}
