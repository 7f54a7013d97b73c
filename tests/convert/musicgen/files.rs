//! The files of a bundle: shards, digests, the card, the same bytes on any number of threads, and what may be replaced.

use std::path::Component;

use mert_fs::sha256_file;
use mert_testkit::runner;

use super::*;
use crate::scratch::listing;

/// The files below a folder, with their bytes.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(current) = open.pop() {
        for entry in fs::read_dir(current).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false => drop(found.insert(path.strip_prefix(folder).unwrap().to_path_buf(), fs::read(&path).unwrap())),
            }
        }
    }
    found
}

#[test]
fn the_same_bytes_on_any_number_of_threads() {
    let scratch = Scratch::new();
    for threads in ["1", "3"] {
        convert_instruct(&scratch.path(threads), &["--quantize", "--threads", threads]);
    }
    let found = contents(&scratch.path("1"));
    assert!(found == contents(&scratch.path("3")));
    let names: Vec<String> = found.keys().map(|path| path.to_str().unwrap().replace('\\', "/")).collect();
    let weights = ["config.json", "model.safetensors", "model.safetensors.index.json"];
    let mut expected = vec!["README.md".to_string(), "t5/tokenizer.json".into()];
    expected.extend(["", "t5/", "encodec/"].iter().flat_map(|folder| weights.map(|name| format!("{folder}{name}"))));
    expected.sort();
    assert_eq!(names, expected);
    assert!(found.keys().all(|path| path.components().all(|part| matches!(part, Component::Normal(_)))));
}

#[test]
fn shards_hold_the_same_tensors() {
    let scratch = Scratch::new();
    convert_instruct(&scratch.path("one"), &[]);
    convert_instruct(&scratch.path("many"), &["--max-shard-size", "100KB"]);
    let whole = written(&scratch.path("one/model.safetensors"));
    let index: Value =
        serde_json::from_slice(&fs::read(scratch.path("many/model.safetensors.index.json")).unwrap()).unwrap();
    let map = index["weight_map"].as_object().unwrap();
    assert_eq!(map.len(), whole.len());
    let mut shards: Vec<&str> = map.values().map(|shard| shard.as_str().unwrap()).collect();
    shards.sort();
    shards.dedup();
    assert!(shards.len() > 2);
    let parts: Values = shards.iter().flat_map(|shard| written(&scratch.path("many").join(shard))).collect();
    assert!(parts == whole);
    let values: usize = whole.values().map(|(_, values)| values.len()).sum();
    assert_eq!(index["metadata"]["total_parameters"], values);
}

#[test]
fn licence_and_digests_are_carried() {
    let scratch = Scratch::new();
    let printed = convert_instruct(&scratch.path("bundle"), &[]);
    let card = fs::read_to_string(scratch.path("bundle/README.md")).unwrap();
    assert!(card.contains("license: cc-by-nc-4.0") && card.contains("no commercial use"), "{card}");
    let fields = config(&scratch.path("bundle"));
    assert_eq!(fields["license"], "CC-BY-NC-4.0");
    for (name, path) in [
        ("finetuned.ckpt", "finetuned.ckpt"),
        ("state_dict.bin", "state_dict.bin"),
        ("compression_state_dict.bin", "compression_state_dict.bin"),
        ("t5/model.safetensors", "t5/model.safetensors"),
    ] {
        let digest = sha256_file(&upstream(path)).unwrap();
        assert_eq!(fields["instruct"]["sources"][name], digest, "{name}");
        assert!(card.contains(&digest) && printed.contains(&digest), "{name}");
    }
    for file in ["model.safetensors", "t5/model.safetensors", "encodec/model.safetensors"] {
        let bytes = fs::read(scratch.path("bundle").join(file)).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().clone().unwrap();
        let license = if file.starts_with("t5") { "Apache-2.0" } else { "CC-BY-NC-4.0" };
        assert_eq!((metadata["license"].as_str(), metadata["format"].as_str()), (license, "mlx"), "{file}");
        assert!(metadata["sources"].contains(&sha256_file(&upstream("finetuned.ckpt")).unwrap()));
    }
}

