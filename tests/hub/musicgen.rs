//! MusicGen from the hub, on a local server: which files of a model are downloaded, in transformers' and in audiocraft's layout,
//! what is said before, and what is refused before anything large is downloaded.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use mert_testkit::{fixture, runner};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use crate::hub::hub_server::{COMMIT, sha256};
use crate::hub::{Hub, Run, names, run};

const SMALL: &str = "facebook/musicgen-small";

fn read(name: &str) -> Vec<u8> {
    fs::read(fixture(name)).unwrap()
}

/// A hub with the fixtures under the names of published models, in the layouts that those have.
fn musicgen_hub() -> Hub {
    let hub = Hub::new();
    for file in ["config.json", "model.safetensors", "tokenizer.json", "generation_config.json"] {
        hub.server.add(SMALL, file, &read(&format!("musicgen/plain/{file}")));
        hub.server.add("facebook/musicgen-large", file, &read(&format!("musicgen/plain/{file}")));
    }
    for file in ["state_dict.bin", "compression_state_dict.bin"] {
        hub.server.add("facebook/musicgen-large", file, &read(&format!("musicgen/instruct/{file}")));
        hub.server.add(SMALL, file, b"not to be downloaded");
    }
    hub.server.add(SMALL, "pytorch_model.bin", b"not to be downloaded");
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        hub.server.add("google-t5/t5-base", file, &read(&format!("musicgen/instruct/t5/{file}")));
    }
    hub.server.add("google-t5/t5-base", "tf_model.h5", b"not to be downloaded");
    let (codec, config) = encodec();
    hub.server.add("facebook/encodec_32khz", "model.safetensors", &codec);
    hub.server.add("facebook/encodec_32khz", "config.json", &config);
    hub.server.requests();
    hub
}

/// EnCodec of the plain fixture as a model of its own.
fn encodec() -> (Vec<u8>, Vec<u8>) {
    let bytes = read("musicgen/plain/model.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let own = tensors.tensors().into_iter();
    let own: Vec<_> =
        own.filter_map(|(name, view)| Some((name.strip_prefix("audio_encoder.")?.to_string(), view))).collect();
    let config: Value = serde_json::from_slice(&read("musicgen/plain/config.json")).unwrap();
    (safetensors::serialize(own, None).unwrap(), serde_json::to_vec(&config["audio_encoder"]).unwrap())
}

/// The conversion to `bundle` with these arguments.
fn command(hub: &Hub, input: &str, options: &[&str]) -> Command {
    let mut command = hub.program("mert-convert");
    command.arg(input).arg("bundle").arg("--force").args(options);
    command
}

#[track_caller]
fn convert(hub: &Hub, input: &str, options: &[&str]) -> Run {
    let run = run(&mut command(hub, input, options));
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    run
}

/// The conversion of files of the fixtures, for comparison.
#[track_caller]
fn convert_local(hub: &Hub, input: &str, options: &[&str]) -> PathBuf {
    let output = hub.path("local");
    let mut command = Command::new(runner::binary("mert-convert"));
    command.arg(fixture(input)).arg(&output).args(["--force", "--quiet"]);
    for option in options {
        if option.starts_with("--") {
            command.arg(option)
        } else {
            command.arg(fixture(option))
        };
    }
    assert!(command.status().unwrap().success());
    output
}

/// Asserts that two bundles have the same tensors.
#[track_caller]
fn assert_same_tensors(a: &Path, b: &Path) {
    for part in ["model.safetensors", "t5/model.safetensors", "encodec/model.safetensors"] {
        let (a, b) = (fs::read(a.join(part)).unwrap(), fs::read(b.join(part)).unwrap());
        let (a, b) = (SafeTensors::deserialize(&a).unwrap(), SafeTensors::deserialize(&b).unwrap());
        let all = |tensors: SafeTensors<'_>| -> BTreeMap<String, Vec<u8>> {
            tensors.tensors().into_iter().map(|(name, view)| (name, view.data().to_vec())).collect()
        };
        assert!(all(a) == all(b), "{part}");
    }
}

