//! Models that `mert-convert --for` writes: every value against the checkpoint's, names, files, and what is refused. The
//! programs themselves run them in `scripts/check/clients.py`.

mod gguf;
mod shards;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mert_arch::naming::mlx_hubert_names;
use mert_arch::weight_norm::{FUSED, SPELLINGS};
use mert_testkit::{ConvertedModel, FamilyFixture, Tensor, fixture, runner};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

use crate::scratch::{Scratch, checkpoint, listing, mert_convert};

/// A safetensors file: the metadata, and the type, shape and bytes of each tensor.
struct File {
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
}

impl File {
    fn read(path: &Path) -> File {
        let bytes = fs::read(path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file.tensors().into_iter();
        File {
            metadata: header.metadata().clone().unwrap_or_default().into_iter().collect(),
            tensors: tensors
                .map(|(name, view)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec())))
                .collect(),
        }
    }

    fn values(&self, name: &str) -> Vec<f32> {
        let (dtype, _, bytes) = &self.tensors[name];
        assert_eq!(*dtype, Dtype::F32);
        bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
    }

    fn shape(&self, name: &str) -> &[usize] {
        &self.tensors[name].1
    }
}

/// The folder of a family's fixture.
fn family(name: &str) -> PathBuf {
    fixture(&format!("families/{name}"))
}

/// Converts and requires success.
#[track_caller]
fn convert(input: &Path, output: &Path, options: &[&str]) -> String {
    let run = mert_convert(input, output, options);
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.stdout
}