#[test]
fn a_plan_accounts_for_every_tensor_and_states_the_sizes() {
    let scratch = Scratch::new();
    let files = all_files();
    let options: Vec<&str> = files.iter().map(String::as_str).chain(["--quantize", "--json"]).collect();
    let run = mert_convert(&upstream("finetuned.ckpt"), Path::new("--dry-run"), &options);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    let plan = &document["plan"];
    let mut read = std::collections::BTreeSet::new();
    for step in plan["parts"].as_array().unwrap().iter().flat_map(|part| part["steps"].as_array().unwrap()) {
        for input in step["inputs"].as_array().unwrap() {
            let key = input["key"].as_str().unwrap();
            read.insert(key.split(" (part ").next().unwrap().to_string());
        }
    }
    let total: usize = ["finetuned.ckpt", "state_dict.bin", "compression_state_dict.bin", "t5"]
        .iter()
        .map(|name| open_plain(&upstream(name)).unwrap().checkpoint.listing().tensors.len())
        .sum();
    assert_eq!(read.len() + plan["dropped"].as_array().unwrap().len(), total);
    assert!(plan["dropped"].as_array().unwrap().iter().all(|dropped| !dropped["reason"].as_str().unwrap().is_empty()));

    convert_instruct(&scratch.path("bundle"), &["--quantize"]);
    for (file, bytes) in plan["files"].as_object().unwrap() {
        assert_eq!(fs::metadata(scratch.path("bundle").join(file)).unwrap().len(), bytes.as_u64().unwrap(), "{file}");
    }
    assert_eq!(plan["random"], serde_json::json!({ "sampled": 9, "random": 9 }));
    let sum: u64 = plan["files"].as_object().unwrap().values().map(|bytes| bytes.as_u64().unwrap()).sum();
    assert_eq!(document["target"]["disk_bytes"], sum);
}

#[test]
fn only_bundles_are_replaced() {
    let scratch = Scratch::new();
    let (output, input) = (scratch.path("out"), plain());
    convert(&input, &output, &[]);
    let before = contents(&output);
    let run = mert_convert(&input, &output, &["--dtype", "f32"]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("--force"), "{}", run.stderr);
    assert!(contents(&output) == before);
    convert(&input, &output, &["--dtype", "f32", "--force"]);
    assert!(contents(&output) != before);
    // Any other file in it protects a folder, and so do another program's weights.
    for other in ["notes.txt", "t5/notes.txt"] {
        fs::write(output.join(other), "x").unwrap();
        assert_eq!(mert_convert(&input, &output, &["--force"]).code, 2, "{other}");
        fs::remove_file(output.join(other)).unwrap();
    }
    fs::copy(plain().join("model.safetensors"), output.join("encodec/model.safetensors")).unwrap();
    assert_eq!(mert_convert(&input, &output, &["--force"]).code, 2);
    // The input is never its own output.
    let own = scratch.path("own");
    fs::create_dir(&own).unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(plain().join(name), own.join(name)).unwrap();
    }
    assert_eq!(mert_convert(&own, &own, &["--force"]).code, 2);
    assert!(own.join("tokenizer.json").is_file());
    // A bundle is no input: its weights are rounded.
    let run = mert_convert(&scratch.path("out"), &scratch.path("again"), &[]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("already converted"), "{}", run.stderr);
}

/// T5 and EnCodec in several files were taken for checkpoints to convert, and refused.
#[test]
fn divided_parts_open() {
    let scratch = Scratch::new();
    let bundle = scratch.path("bundle");
    convert_instruct(&bundle, &["--max-shard-size", "20KB"]);
    for part in ["t5", "encodec"] {
        let files = listing(&bundle.join(part));
        assert!(files.contains(&"model-00002-of-00002.safetensors".into()) || files.len() > 4, "{files:?}");
        assert!(!files.contains(&"model.safetensors".into()), "{files:?}");
    }
    let bundle = bundle.to_str().unwrap();
    let reference = fixture("musicgen/reference-instruct.npz");
    let run = runner::run("mert-verify", [bundle, "--reference", reference.to_str().unwrap()]);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let (whole, divided) = (scratch.path("whole"), [scratch.path("whole.wav"), scratch.path("divided.wav")]);
    convert(&plain(), &whole, &[]);
    convert(&plain(), &scratch.path("divided"), &["--max-shard-size", "20KB"]);
    for (folder, sound) in [whole, scratch.path("divided")].iter().zip(&divided) {
        let options = [folder.to_str().unwrap(), "--text", "piano", "--seconds", "0.2", "-o", sound.to_str().unwrap()];
        let run = runner::run("mert-generate", options);
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    assert!(fs::read(&divided[0]).unwrap() == fs::read(&divided[1]).unwrap());
    // The bundles that a budget measures are divided, too.
    convert(&plain(), &scratch.path("budget"), &["--budget", "0.5", "--max-shard-size", "20KB"]);
    // What is divided is still no checkpoint to convert.
    let folder = scratch.path("divided").join("t5");
    refused(&scratch, &plain(), &["--t5", folder.to_str().unwrap()], &["is already converted"]);
}
