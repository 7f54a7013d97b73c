//! Quantized files and MLX folders that `mert-convert --quantize` writes: names, shapes, values, what is left unquantized and
//! why, and what is refused. The codes themselves are compared with MLX's in `crates/convert/src/transform/quantize/`, and
//! MLX loads the folders in `scripts/check/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use half::f16;
use mert_arch::{Encoding, Metadata, Role, StoredTensor};
use mert_testkit::{fixture, sharp_checkpoint, write_torch_zip};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

use crate::scratch::{Scratch, listing, mert_convert};

/// The tensors of a file: type, shape and bytes.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn read(path: &Path) -> (Metadata, Tensors) {
    let bytes = fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let entries = header.metadata().clone().unwrap();
    let metadata = Metadata::from_lookup(|key| entries.get(key).map(String::as_str)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter();
    let tensors = tensors.map(|(name, view)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec())));
    (metadata, tensors.collect())
}

fn halves(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<2>().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect()
}

#[track_caller]
fn convert(input: &Path, output: &Path, options: &[&str]) -> String {
    let run = mert_convert(input, output, options);
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.stdout
}

/// Converts, requires a refusal whose message has all of `words`, and no new file.
#[track_caller]
fn refused(scratch: &Scratch, output: &str, options: &[&str], words: &[&str]) {
    let before = scratch.listing();
    let run = mert_convert(&fixture("mert-tiny/pytorch_model.bin"), &scratch.path(output), options);
    assert_eq!(run.code, 2, "{}", run.stdout);
    for word in words {
        assert!(run.stderr.contains(word), "`{word}` is not in: {}", run.stderr);
    }
    assert_eq!(scratch.listing(), before, "something was left behind");
}

/// The value of each code, by the definition: codes are a little-endian stream of bits, value = scale · code + bias.
fn decode(bits: usize, group_size: usize, words: &[u8], scales: &[f32], biases: &[f32]) -> Vec<f64> {
    let code = |i: usize| {
        let bit = |at: usize| u32::from(words[at / 8] >> (at % 8) & 1);
        (0..bits).map(|b| bit(i * bits + b) << b).sum::<u32>()
    };
    let value = |i: usize| {
        let group = i / group_size;
        f64::from(scales[group]) * f64::from(code(i)) + f64::from(biases[group])
    };
    (0..words.len() * 8 / bits).map(value).collect()
}

#[test]
fn every_value_is_within_half_a_step_and_the_rest_is_as_in_a_float_file() {
    let scratch = Scratch::new();
    let input = fixture("mert-tiny/pytorch_model.bin");
    let float = scratch.path("float.safetensors");
    convert(&input, &float, &[]);
    let (_, float) = read(&float);
    for (bits, group) in [(2, 32), (3, 64), (4, 32), (5, 64), (6, 32), (8, 64)] {
        let output = scratch.path("out.safetensors");
        let (bits_text, group_text) = (bits.to_string(), group.to_string());
        let options = ["--quantize", "--q-bits", &bits_text, "--q-group-size", &group_text, "--force"];
        convert(&input, &output, &options);
        let (metadata, tensors) = read(&output);
        let mut stored: Vec<StoredTensor> = Vec::new();
        for spec in metadata.inventory() {
            let encoding = metadata.encoding(&spec);
            let shape = metadata.layout.shape_from_torch(spec.role, &spec.shape);
            stored.extend(encoding.stored_tensors(&spec.name, &shape));
            let Encoding::Quantized { quantization, .. } = encoding else {
                assert!(tensors[&spec.name] == float[&spec.name], "{}", spec.name);
                continue;
            };
            assert_eq!((quantization.bits, quantization.group_size), (bits, group));
            let module = spec.name.strip_suffix(".weight").unwrap();
            let part = |part: &str| halves(&tensors[&format!("{module}.{part}")].2);
            let (scales, biases) = (part("scales"), part("biases"));
            let decoded = decode(bits, group, &tensors[&spec.name].2, &scales, &biases);
            let original = halves(&float[&spec.name].2);
            for (i, (decoded, original)) in decoded.iter().zip(&original).enumerate() {
                let (scale, bias) = (f64::from(scales[i / group]), f64::from(biases[i / group]));
                // Half a step, and what the rounding of scale and bias to f16 moves a value of the last code. A scale is such
                // that zero has a code, for which the values at one end of a group are given up.
                let last = scale * f64::from((1u32 << bits) - 1);
                let is_end =
                    (decoded - bias).abs() < scale.abs() / 2.0 || (decoded - bias - last).abs() < scale.abs() / 2.0;
                let steps = if is_end { 1.0 } else { 0.5 };
                let bound = scale.abs() * (steps + 2f64.powi(bits as i32) / 2048.0) + bias.abs() / 2048.0;
                assert!((decoded - f64::from(*original)).abs() <= bound, "{} {i}: {decoded} {original}", spec.name);
            }
            // A step that is twice too wide would pass the bound: the codes must use their range.
            let errors = decoded.iter().zip(&original).map(|(a, b)| (a - f64::from(*b)).powi(2)).sum::<f64>();
            let steps = scales.iter().map(|scale| f64::from(*scale).powi(2) * group as f64 / 12.0).sum::<f64>();
            assert!(errors < if bits == 2 { 2.5 } else { 1.4 } * steps, "{}: {errors} {steps}", spec.name);
        }
        assert_eq!(stored.len(), tensors.len());
        for tensor in stored {
            let (dtype, shape, _) = &tensors[&tensor.name];
            assert_eq!((dtype.to_string().as_str(), shape), (tensor.dtype.name(), &tensor.shape), "{}", tensor.name);
        }
    }
}