/// Converts, requires a refusal whose message has all of `words`, and no new file.
#[track_caller]
fn refused(scratch: &Scratch, input: &Path, output: &str, options: &[&str], words: &[&str]) {
    let before = scratch.listing();
    let run = mert_convert(input, &scratch.path(output), options);
    assert_eq!(run.code, 2, "{}", run.stdout);
    for word in words {
        assert!(run.stderr.contains(word), "`{word}` is not in: {}", run.stderr);
    }
    assert_eq!(scratch.listing(), before, "something was left behind");
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The values of a `(out, in, kernel)` tensor in the order `(out, kernel, in)`.
fn to_mlx(shape: &[usize], values: &[f32]) -> Vec<f32> {
    let (out, input, kernel) = (shape[0], shape[1], shape[2]);
    let index = |o: usize, k: usize, i: usize| values[(o * input + i) * kernel + k];
    (0..out)
        .flat_map(|o| (0..kernel).flat_map(move |k| (0..input).map(move |i| (o, k, i))))
        .map(|(o, k, i)| index(o, k, i))
        .collect()
}

#[test]
fn a_folder_for_transformers_has_every_tensor_as_it_was() {
    for fixture in FamilyFixture::all() {
        let scratch = Scratch::new();
        let source = family(&fixture.name);
        // A fixture in PyTorch's container, or generated anew, has no safetensors file to compare with.
        if !source.join("model.safetensors").is_file() {
            continue;
        }
        let output = scratch.path("hf");
        convert(&source, &output, &["--for", "hf"]);
        assert_eq!(listing(&output), ["config.json", "model.safetensors", "preprocessor_config.json"]);
        let (before, after) =
            (File::read(&source.join("model.safetensors")), File::read(&output.join("model.safetensors")));
        assert_eq!(before.tensors.keys().collect::<Vec<_>>(), after.tensors.keys().collect::<Vec<_>>());
        for (name, tensor) in &before.tensors {
            match name.ends_with("num_batches_tracked") {
                true => assert_eq!(after.tensors[name], (Dtype::I64, vec![], vec![0; 8]), "{}", fixture.name),
                false => assert!(after.tensors[name] == *tensor, "{}: {name}", fixture.name),
            }
        }
        assert_eq!((&after.metadata["format"][..], &after.metadata["target"][..]), ("pt", "hf"));
        // Every field that the toolkit reads, and the class, are those of the source.
        let (config, written) = (read_json(&source.join("config.json")), read_json(&output.join("config.json")));
        for (field, value) in written.as_object().unwrap() {
            if field != "torch_dtype" {
                assert_eq!(config[field], *value, "{}: {field}", fixture.name);
            }
        }
        let given = read_json(&source.join("preprocessor_config.json"));
        let written = read_json(&output.join("preprocessor_config.json"));
        for field in ["do_normalize", "sampling_rate", "feature_size", "feature_extractor_type"] {
            assert_eq!(given[field], written[field], "{}: {field}", fixture.name);
        }
        // The folder is a checkpoint like any other.
        for (input, name) in [(&source, "direct.safetensors"), (&output, "again.safetensors")] {
            convert(input, &scratch.path(name), &["--dtype", "f32"]);
        }
        let (direct, again) =
            (File::read(&scratch.path("direct.safetensors")), File::read(&scratch.path("again.safetensors")));
        assert!(direct.tensors == again.tensors, "{}", fixture.name);
        assert_eq!(direct.metadata["config"], again.metadata["config"]);
    }
}

#[test]
fn mlx_contentvec_gets_the_factors_and_the_weight() {
    let scratch = Scratch::new();
    let source = family("hubert");
    let (output, own) = (scratch.path("out.safetensors"), scratch.path("own.safetensors"));
    let printed = convert(&source, &output, &["--for", "mlx-contentvec"]);
    assert!(printed.contains("for mlx-contentvec, f32") && printed.contains("encoder_layers_1=0"), "{printed}");
    convert(&source, &own, &["--dtype", "f32"]);
    let (before, after, own) = (File::read(&source.join("model.safetensors")), File::read(&output), File::read(&own));
    // Two more than the fused form, whose names are not these.
    assert_eq!(after.tensors.len(), own.tensors.len() + 2);
    assert_eq!(after.metadata["target"], "mlx-contentvec");
    let [_, names] = SPELLINGS;
    for (name, key) in [("encoder.pos_conv.layers.0.g", names.g), ("encoder.pos_conv.layers.0.v", names.v)] {
        let shape = before.shape(key);
        assert_eq!(after.shape(name), [shape[0], shape[2], shape[1]]);
        assert_eq!(after.values(name), to_mlx(shape, &before.values(key)), "{name}");
    }
    for (name, key) in [
        ("encoder.pos_conv.layers.0.module.weight", FUSED),
        ("encoder.pos_conv.layers.0.module.bias", "encoder.pos_conv_embed.conv.bias"),
        ("feature_extractor.conv_layers.1.conv.weight", "feature_extractor.conv_layers.1.conv.weight"),
        ("feature_extractor.conv_layers.0.norm.bias", "feature_extractor.conv_layers.0.layer_norm.bias"),
        ("layer_norm.weight", "feature_projection.layer_norm.weight"),
        ("post_extract_proj.weight", "feature_projection.projection.weight"),
        ("encoder.layers.1.self_attn.k_proj.weight", "encoder.layers.1.attention.k_proj.weight"),
        ("encoder.layers.1.fc2.bias", "encoder.layers.1.feed_forward.output_dense.bias"),
        ("encoder.layer_norm.bias", "encoder.layer_norm.bias"),
    ] {
        assert!(after.tensors[name] == own.tensors[key], "{name}");
    }
}

#[test]
fn mlx_hubert_gets_its_own_names_and_a_configuration_of_its_class() {
    let scratch = Scratch::new();
    for dtype in ["f32", "f16", "bf16"] {
        let (output, own) = (scratch.path(&format!("folder-{dtype}")), scratch.path(&format!("{dtype}.safetensors")));
        convert(&family("wav2vec2"), &output, &["--for", "mlx-hubert", "--dtype", dtype]);
        convert(&family("wav2vec2"), &own, &["--dtype", dtype]);
        let (after, own) = (File::read(&output.join("model.safetensors")), File::read(&own));
        assert_eq!((after.tensors.len(), &after.metadata["format"][..]), (own.tensors.len(), "mlx"));
        for (name, tensor) in &own.tensors {
            let name = mlx_hubert_names().from_hugging_face(name).unwrap().name;
            assert!(after.tensors[&name] == *tensor, "{name}");
        }
        let config = read_json(&output.join("config.json"));
        assert_eq!((&config["model_type"], &config["architectures"]), (&json!("hubert"), &json!(["HubertModel"])));
        assert_eq!((&config["mask_time_prob"], &config["num_feat_extract_layers"]), (&json!(0.0), &json!(3)));
        assert_eq!(config["feat_proj_layer_norm"], true);
    }
}

/// The tiny checkpoint with its positional weight fused to `v` alone.
fn fused(scratch: &Scratch, change: impl FnOnce(&mut Tensor)) -> PathBuf {
    checkpoint(scratch, |tensors| {
        tensors.retain(|(name, _)| name != SPELLINGS[0].g);
        let (name, tensor) = tensors.iter_mut().find(|(name, _)| name == SPELLINGS[0].v).unwrap();
        *name = FUSED.into();
        change(tensor);
    })
}

const AUDIO: [&str; 4] = ["--do-normalize", "false", "--sampling-rate", "16000"];

#[test]
fn a_fused_weight_is_its_own_direction_with_its_norms_as_magnitude() {
    let scratch = Scratch::new();
    let mut weight = Vec::new();
    let input = fused(&scratch, |tensor| weight = tensor.values.clone());
    let output = scratch.path("hf");
    let printed = convert(&input, &output, &[&["--for", "hf"], &AUDIO[..], &["--dry-run"]].concat());
    assert!(printed.contains("norms of the fused weight"), "{printed}");
    convert(&input, &output, &[&["--for", "hf"], &AUDIO[..]].concat());
    let file = File::read(&output.join("model.safetensors"));
    let [_, names] = SPELLINGS;
    assert_eq!(file.values(names.v), weight);
    let kernel = file.shape(names.g)[2];
    assert_eq!(file.shape(names.g), [1, 1, kernel]);
    let norm = |tap: usize| {
        let squares = weight.iter().skip(tap).step_by(kernel).map(|&value| f64::from(value).powi(2));
        squares.sum::<f64>().sqrt() as f32
    };
    assert_eq!(file.values(names.g), (0..kernel).map(norm).collect::<Vec<_>>());
    // No `masked_spec_embed` in the checkpoint: the class must not have one.
    let masks = file.tensors.contains_key("masked_spec_embed");
    assert_eq!(read_json(&output.join("config.json"))["mask_time_prob"] == 0.0, !masks);
}

#[test]
fn a_direction_without_a_norm_is_refused_in_every_form() {
    let scratch = Scratch::new();
    let zero_tap = |tensor: &mut Tensor| {
        let kernel = tensor.shape[2];
        tensor.values.iter_mut().skip(3).step_by(kernel).for_each(|value| *value = 0.0);
    };
    let fused = fused(&scratch, zero_tap);
    refused(&scratch, &fused, "hf", &[&["--for", "hf"], &AUDIO[..]].concat(), &["tap 3 has norm zero"]);
    let scratch = Scratch::new();
    let factors = checkpoint(&scratch, |tensors| {
        zero_tap(&mut tensors.iter_mut().find(|(name, _)| name == SPELLINGS[0].v).unwrap().1);
    });
    for target in ["hf", "mlx-hubert"] {
        refused(&scratch, &factors, "out", &[&["--for", target], &AUDIO[..]].concat(), &["tap 3 has norm zero"]);
    }
    refused(&scratch, &factors, "out.safetensors", &["--for", "mlx-contentvec"], &["tap 3 has norm zero"]);
}

#[test]
fn what_a_program_does_not_have_is_refused_by_its_field() {
    let scratch = Scratch::new();
    let mlx = ["mlx-contentvec", "mlx-hubert"];
    for (input, fields) in [
        (family("wavlm"), ["num_buckets", "num_buckets"]),
        (family("data2vec-audio"), ["conv_pos_kernel_size", "conv_pos_kernel_size"]),
        (family("hubert-batch-norm"), ["conv_pos_batch_norm", "conv_pos_batch_norm"]),
        (fixture("deepnorm"), ["deepnorm", "deepnorm"]),
    ] {
        for (target, field) in mlx.into_iter().zip(fields) {
            let output = if target == "mlx-hubert" { "out" } else { "out.safetensors" };
            let words = [format!("--for {target}: `{field}` is ")];
            refused(&scratch, &input, output, &["--for", target], &[&words[0]]);
        }
    }
    let distilhubert = family("distilhubert");
    refused(
        &scratch,
        &distilhubert,
        "out.safetensors",
        &["--for", "mlx-contentvec"],
        &["`feat_proj_layer_norm` is false"],
    );
    for (dtype, word) in [("f16", "less precise"), ("bf16", "cannot load")] {
        let options = ["--for", "mlx-contentvec", "--dtype", dtype];
        refused(&scratch, &family("hubert"), "out.safetensors", &options, &["`--dtype` is", word]);
    }
    for (target, output) in [("mlx-contentvec", "out.safetensors"), ("mlx-hubert", "out")] {
        let options = ["--for", target, "--keep", "final_proj"];
        refused(&scratch, &fixture("voice-conversion"), output, &options, &["`--keep` is final_proj"]);
    }
}

#[test]
fn options_and_names_that_do_not_fit_are_refused() {
    let scratch = Scratch::new();
    let input = family("hubert");
    for (output, options, words) in [
        ("out", &["--for", "mlx-contentvec"][..], &["a file NAME.safetensors"][..]),
        ("out.safetensors", &["--for", "hf"], &["writes a folder"]),
        ("out.mlpackage", &["--for", "mlx-hubert"], &["writes a folder"]),
        ("out.bin", &[], &["unknown output format", "a folder"]),
        ("out", &["--for", "hf", "--layout", "candle"], &["--layout"]),
        ("out", &["--for", "hf", "--seconds", "5"], &["--seconds is for Core ML"]),
        ("out", &["--for", "mlx"], &["mlx-contentvec", "mlx-hubert", "hf"]),
    ] {
        refused(&scratch, &input, output, options, words);
    }
}

/// A folder states the audio input for other programs, where nobody reads that it was assumed.
#[test]
fn an_audio_input_that_nothing_states_is_not_written() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |_| {});
    let words = ["would be a guess", "`do_normalize`", "--do-normalize true|false"];
    for target in ["hf", "mlx-hubert"] {
        refused(&scratch, &input, "out", &["--for", target], &words);
    }
    convert(&input, &scratch.path("out"), &["--for", "hf", "--do-normalize", "true"]);
    assert_eq!(read_json(&scratch.path("out/preprocessor_config.json"))["do_normalize"], true);
}

