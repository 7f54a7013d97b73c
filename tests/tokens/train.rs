//! `mert-tokens train`: music, files of features and a configuration, what is wrong with them, and what an interrupted training
//! takes up again.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::studio::{Studio, done, refused, tokens};

#[test]
fn training_says_what_is_wrong_and_continues() {
    let studio = Studio::new();
    let output = studio.at("v.safetensors");
    let train = |options: &[&str]| {
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
            vec![&"train", &studio.model, &studio.music, &"-o", &output, &"--frames", &"5000"];
        options.iter().for_each(|option| arguments.push(option));
        tokens(&arguments)
    };
    let run = train(&["--k", "100000"]);
    assert!(run.code == 2 && run.stderr.contains("frames are too few for 100000 centres"), "{}", run.stderr);
    // Its frames are there still: another k takes them, another hidden state does not.
    let run = train(&["--k", "8", "--layer", "5"]);
    let words = ["hidden state 12 instead of hidden state 5", "--restart"];
    assert!(run.code == 2 && words.iter().all(|word| run.stderr.contains(word)), "{}", run.stderr);
    let run = train(&["--k", "8"]);
    assert!(
        run.code == 0 && run.stderr.contains("4 of 4 files were encoded by an interrupted training"),
        "{}",
        run.stderr
    );
    fs::remove_file(&output).unwrap();
    let run = train(&["--k", "8", "--restart", "--layer", "6", "--window", "1s", "--hop", "100ms"]);
    assert!(run.code == 0 && run.stderr.contains("8 frames, 106.67 ms, are used"), "{}", run.stderr);
    let run = train(&["--k", "8"]);
    assert!(run.code == 2 && run.stderr.contains("exists"), "{}", run.stderr);
    let run = train(&["--k", "8", "--force", "--layer", "13"]);
    assert!(run.code == 2 && run.stderr.contains("13 hidden states"), "{}", run.stderr);
    let run = train(&["--k", "8", "--force", "--window", "1s", "--hop", "2s"]);
    assert!(run.code == 2 && run.stderr.contains("longer --window"), "{}", run.stderr);
    // Files that cannot be read are left out, and the rest is used.
    fs::write(studio.music.join("broken.wav"), b"RIFF").unwrap();
    let run = train(&["--k", "8", "--force", "--restart", "--layer", "6"]);
    assert!(run.code == 1 && run.stderr.contains("broken.wav") && output.exists(), "{}", run.stderr);
}

#[test]
fn files_of_features_are_held_out_too() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    for number in 0..4u32 {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (200, 8), }";
        let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
        bytes.extend(format!("{header:<117}\n").into_bytes());
        bytes.extend(
            (0..1600u32).flat_map(|i| (((i * 7919 + number * 104_729) % 1009) as f32 / 504.5 - 1.0).to_le_bytes()),
        );
        fs::write(at(&format!("{number}.npy")), bytes).unwrap();
    }
    let files = ["0.npy", "1.npy", "2.npy", "3.npy"].map(at);
    let train = |files: &[PathBuf]| {
        let output = at("v.safetensors");
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
            vec![&"train", &"--features", &"-o", &output, &"--k", &"8"];
        arguments.extend([&"--json" as &dyn AsRef<std::ffi::OsStr>, &"--force"]);
        files.iter().for_each(|file| arguments.push(file));
        let run = done(&arguments);
        (serde_json::from_str::<Value>(&run.stdout).unwrap(), run.stderr)
    };
    let (report, _) = train(&files);
    assert_eq!((&report["training"]["frames"], &report["held_out"]["frames"]), (&Value::from(600), &Value::from(200)));
    let (report, stderr) = train(&files[..1]);
    assert!(report["held_out"].is_null() && stderr.contains("no file of features is held out"), "{stderr}");
}

