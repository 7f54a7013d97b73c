//! Inputs of `mert-convert` other than a checkpoint with its config.json: folders, shards, links, pipes, other encodings and
//! spellings; adapters; and the options --drop and --set.

mod adapters;

use std::path::{Path, PathBuf};

use mert_testkit::{ConvertedModel, Tensor, fixture, runner, sharp_checkpoint, write_torch_zip};

use crate::scratch::{Scratch, tiny};

/// A checkpoint of the tiny model and `extra` tensors, with its config.json if `config`.
fn checkpoint(scratch: &Scratch, extra: &[&str], config: bool) -> PathBuf {
    let mut tensors = sharp_checkpoint(&tiny(), 1);
    tensors.extend(extra.iter().map(|name| (name.to_string(), Tensor { shape: vec![2], values: vec![1.0, 2.0] })));
    let path = scratch.path("checkpoint.bin");
    write_torch_zip(&path, &tensors).unwrap();
    if config {
        scratch.add_config();
    }
    path
}

/// Converts and returns the printed text and the output.
#[track_caller]
fn convert(scratch: &Scratch, input: &Path, options: &[&str]) -> (String, ConvertedModel) {
    let output = scratch.path("out.safetensors");
    let message = scratch.convert(input, &[options, &["--force"]].concat());
    let model = ConvertedModel::read(&output).unwrap();
    std::fs::remove_file(output).unwrap();
    (message, model)
}

/// --drop is neither suggested nor accepted for tensors inside the encoder: a WavLM, for example, would become a HuBERT.
#[test]
fn tensors_inside_the_encoder_cannot_be_dropped() {
    for (name, words) in [
        ("encoder.layers.1.adapter_layer.norm.bias", &["adapters"][..]),
        ("encoder.layers.0.ffn1.intermediate_dense.bias", &["Conformer"]),
        ("encoder.layers.0.attention.q_proj.weight_mask", &["pruning", "prune.remove"]),
        ("encoder.layers.0.batch_norm.running_var", &["BatchNorm"]),
        ("encoder.layers.0.attention.something_new", &["inside the encoder", "cannot be left out"]),
    ] {
        for config in [true, false] {
            let scratch = Scratch::new();
            let input = checkpoint(&scratch, &[name], config);
            let set = ["--set", "num_attention_heads=2", "--set", "do_stable_layer_norm=false"];
            let mut options = if config { vec![] } else { set.to_vec() };
            let run = runner::command("mert-convert").arg(&input).args(&options).assert().code(2);
            let message = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
            assert!(words.iter().all(|word| message.contains(word)) && message.contains(name), "{name}: {message}");
            assert!(!message.contains("--drop"), "{message}");
            options.extend(["--drop", name]);
            scratch.refused(&input, &options, &[name]);
        }
    }
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, &[], true);
    for pattern in ["encoder.layer_norm.bias", "encoder*", "*", "feature_projection.layer_norm.*"] {
        scratch.refused(&input, &["--drop", pattern], &["--drop", "inside the encoder"]);
    }
}

#[test]
fn messages_list_the_drop_options() {
    let scratch = Scratch::new();
    let extra = ["num_updates", "mask", "quality.a", "quality.b.c", "quality.d", "quality.e", "pitch_head.weight"];
    let input = checkpoint(&scratch, &extra, true);
    let options = "--drop mask --drop num_updates --drop pitch_head.weight --drop 'quality.*'";
    scratch.refused(&input, &[], &["complete without them", options]);
    let words: Vec<String> = options.split(' ').map(|word| word.trim_matches('\'').to_string()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (message, _) = convert(&scratch, &input, &words);
    assert!(message.contains("dropped      7 tensors"), "{message}");
}

#[test]
fn heads_and_norm_order_are_not_guessed() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, &[], false);
    let words = ["num_attention_heads", "do_stable_layer_norm", "--config", "--set num_attention_heads="];
    scratch.refused(&input, &[], &words);
    scratch.refused(&input, &["--set", "num_attention_heads=2"], &["do_stable_layer_norm"]);
    scratch.refused(&input, &["--set", "heads=2"], &["num_attention_heads"]);
    scratch.refused(
        &input,
        &["--set", "num_attention_heads=5", "--set", "do_stable_layer_norm=false"],
        &["num_attention_heads"],
    );
    let set = ["--set", "num_attention_heads=2", "--set", "do_stable_layer_norm=false"];
    let (message, model) = convert(&scratch, &input, &set);
    assert!(message.contains("set        num_attention_heads=2"), "{message}");
    assert!(message.contains("assumed    hidden_act = gelu"), "{message}");
    let metadata = model.metadata;
    assert_eq!((metadata.config.num_attention_heads, metadata.config_inferred), (2, true));
    assert_eq!(metadata.config_set, ["num_attention_heads=2", "do_stable_layer_norm=false"]);
    // The option also overrides a file.
    scratch.add_config();
    let (_, model) = convert(&scratch, &input, &["--set", "num_attention_heads=4"]);
    assert_eq!((model.metadata.config.num_attention_heads, model.metadata.config_inferred), (4, false));
}