#[test]
fn a_folder_is_replaced_only_with_force_and_only_if_it_is_one() {
    let scratch = Scratch::new();
    let (input, output) = (family("hubert"), scratch.path("out"));
    convert(&input, &output, &["--for", "hf"]);
    refused(&scratch, &input, "out", &["--for", "hf"], &["--force"]);
    convert(&input, &output, &["--for", "mlx-hubert", "--force"]);
    assert_eq!(read_json(&output.join("config.json")).get("dtype"), None);
    // A folder with anything else in it is somebody else's, and so is the checkpoint's own.
    fs::write(output.join("vocab.json"), "{}").unwrap();
    refused(&scratch, &input, "out", &["--for", "hf", "--force"], &["preprocessor_config.json"]);
    assert!(output.join("vocab.json").is_file());
    fs::remove_file(output.join("vocab.json")).unwrap();
    convert(&input, &output, &["--for", "hf", "--force"]);
    let run = mert_convert(&output, &output, &["--for", "hf", "--force"]);
    assert!(run.code == 2 && run.stderr.contains("input"), "{}", run.stderr);
}

#[test]
fn the_same_input_gives_the_same_folder_on_any_number_of_threads() {
    let scratch = Scratch::new();
    for target in ["hf", "mlx-hubert"] {
        let folders = ["1", "3"].map(|threads| {
            let output = scratch.path(&format!("{target}-{threads}"));
            convert(&family("hubert"), &output, &["--for", target, "--threads", threads]);
            listing(&output).into_iter().map(|name| (fs::read(output.join(&name)).unwrap(), name)).collect::<Vec<_>>()
        });
        assert!(folders[0] == folders[1], "{target}");
    }
}

