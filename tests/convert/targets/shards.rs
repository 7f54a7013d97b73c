//! Folders whose weights are several files: the files, the index, and the readers that put them together.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use mert_testkit::{fixture, runner};
use serde_json::json;

use super::{File, convert, family, read_json, refused};
use crate::scratch::{Scratch, listing, mert_convert};

const INDEX: &str = "model.safetensors.index.json";

/// The audio input that the fixture does not state.
const AUDIO: [&str; 2] = ["--do-normalize", "true"];

/// The files of weights in a folder.
fn weights(folder: &Path) -> Vec<String> {
    listing(folder).into_iter().filter(|name| name.ends_with(".safetensors")).collect()
}

/// The tensors of all files of weights. None is in two of them, and the index lists each with its file.
fn tensors(folder: &Path) -> BTreeMap<String, (safetensors::Dtype, Vec<usize>, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut map = serde_json::Map::new();
    for name in weights(folder) {
        for (tensor, stored) in File::read(&folder.join(&name)).tensors {
            map.insert(tensor.clone(), json!(name));
            assert!(all.insert(tensor.clone(), stored).is_none(), "{tensor} is in two files");
        }
    }
    assert_eq!(read_json(&folder.join(INDEX))["weight_map"], serde_json::Value::Object(map));
    all
}

#[test]
fn shards_hold_what_one_file_holds_and_are_read_as_one_checkpoint() {
    // HuBERT with a BatchNorm has a counter beside its weights.
    for name in ["hubert", "hubert-batch-norm"] {
        let scratch = Scratch::new();
        let (one, many) = (scratch.path("one"), scratch.path("many"));
        convert(&family(name), &one, &["--for", "hf"]);
        convert(&family(name), &many, &["--for", "hf", "--max-shard-size", "10KB"]);
        // transformers writes no index for one file.
        assert!(!one.join(INDEX).exists());
        let (whole, files) = (File::read(&one.join("model.safetensors")), weights(&many));
        assert!(files.len() > 2, "{files:?}");
        let expected: Vec<_> =
            (1..=files.len()).map(|i| format!("model-{i:05}-of-{:05}.safetensors", files.len())).collect();
        assert_eq!(files, expected);
        assert!(tensors(&many) == whole.tensors);
        let mut values = 0;
        for file in &files {
            let file = File::read(&many.join(file));
            assert_eq!(file.metadata, whole.metadata);
            let size: usize = file.tensors.values().map(|tensor| tensor.2.len()).sum();
            assert!(size <= 10_000 || file.tensors.len() == 1, "{size}");
            let floats = file.tensors.iter().filter(|(name, _)| !name.ends_with("num_batches_tracked"));
            values += floats.map(|(_, (_, shape, _))| shape.iter().product::<usize>()).sum::<usize>();
        }
        let sizes = read_json(&many.join(INDEX))["metadata"].clone();
        let size: usize = whole.tensors.values().map(|tensor| tensor.2.len()).sum();
        assert_eq!(sizes, json!({ "total_size": size, "total_parameters": values }));

        // The checkpoint's reader.
        let (own, again) = (scratch.path("a.safetensors"), scratch.path("b.safetensors"));
        convert(&one, &own, &[]);
        convert(&many, &again, &[]);
        assert!(File::read(&own).tensors == File::read(&again).tensors);
    }
}

#[test]
fn a_folder_for_mlx_keeps_the_parts_of_a_matrix_together() {
    let scratch = Scratch::new();
    let (one, many) = (scratch.path("one"), scratch.path("many"));
    let input = fixture("mert-tiny/pytorch_model.bin");
    let options = [&["--quantize", "--q-group-size", "32"][..], &AUDIO].concat();
    convert(&input, &one, &options);
    let text = convert(&input, &many, &[&options[..], &["--max-shard-size", "30KB"]].concat());
    let files = weights(&many);
    assert!(files.len() > 5 && text.contains(&format!("{} to {}", files[0], files[files.len() - 1])), "{text}");
    // mlx-lm writes an index for one file, too.
    assert!(tensors(&one) == tensors(&many));
    for name in &files {
        let tensors: BTreeSet<String> = File::read(&many.join(name)).tensors.into_keys().collect();
        for scales in tensors.iter().filter(|tensor| tensor.ends_with(".scales")) {
            let module = scales.trim_end_matches(".scales");
            assert!(["weight", "biases"].iter().all(|part| tensors.contains(&format!("{module}.{part}"))), "{module}");
        }
    }
    // The judge and the runtime read either.
    let states = |folder: &Path| {
        let (clip, output) = (fixture("mert-tiny/reference.npz"), scratch.path("states.npz"));
        let words = ["hidden-states", folder.to_str().unwrap(), "--input", clip.to_str().unwrap(), "--output"];
        let run = runner::run("mert-verify", [&words[..], &[output.to_str().unwrap(), "--force"]].concat());
        assert_eq!(run.code, 0, "{}", run.stderr);
        fs::read(output).unwrap()
    };
    assert!(states(&one) == states(&many));
}

#[test]
fn the_same_shards_on_any_number_of_threads_and_none_left_of_others() {
    let scratch = Scratch::new();
    let folder = scratch.path("model");
    let write = |size: &str, threads: &str| {
        let options = ["--for", "hf", "--max-shard-size", size, "--threads", threads, "--force"];
        convert(&family("hubert"), &folder, &options);
        listing(&folder)
            .into_iter()
            .map(|name| (name.clone(), fs::read(folder.join(name)).unwrap()))
            .collect::<Vec<_>>()
    };
    let one = write("8KB", "1");
    assert!(one == write("8KB", "3"));
    assert!(write("20KB", "2").len() < one.len());
    assert_eq!(write("5GB", "2").len(), 3);
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let scratch = Scratch::new();
    let hubert = family("hubert");
    let many = ["--max-shard-size", "10KB"];
    refused(&scratch, &hubert, "a.safetensors", &many, &["--max-shard-size is for folders", "leave it out"]);
    refused(&scratch, &hubert, "a.gguf", &many, &["--max-shard-size is for folders"]);
    refused(&scratch, &hubert, "a.mlpackage", &many, &["--max-shard-size is for folders"]);
    let program = [&many[..], &["--for", "mlx-hubert"]].concat();
    refused(&scratch, &hubert, "a", &program, &["mlx-hubert reads none", "larger size"]);
    refused(&scratch, &hubert, "a", &["--for", "hf", "--max-shard-size", "5"], &["invalid size `5`", "such as 5GB"]);
    // A failure leaves no part of a folder.
    let broken = scratch.write("model.bin", &fs::read(fixture("hostile/os-system.bin")).unwrap());
    let before = scratch.listing();
    assert_eq!(mert_convert(&broken, &scratch.path("b"), &["--for", "hf", "--max-shard-size", "10KB"]).code, 2);
    assert_eq!(scratch.listing(), before);
}