#[test]
fn encodings_of_config_json() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, &[], true);
    let (_, plain) = convert(&scratch, &input, &[]);
    let text = std::fs::read_to_string(fixture("containers/config.json")).unwrap().replace('\n', "\r\n");
    let utf16: Vec<u8> = [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    for bytes in [[b"\xef\xbb\xbf", text.as_bytes()].concat(), utf16] {
        scratch.write("config.json", &bytes);
        assert_eq!(convert(&scratch, &input, &[]).1.metadata, plain.metadata);
    }
    scratch.write("config.json", b"{\"model_type\": \"hubert\", \"x\": \"\xe9\"}");
    scratch.refused(&input, &[], &["config.json", "UTF-8"]);
}

#[test]
fn names_of_dtypes() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, &[], true);
    for (name, dtype) in [("float16", "f16"), ("BFloat16", "bf16"), ("fp32", "f32"), ("half", "f16"), ("F32", "f32")] {
        assert_eq!(convert(&scratch, &input, &["--dtype", name]).1.metadata.dtype.name(), dtype);
    }
    scratch.refused(&input, &["--dtype", "int8"], &["f16, bf16 or f32"]);
}

#[test]
fn folders_and_shards() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, &[], true);
    let (_, expected) = convert(&scratch, &input, &[]);
    let folder = scratch.path("m");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(fixture("containers/config.json"), folder.join("config.json")).unwrap();
    std::fs::copy(&input, folder.join("checkpoint_best.pt")).unwrap();
    std::fs::write(folder.join("optimizer.pt"), b"x").unwrap();
    let (message, model) = convert(&scratch, &folder, &[]);
    assert!(message.contains("note") && message.contains("checkpoint_best.pt"), "{message}");
    assert_eq!(model.tensors, expected.tensors);

    // One of several shards selects all.
    let tensors = sharp_checkpoint(&tiny(), 1);
    let (first, second) = tensors.split_at(20);
    let mut map = serde_json::Map::new();
    for (name, part) in [("w-00001-of-00002.bin", first), ("w-00002-of-00002.bin", second)] {
        write_torch_zip(&folder.join(name), part).unwrap();
        map.extend(part.iter().map(|(tensor, _)| (tensor.clone(), name.into())));
    }
    let shard = folder.join("w-00002-of-00002.bin");
    scratch.refused(&shard, &[], &["one of 2 shards", "index.json"]);
    let index = serde_json::json!({ "weight_map": map }).to_string();
    std::fs::write(folder.join("w.bin.index.json"), [b"\xef\xbb\xbf", index.as_bytes()].concat()).unwrap();
    let (message, model) = convert(&scratch, &shard, &[]);
    assert!(message.contains("one of 2 shards"), "{message}");
    assert_eq!(model.tensors, expected.tensors);
}

#[cfg(unix)]
#[test]
fn a_pipe_and_a_dangling_link() {
    let scratch = Scratch::new();
    let input = checkpoint(&scratch, &[], true);
    let pipe = scratch.path("pipe.bin");
    std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    scratch.refused(&pipe, &[], &["it is a pipe", "write it to a file"]);
    std::fs::remove_file(&pipe).unwrap();
    std::os::unix::fs::symlink("../../blobs/aaaa", scratch.path("preprocessor_config.json")).unwrap();
    // A dangling link is an error: it does not count as a missing file, for which defaults would be assumed.
    scratch.refused(&input, &[], &["preprocessor_config.json", "blobs/aaaa", "does not exist"]);
}