#[test]
fn final_proj_is_kept_for_the_class_of_voice_conversion() {
    let scratch = Scratch::new();
    let output = scratch.path("voice");
    convert(&fixture("voice-conversion"), &output, &["--for", "hf", "--keep", "final_proj"]);
    let file = File::read(&output.join("model.safetensors"));
    let config = read_json(&output.join("config.json"));
    assert_eq!(config["classifier_proj_size"], file.shape("final_proj.weight")[0]);
    assert_eq!(file.shape("final_proj.bias").len(), 1);
    convert(&output, &scratch.path("own.safetensors"), &["--keep", "final_proj"]);
    assert!(ConvertedModel::read(&scratch.path("own.safetensors")).unwrap().metadata.final_proj.is_some());
}

/// The other commands, and the converter itself, say what such an output is.
#[test]
fn outputs_for_other_programs_are_named_by_the_commands_that_do_not_read_them() {
    let scratch = Scratch::new();
    for target in ["hf", "mlx-hubert"] {
        convert(&family("hubert"), &scratch.path(target), &["--for", target]);
    }
    convert(&family("hubert"), &scratch.path("contentvec.safetensors"), &["--for", "mlx-contentvec"]);
    for (model, target) in [
        ("hf", "hf"),
        ("hf/model.safetensors", "hf"),
        ("mlx-hubert", "mlx-hubert"),
        ("contentvec.safetensors", "mlx-contentvec"),
    ] {
        let model = scratch.path(model);
        let model = model.to_str().unwrap();
        let reference = fixture("mert-tiny/reference.npz");
        for run in [
            runner::run("mert-verify", [model, "--reference", reference.to_str().unwrap()]),
            runner::run(
                "mert-embed",
                [model, reference.to_str().unwrap(), "-o", scratch.path("x.npz").to_str().unwrap()],
            ),
        ] {
            assert_eq!(run.code, 2, "{}{}", run.stdout, run.stderr);
            let words = [format!("mert-convert --for {target}"), "mert-convert INPUT NAME.safetensors".into()];
            assert!(words.iter().all(|word| run.stderr.contains(word)), "{}", run.stderr);
        }
    }
    for model in ["mlx-hubert", "contentvec.safetensors"] {
        refused(&scratch, &scratch.path(model), "again.safetensors", &[], &["already converted"]);
    }
}