#[test]
fn the_bytes_do_not_depend_on_the_threads() {
    let scratch = Scratch::new();
    let input = fixture("mert-tiny/pytorch_model.bin");
    let bytes = ["1", "2", "5"].map(|threads| {
        let output = scratch.path("out.safetensors");
        convert(&input, &output, &["--quantize", "--q-bits", "3", "--threads", threads, "--force"]);
        fs::read(output).unwrap()
    });
    assert!(bytes[0] == bytes[1] && bytes[0] == bytes[2]);
}

#[test]
fn the_plan_tells_each_encoding_and_why_a_layer_is_left_out() {
    let input = fixture("mert-tiny/pytorch_model.bin");
    let plan = |options: &[&str]| {
        let scratch = Scratch::new();
        let options = [&["--quantize", "--dry-run"], options].concat();
        let text = convert(&input, &scratch.path("out.safetensors"), &options);
        let json = convert(&input, &scratch.path("out.safetensors"), &[&options[..], &["--json"]].concat());
        assert_eq!(scratch.listing(), [""; 0]);
        (text, serde_json::from_str::<Value>(&json).unwrap()["plan"].clone())
    };
    let (text, json) = plan(&["--q-bits", "8", "--q-group-size", "128", "--q-skip", "*.layers.3.*"]);
    for words in [
        "quantized 8-bit g128",
        "not quantized: its last axis, 64, is not a multiple of the group size 128",
        "not quantized: a convolution",
        "not quantized: a norm",
        "not quantized: --q-skip *.layers.3.*",
        "f16 with 11 linear layers in 8-bit g128",
    ] {
        assert!(text.contains(words), "`{words}` is not in: {text}");
    }
    let quantization = &json["quantization"];
    assert_eq!((&quantization["bits"], &quantization["group_size"]), (&json!(8), &json!(128)));
    assert_eq!(quantization["encoder.layers.3.feed_forward.output_dense"], json!(false));
    assert_eq!(quantization["encoder.layers.2.feed_forward.output_dense"], Value::Null);
    assert_eq!(quantization["encoder.layers.2.attention.q_proj"], json!(false));

    let (text, json) = plan(&["--q-mode", "mxfp4", "--q-only", "*.q_proj", "--dtype", "bf16"]);
    assert!(text.contains("bf16 with 12 linear layers in mxfp4 g32"), "{text}");
    assert!(text.contains("not quantized: no --q-only pattern matches it"), "{text}");
    let linear = json["steps"].as_array().unwrap().iter().filter(|step| step["role"] == "linear");
    assert_eq!(linear.filter(|step| step["left_unquantized"] == Value::Null).count(), 12);

    // Where no layer can be quantized, the file is an ordinary one, and the plan has said so.
    let (text, json) = plan(&["--q-group-size", "128", "--q-only", "*.q_proj"]);
    assert!(json["quantization"].is_null() && !text.contains("linear layers in"), "{text}");
}