#[test]
fn the_yaml_of_merts_users_is_read() {
    let studio = Studio::new();
    let (config, output) = (studio.at("config.yaml"), studio.at("v.safetensors"));
    let yaml = format!(
        "feature_extraction:\n  mert: {{model_name: {}, layer: 6}}\nquantization: {{method: kmeans, n_clusters: 12, distance_metric: euclidean}}\n",
        studio.model.display()
    );
    fs::write(&config, &yaml).unwrap();
    let run = done(&[&"train", &"--config", &config, &studio.music, &"-o", &output, &"--json"]);
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["k"], 12);
    // The vocabulary records its hidden state, and the option agrees with it.
    done(&[&"encode", &studio.model, &output, &studio.music.join("0.wav"), &"--layer", &"6"]);
    fs::write(&config, yaml.replace("n_clusters", "n_cluster")).unwrap();
    refused(
        &[&"train", &"--config", &config, &studio.music, &"-o", &output, &"--force"],
        &["did you mean `n_clusters`"],
    );
}

#[test]
fn copies_of_a_recording_are_left_out() {
    let studio = Studio::new();
    let output = studio.at("v.safetensors");
    let train = |music: &dyn AsRef<std::ffi::OsStr>| {
        done(&[&"train", &studio.model, music, &"-o", &output, &"--k", &"8", &"--layer", &"6", &"--force"]);
        fs::read(&output).unwrap()
    };
    let alone = train(&studio.music);
    for copy in ["9.wav", "a copy.wav"] {
        fs::copy(studio.music.join("2.wav"), studio.music.join(copy)).unwrap();
    }
    assert!(train(&studio.music) == alone, "copies change the vocabulary");
    let run =
        done(&[&"train", &studio.model, &studio.music, &"-o", &output, &"--k", &"8", &"--layer", &"6", &"--force"]);
    for copy in ["9.wav", "a copy.wav"] {
        assert!(run.stderr.contains(&format!("{copy} has the bytes of ")), "{}", run.stderr);
    }
}

#[test]
fn centres_to_start_from_must_fit() {
    let studio = Studio::new();
    let output = studio.at("v.safetensors");
    let start = |start: &dyn AsRef<std::ffi::OsStr>, k: &str, words: &[&str]| {
        let arguments: [&dyn AsRef<std::ffi::OsStr>; 9] =
            [&"train", &studio.model, &studio.music, &"-o", &output, &"--start", start, &"--k", &k];
        refused(&arguments, words);
        assert!(!studio.at("v.safetensors.training").join("training.f32").exists(), "music was encoded first");
    };
    let vocabularies = mert_testkit::fixture("vocabularies");
    // A pipeline: scaling and PCA in front of its centres.
    start(&vocabularies.join("pipeline.joblib"), "8", &["steps in front of its centres"]);
    start(&vocabularies.join("kmeans.joblib"), "3", &["centres: give --k"]);
    let scaled = studio.at("l2.safetensors");
    done(&[
        &"train",
        &studio.model,
        &studio.music,
        &"-o",
        &scaled,
        &"--k",
        &"8",
        &"--normalize",
        &"l2",
        &"--passes",
        &"2",
        &"-q",
    ]);
    start(&scaled, "8", &["normalised by l2", "give --normalize l2"]);
    let arguments: [&dyn AsRef<std::ffi::OsStr>; 10] =
        [&"train", &studio.model, &studio.music, &"-o", &scaled, &"--start", &scaled, &"--k", &"8", &"--force"];
    refused(&arguments, &["l2.safetensors is an input"]);
}

#[test]
fn batches_are_counted_as_batches() {
    let studio = Studio::new();
    let output = studio.at("v.safetensors");
    let train = |options: &[&str]| {
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
            vec![&"train", &studio.model, &studio.music, &"-o", &output, &"--k", &"8", &"--passes", &"2", &"--force"];
        options.iter().for_each(|option| arguments.push(option));
        done(&arguments).stdout
    };
    assert!(train(&["--batch", "500"]).contains(" batches in "));
    let report: Value = serde_json::from_str(&train(&["--batch", "500", "--json"])).unwrap();
    assert!(report["passes"].is_null() && report["batches"].as_u64().unwrap() > 2, "{report}");
    assert!(train(&[]).contains("2 passes in "));
}