/// The files of which bytes were sent by the CDN, in order.
fn downloaded(hub: &Hub) -> Vec<String> {
    let path = |path: String| path.trim_start_matches('/').split('?').next().unwrap().to_string();
    hub.downloads().into_iter().map(|request| path(request.path)).collect()
}

fn config(hub: &Hub) -> Value {
    serde_json::from_slice(&fs::read(hub.path("bundle/config.json")).unwrap()).unwrap()
}

#[test]
fn transformers_folder_by_its_name() {
    let hub = musicgen_hub();
    let first = convert(&hub, SMALL, &["--json"]);
    assert_eq!(downloaded(&hub), [format!("{SMALL}/model.safetensors")]);
    let expected =
        "mert-convert: downloading 1 MB of facebook/musicgen-small: model.safetensors 998 kB, tokenizer.json 7 kB\n";
    assert!(first.stderr.contains(expected), "{}", first.stderr);
    let snapshot = hub.path("hf/hub/models--facebook--musicgen-small/snapshots").join(COMMIT);
    assert_eq!(names(&snapshot), ["config.json", "model.safetensors", "tokenizer.json"]);
    assert_same_tensors(&hub.path("bundle"), &convert_local(&hub, "musicgen/plain", &[]));

    // The record of sources has the model's name in place of the cache's folders.
    let digest = sha256(&read("musicgen/plain/model.safetensors"));
    assert_eq!(config(&hub)["sources"], json!({ "facebook/musicgen-small/model.safetensors": digest }));
    let document: Value = serde_json::from_str(&first.stdout).unwrap();
    assert_eq!((&document["hub"][0]["model"], &document["hub"][0]["revision"]), (&SMALL.into(), &COMMIT.into()));
    assert_eq!(document["plan"]["sources"][0]["name"], SMALL);

    // The cache has it all: of the server only the commit is asked, or nothing.
    let written = fs::read(hub.path("bundle/model.safetensors")).unwrap();
    hub.server.requests();
    let again = convert(&hub, SMALL, &[]);
    assert_eq!(again.stderr.lines().filter(|line| line.contains("downloading")).count(), 0, "{}", again.stderr);
    assert!(again.stdout.contains("facebook/musicgen-small: "), "{}", again.stdout);
    let requests = hub.server.requests();
    assert!(requests.iter().all(|request| request.method == "HEAD" && request.path.ends_with("config.json")));
    let pinned = convert(&hub, &format!("hf://{SMALL}@{COMMIT}"), &["--quiet"]);
    assert_eq!((pinned.stdout.as_str(), pinned.stderr.as_str()), ("", ""));
    assert!(hub.server.requests().is_empty());
    let offline = run(command(&hub, SMALL, &["--quiet"]).env("HF_HUB_OFFLINE", "1"));
    assert_eq!((offline.code, offline.stderr.as_str()), (Some(0), ""));
    assert!(fs::read(hub.path("bundle/model.safetensors")).unwrap() == written);
}