#[test]
fn a_folder_has_what_mlx_reads() {
    let scratch = Scratch::new();
    let input = fixture("mert-tiny/pytorch_model.bin");
    let folder = scratch.path("model");
    let options = ["--quantize", "--q-group-size", "32", "--q-skip", "*.k_proj"];
    let audio = ["--do-normalize", "true"];
    convert(&input, &folder, &[&options[..], &audio].concat());
    let files =
        ["README.md", "config.json", "model.safetensors", "model.safetensors.index.json", "preprocessor_config.json"];
    assert_eq!(listing(&folder), files);
    let json = |name: &str| serde_json::from_slice::<Value>(&fs::read(folder.join(name)).unwrap()).unwrap();
    let (config, preprocessor) = (json("config.json"), json("preprocessor_config.json"));
    let (metadata, tensors) = read(&folder.join("model.safetensors"));
    assert_eq!(config["quantization"], config["quantization_config"]);
    assert_eq!(metadata.quantization.as_ref().unwrap().to_value(), config["quantization"]);
    assert_eq!(config["quantization"]["encoder.layers.0.attention.k_proj"], json!(false));
    assert_eq!(mert_arch::Config::from_json(&config.to_string()).unwrap(), metadata.config);
    assert_eq!((&preprocessor["sampling_rate"], &preprocessor["do_normalize"]), (&json!(24_000), &json!(true)));
    let quantized = tensors.keys().filter(|name| name.ends_with(".scales")).count();
    let linear = metadata.inventory().iter().filter(|spec| spec.role == Role::Linear).count();
    assert_eq!(quantized, linear - metadata.config.num_hidden_layers);
    let card = fs::read_to_string(folder.join("README.md")).unwrap();
    for words in [&metadata.source_sha256, "| 4-bit g32, scales in f16 |", "24000 Hz", "licence | unknown"] {
        assert!(card.contains(words), "`{words}` is not in: {card}");
    }

    // It is replaced as a whole with --force, and only what is a model folder.
    let before = fs::read(folder.join("model.safetensors")).unwrap();
    let run = mert_convert(&input, &folder, &audio);
    assert!(run.code == 2 && run.stderr.contains("--force"), "{}", run.stderr);
    assert!(fs::read(folder.join("model.safetensors")).unwrap() == before);
    convert(&input, &folder, &[&audio[..], &["--force"]].concat());
    assert_eq!(json("config.json")["quantization"], Value::Null);
    // Weights of another program are not replaced: they may be the only ones.
    let other = scratch.path("other");
    fs::create_dir(&other).unwrap();
    fs::copy(fixture("families/hubert/model.safetensors"), other.join("model.safetensors")).unwrap();
    let run = mert_convert(&input, &other, &[&audio[..], &["--force"]].concat());
    assert_eq!((run.code, listing(&other)), (2, vec!["model.safetensors".to_string()]), "{}", run.stdout);
    fs::write(folder.join("notes.txt"), "mine").unwrap();
    let run = mert_convert(&input, &folder, &[&audio[..], &["--force"]].concat());
    assert_eq!(run.code, 2, "{}", run.stdout);
    assert!(folder.join("notes.txt").exists());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let scratch = Scratch::new();
    let file = "out.safetensors";
    refused(&scratch, file, &["--quantize", "--q-bits", "7"], &["no 7 bits", "2, 3, 4, 5, 6 or 8"]);
    refused(&scratch, file, &["--quantize", "--q-mode", "mxfp4", "--q-bits", "8"], &["mxfp4 has no 8 bits"]);
    refused(&scratch, file, &["--q-bits", "4"], &["--quantize"]);
    refused(&scratch, file, &["--quantize", "--q-skip", "*.query"], &["--q-skip *.query", "no linear layer"]);
    refused(&scratch, file, &["--quantize", "--q-only", "encoder.layer_norm"], &["--q-only", "no linear layer"]);
    refused(&scratch, "hf", &["--quantize", "--for", "hf"], &["--for hf", "`--quantize`", "leave it out"]);
    refused(&scratch, "model", &["--quantize"], &["a model folder", "`do_normalize`", "--do-normalize true|false"]);
    refused(&scratch, "model", &["--layout", "candle"], &["--layout candle", "a folder is for MLX"]);
    refused(&scratch, "model.bin", &["--quantize"], &["unknown output format", ".safetensors"]);
}