#[test]
fn types_are_cast_as_in_files_of_the_toolkit() {
    let scratch = Scratch::new();
    let mut direction = Vec::new();
    let input = checkpoint(&scratch, |tensors| {
        direction = tensors.iter().find(|(name, _)| name == SPELLINGS[0].v).unwrap().1.values.clone();
    });
    let output = scratch.path("hf");
    let printed = convert(&input, &output, &[&["--for", "hf", "--dtype", "f16"], &AUDIO[..]].concat());
    assert!(printed.contains("for hf, f16"), "{printed}");
    let file = File::read(&output.join("model.safetensors"));
    let (dtype, _, bytes) = &file.tensors[SPELLINGS[1].v];
    assert_eq!(*dtype, Dtype::F16);
    let expected: Vec<u8> = direction.iter().flat_map(|&value| half::f16::from_f32(value).to_le_bytes()).collect();
    assert!(*bytes == expected);
    assert_eq!(read_json(&output.join("config.json"))["dtype"], "float16");
}

/// A checkpoint that fails after some tensors are written leaves nothing.
#[test]
fn a_failure_leaves_no_folder() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, |tensors| tensors.last_mut().unwrap().1.values[0] = f32::NAN);
    refused(&scratch, &input, "out", &[&["--for", "hf"], &AUDIO[..]].concat(), &["NaN"]);
}