#[test]
fn shards_are_downloaded_as_their_index_lists_them() {
    let hub = musicgen_hub();
    let bytes = read("musicgen/plain/model.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let mut weight_map = BTreeMap::new();
    let medium = "facebook/musicgen-medium";
    for (number, shard) in ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"].iter().enumerate() {
        let mine: Vec<(String, TensorView<'_>)> =
            tensors.iter().enumerate().filter(|(i, _)| i % 2 == number).map(|(_, tensor)| tensor.clone()).collect();
        weight_map.extend(mine.iter().map(|(name, _)| (name.clone(), *shard)));
        hub.server.add(medium, shard, &safetensors::serialize(mine, None).unwrap());
    }
    let index = serde_json::to_vec(&json!({ "weight_map": weight_map })).unwrap();
    hub.server.add(medium, "model.safetensors.index.json", &index);
    for file in ["config.json", "tokenizer.json"] {
        hub.server.add(medium, file, &read(&format!("musicgen/plain/{file}")));
    }
    let first = convert(&hub, medium, &[]);
    assert_eq!(downloaded(&hub).len(), 2);
    assert!(first.stderr.contains("model-00001-of-00002.safetensors"), "{}", first.stderr);
    assert_same_tensors(&hub.path("bundle"), &convert_local(&hub, "musicgen/plain", &[]));
    let sources = config(&hub)["sources"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(sources, [1, 2].map(|shard| format!("{medium}/model-0000{shard}-of-00002.safetensors")));
}

#[test]
fn the_parts_of_an_edit_by_their_names() {
    let hub = musicgen_hub();
    hub.server.add("owner/instruct", "finetuned.ckpt", &read("musicgen/instruct/finetuned.ckpt"));
    let options =
        ["--base", "facebook/musicgen-large", "--codec", "facebook/musicgen-large", "--t5", "google-t5/t5-base"];
    convert(&hub, "hf://owner/instruct/finetuned.ckpt", &options);
    // audiocraft's files of the base and the codec in place of transformers', which have all parts; the input last.
    let expected = [
        "facebook/musicgen-large/state_dict.bin",
        "facebook/musicgen-large/compression_state_dict.bin",
        "google-t5/t5-base/model.safetensors",
        "owner/instruct/finetuned.ckpt",
    ];
    assert_eq!(downloaded(&hub), expected);
    let path = |name: &str| format!("musicgen/instruct/{name}");
    let (base, codec, t5) = (path("state_dict.bin"), path("compression_state_dict.bin"), path("t5"));
    let local = convert_local(&hub, &path("finetuned.ckpt"), &["--base", &base, "--codec", &codec, "--t5", &t5]);
    assert_same_tensors(&hub.path("bundle"), &local);
    let sources = config(&hub)["sources"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let mut expected = expected.map(String::from);
    expected.sort();
    assert_eq!(sources, expected);
    // By its path in the model, with a revision.
    let codec = format!("hf://facebook/musicgen-large@{COMMIT}/compression_state_dict.bin");
    let options =
        ["--base", "hf://facebook/musicgen-large/state_dict.bin", "--codec", &codec, "--t5", "google-t5/t5-base"];
    convert(&hub, "hf://owner/instruct/finetuned.ckpt", &options);
    assert_same_tensors(&hub.path("bundle"), &local);
    assert!(downloaded(&hub).is_empty());
}

/// A model without config.json is audiocraft's, with its codec beside it, which may only point to another model.
#[test]
fn audiocraft_s_layout() {
    let hub = musicgen_hub();
    hub.server.add("owner/finetune", "state_dict.bin", &read("musicgen/instruct/state_dict.bin"));
    let pointer = read("musicgen/instruct/pointer_state_dict.bin");
    hub.server.add("owner/finetune", "compression_state_dict.bin", &pointer);
    let run = convert(&hub, "owner/finetune", &["--t5", "google-t5/t5-base"]);
    let words = "compression_state_dict.bin holds no weights and names facebook/encodec_32khz, which is taken";
    assert!(run.stderr.contains(words), "{}", run.stderr);
    let expected = [
        "google-t5/t5-base/model.safetensors",
        "owner/finetune/state_dict.bin",
        "owner/finetune/compression_state_dict.bin",
        "facebook/encodec_32khz/model.safetensors",
    ];
    assert_eq!(downloaded(&hub), expected);
    let (codec, t5) = ("musicgen/plain", "musicgen/instruct/t5");
    let local = convert_local(&hub, "musicgen/instruct/state_dict.bin", &["--codec", codec, "--t5", t5]);
    assert_same_tensors(&hub.path("bundle"), &local);
    // Another codec takes its place, without a download.
    convert(&hub, "owner/finetune", &["--t5", "google-t5/t5-base", "--codec", "facebook/encodec_32khz"]);
    assert!(downloaded(&hub).is_empty());
    assert_same_tensors(&hub.path("bundle"), &local);
}

#[test]
fn stereo_by_its_name() {
    let hub = musicgen_hub();
    let stereo = "facebook/musicgen-stereo-small";
    for file in ["config.json", "model.safetensors"] {
        hub.server.add(stereo, file, &read(&format!("musicgen-stereo/{file}")));
    }
    convert(&hub, stereo, &["--codec", "facebook/encodec_32khz", "--t5", SMALL]);
    let plain = "musicgen/plain";
    let local = convert_local(&hub, "musicgen-stereo", &["--codec", plain, "--t5", plain]);
    assert_same_tensors(&hub.path("bundle"), &local);
    assert_eq!(config(&hub)["decoder"]["audio_channels"], 2);
}

#[test]
fn what_is_wrong_is_found_before_anything_large_is_downloaded() {
    let hub = musicgen_hub();
    let mut melody: Value = serde_json::from_slice(&read("musicgen/plain/config.json")).unwrap();
    melody["model_type"] = "musicgen_melody".into();
    hub.server.add("facebook/musicgen-melody", "config.json", &serde_json::to_vec(&melody).unwrap());
    for file in ["model.safetensors", "state_dict.bin"] {
        hub.server.add("facebook/musicgen-melody", file, b"not to be downloaded");
    }
    let refused = |input: &str, options: &[&str], words: &[&str]| {
        run(&mut command(&hub, input, options)).assert_refused(words);
        assert!(hub.downloads().is_empty(), "{input} {options:?}");
        assert!(!hub.path("bundle").exists());
    };
    let chromagram = ["facebook/musicgen-melody", "chromagram", "give a MusicGen without melody"];
    refused("facebook/musicgen-melody", &[], &chromagram);
    refused("hf://facebook/musicgen-melody/state_dict.bin", &[], &chromagram);
    let ckpt = fixture("musicgen/instruct/finetuned.ckpt");
    let ckpt = ckpt.to_str().unwrap();
    refused(ckpt, &["--base", "facebook/musicgen-melody"], &["--base facebook/musicgen-melody", "chromagram"]);
    refused(ckpt, &["--base", "google-t5/t5-base"], &["--base google-t5/t5-base", "`model_type` is t5"]);
    refused(SMALL, &["--t5", "facebook/encodec_32khz"], &["describes `encodec`", "expected t5", "google-t5/t5-base"]);
    refused(SMALL, &["--codec", "google-t5/t5-base"], &["describes `t5`", "facebook/encodec_32khz"]);
    refused(SMALL, &["--codec", "facebook/none"], &["no file or folder `facebook/none`", "no model `facebook/none`"]);
    refused(SMALL, &["--codec", "hf://facebook/encodec_32khz/none.bin"], &["no file `none.bin`", COMMIT]);
    refused(SMALL, &["--t5", "hf://t5-base"], &["invalid name `hf://t5-base`", "the owner is missing"]);
    refused(SMALL, &["--layout", "mlx"], &["--layout", "the input is a MusicGen"]);
    refused("hf://owner/tiny/pytorch_model.bin", &[], &["owner/tiny", "`model_type`", "expected `musicgen`"]);
    refused("owner/tiny", &["--names", "hf"], &["--names is for MusicGen"]);
    let file = run(hub.program("mert-convert").args([SMALL, "out.safetensors"]));
    file.assert_refused(&["a MusicGen is written as a folder"]);
    let quiet = run(command(&hub, SMALL, &["--quiet"]).env("HF_HUB_OFFLINE", "1"));
    quiet.assert_refused(&["HF_HUB_OFFLINE", SMALL, "model.safetensors"]);
    assert!(hub.downloads().is_empty());
}