#[test]
fn values_that_have_no_code_are_refused_by_name() {
    let scratch = Scratch::new();
    let config = mert_arch::Config::from_json(&fs::read_to_string(fixture("mert-tiny/config.json")).unwrap()).unwrap();
    fs::copy(fixture("mert-tiny/config.json"), scratch.path("config.json")).unwrap();
    let name = "encoder.layers.1.attention.q_proj.weight";
    for (value, words) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf"), (1e6, "overflows f16")] {
        let mut tensors = sharp_checkpoint(&config, 1);
        let tensor = tensors.iter_mut().find(|tensor| tensor.0 == name).unwrap();
        tensor.1.values[70] = value;
        let input = scratch.path("pytorch_model.bin");
        write_torch_zip(&input, &tensors).unwrap();
        scratch.refused(&input, &["--quantize", "--q-group-size", "32"], &[name, "[1, 6]", words]);
    }
}

/// The bits are chosen, the table is printed and in the card, and the folder is what was measured before it was written.
#[test]
fn a_folder_within_a_budget() {
    let scratch = Scratch::new();
    let (input, output) = (fixture("mert-tiny/pytorch_model.bin"), scratch.path("model"));
    let chosen = ["--q-only", "*.layers.11.*", "--q-group-size", "32", "--do-normalize", "true"];
    let budget = [&chosen[..], &["--budget", "pooled>=0.9995,frame>=0.998,nmse<=1e-3"]].concat();
    let text = convert(&input, &output, &budget);
    for words in ["encoder.layers.11.attention.q_proj", "held out", "on held-out clips", "tightest"] {
        assert!(text.contains(words), "{words} is not in {text}");
    }
    let card = fs::read_to_string(output.join("README.md")).unwrap();
    assert!(card.contains("## Bits of each layer") && card.contains("on 6 held-out clips of 5 s"), "{card}");

    // By size, the file that the budget needed suffices for an error within the budget.
    let bytes = fs::metadata(output.join("model.safetensors")).unwrap().len();
    let size = bytes.to_string();
    let file = scratch.path("model.safetensors");
    let report: Value =
        serde_json::from_str(&convert(&input, &file, &[&chosen[..], &["--size", &size, "--json"]].concat())).unwrap();
    let report = &report["budget"];
    let written = fs::metadata(&file).unwrap().len();
    assert_eq!(report["bytes"], json!(written));
    assert!(written <= bytes, "{written} {bytes}");
    assert_eq!(report["layers"].as_array().unwrap().len(), 6);
    assert!(report["held_out"]["worst"]["nmse"].as_f64().unwrap() <= 1.5e-3, "{report}");
}

#[test]
fn budgets_that_cannot_be_meant_or_held_are_refused() {
    let scratch = Scratch::new();
    let file = "out.safetensors";
    let budget = ["--q-only", "*.layers.11.attention.q_proj", "--budget"];
    let refuse = |options: &[&str], words: &[&str]| refused(&scratch, file, options, words);
    refuse(&["--budget", "pooled<=0.9"], &["expected pooled>=NUMBER"]);
    refuse(&["--budget", "nmse<=1e-3", "--q-bits", "4"], &["--budget", "--q-bits"]);
    refuse(&["--budget", "nmse<=1e-3", "--size", "60MB"], &["cannot be used with"]);
    refuse(&["--size", "60TB"], &["60MB, 60MiB"]);
    refuse(&["--calibration", "."], &["--budget", "--size"]);
    refuse(&[&budget[..], &["nmse<=1e-9"]].concat(), &["cannot be held", "every layer in f16", "NMSE"]);
    refuse(&["--size", "1000"], &["cannot be as small as", "bytes"]);
    let empty = scratch.path("empty");
    fs::create_dir(&empty).unwrap();
    refuse(&["--size", "60MB", "--calibration", empty.to_str().unwrap()], &["has 0 clips", "at least 2"]);
    let for_mac = ["--budget", "nmse<=1e-3"];
    refused(&scratch, "out.mlpackage", &for_mac, &["safetensors files and folders"]);
    refused(&scratch, "out.gguf", &for_mac, &["safetensors files and folders"]);
}
