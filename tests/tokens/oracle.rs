//! `mert-tokens oracle` and `improvise`: lists, vectors and tokens, and inputs and options that must be refused.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::studio::{Studio, done, refused, tokens};

#[test]
fn oracles_of_lists_and_vectors() {
    let studio = TempDir::new().unwrap();
    let at = |name: &str| studio.path().join(name);
    fs::write(at("symbols.json"), "[0, 1, 1, 1, 0, 0, 1]").unwrap();
    done(&[&"oracle", &at("symbols.json"), &"-o", &at("o.json")]);
    let oracle: Value = serde_json::from_slice(&fs::read(at("o.json")).unwrap()).unwrap();
    assert_eq!(oracle["sfx"], serde_json::json!([null, 0, 0, 2, 3, 1, 1, 2]));
    assert_eq!(oracle["lrs"], serde_json::json!([0, 0, 0, 1, 2, 1, 1, 2]));
    assert_eq!(oracle["trn"], serde_json::json!([[1, 2], [2, 6], [3, 5], [4, 5], [5], [6], [7], []]));
    fs::write(at("vectors.json"), "[[0.0], [1.0], [1.1], [0.9], [0.05], [0.0], [1.0]]").unwrap();
    refused(&[&"oracle", &at("vectors.json"), &"-o", &at("v.json")], &["--threshold", "--search"]);
    done(&[&"oracle", &at("vectors.json"), &"-o", &at("v.json"), &"--threshold", &"0.5"]);
    let vectors: Value = serde_json::from_slice(&fs::read(at("v.json")).unwrap()).unwrap();
    assert_eq!(vectors["sfx"], oracle["sfx"]);
    // Strictly below the threshold: equal vectors do not match at 0.
    done(&[&"oracle", &at("vectors.json"), &"-o", &at("zero.json"), &"--threshold", &"0"]);
    let zero: Value = serde_json::from_slice(&fs::read(at("zero.json")).unwrap()).unwrap();
    assert!(zero["sfx"].as_array().unwrap().iter().skip(1).all(|link| link == 0));
    let run = done(&[&"oracle", &at("vectors.json"), &"-o", &at("s.oracle"), &"--search", &"0:1:0.1", &"--json"]);
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["curve"].as_array().unwrap().len(), 10);
    // Both forms are read; a changed link is refused by its state.
    done(&[&"improvise", &at("s.oracle"), &"--events", &"5"]);
    let text = fs::read_to_string(at("o.json")).unwrap().replace("[null, 0, 0, 2, 3", "[null, 0, 0, 2, 2");
    fs::write(at("changed.json"), text).unwrap();
    refused(&[&"improvise", &at("changed.json")], &["sfx", "4"]);
    refused(&[&"improvise", &at("o.json"), &"-o", &at("x.mid")], &["without notes"]);
    refused(&[&"improvise", &at("o.json"), &"--request", &r#"{"gesture_tokn": 1}"#], &["gesture_token"]);
    let run = done(&[&"improvise", &at("o.json"), &"--request", &r#"{"gesture_token": 9}"#, &"--events", &"3"]);
    assert!(run.stderr.contains("gesture_token == 9"), "{}", run.stderr);
}

#[test]
fn a_file_of_another_kind_is_named() {
    let studio = Studio::new();
    let vocabulary = studio.vocabulary();
    let oracle = studio.oracle(&vocabulary);
    let (events, model, music) = (studio.at("events.jsonl"), &studio.model, &studio.music);
    let sound = music.join("0.wav");
    let out = studio.at("out.json");
    fs::write(studio.at("list.json"), "[1, 2, 1]").unwrap();
    refused(&[&"improvise", &events], &["events.jsonl is a file of `mert-tokens events`, expected an oracle"]);
    refused(&[&"improvise", &vocabulary], &["is a vocabulary of `mert-tokens train`, expected an oracle"]);
    refused(&[&"improvise", music], &["is a folder, expected an oracle"]);
    refused(&[&"improvise", &studio.at("list.json")], &["list.json"]);
    refused(&[&"oracle", &oracle, &"-o", &out], &["oracle.json is an oracle of `mert-tokens oracle`, expected events"]);
    refused(&[&"oracle", model, &"-o", &out], &["is a safetensors file with the weights of a model, expected events"]);
    refused(&[&"oracle", music, &"-o", &out], &["is a folder, expected events"]);
    refused(&[&"encode", model, music, &sound], &["is a folder, expected a vocabulary"]);
    refused(&[&"encode", model, &oracle, &sound], &["is an oracle of `mert-tokens oracle`, expected a vocabulary"]);
    refused(
        &[&"encode", model, model, &sound],
        &["is a safetensors file with the weights of a model, expected a vocabulary"],
    );
    refused(&[&"modes", model, &out, &sound], &["expected a CLAP checkpoint"]);
    refused(
        &[&"live", model, &vocabulary, &events, &sound],
        &["is a file of `mert-tokens events`, expected an oracle"],
    );
    refused(&[&"plot", &"oracle", &events, &"-o", &studio.at("p.svg")], &["expected an oracle"]);
    refused(&[&"plot", &"tokens", &sound, &vocabulary, &"-o", &studio.at("p.svg")], &["vocabulary"]);
    assert!(!out.exists());
}

#[test]
fn options_that_would_do_nothing_are_refused() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("list.json"), "\u{feff}[1, 2, 1]").unwrap();
    let (list, oracle) = (at("list.json"), at("o.json"));
    let attempt = |options: &[&str], words: &[&str]| {
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"oracle", &list, &"-o", &oracle];
        options.iter().for_each(|option| arguments.push(option));
        refused(&arguments, words);
    };
    attempt(&["--distance", "cosine"], &["--distance is for vectors"]);
    attempt(&["--suffix", "complete"], &["--suffix is for vectors and events"]);
    attempt(&["--threshold", "-1"], &["--threshold <NUMBER>", "expected a number from 0"]);
    done(&[&"oracle", &list, &"-o", &oracle]);
    let steps = at("d.jsonl");
    refused(&[&"improvise", &oracle, &"-o", &steps, &"-o", &steps], &["d.jsonl is named twice"]);
    refused(&[&"improvise", &oracle, &"--events", &"-3"], &["-3 is not in 1..=1000000"]);
    let run = tokens(&[&"improvise", &oracle, &"--events", &"-3"]);
    assert!(!run.stderr.contains("tip:"), "{}", run.stderr);
    for option in ["--list", "--jobs", "--report"] {
        refused(&[&"live", &"m", &"v", &oracle, &option, &"1"], &["unexpected argument"]);
        refused(&[&"import", &"m", &"v", &"--layer", &"1", &"-o", &"o", &option, &"1"], &["unexpected argument"]);
    }
    refused(
        &[&"live", &"m", &"v", &oracle, &"x.wav", &"--virtual-port"],
        &["--virtual-port: this build", "--features live"],
    );
}

#[test]
fn tokens_may_come_from_standard_input() {
    let folder = TempDir::new().unwrap();
    let (first, second) = (folder.path().join("a.json"), folder.path().join("b.json"));
    fs::write(folder.path().join("list.json"), "[0, 1, 1, 1, 0, 0, 1]").unwrap();
    done(&[&"oracle", &folder.path().join("list.json"), &"-o", &first]);
    let mut command = mert_testkit::runner::command("mert-tokens");
    command.args(["oracle", "-", "-o"]).arg(&second).write_stdin("[0, 1, 1, 1, 0, 0, 1]");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let links = |path| serde_json::from_slice::<Value>(&fs::read(path).unwrap()).unwrap()["sfx"].clone();
    assert_eq!(links(&first), links(&second));
}

#[test]
fn a_search_that_finds_nothing_says_so() {
    let folder = TempDir::new().unwrap();
    let (vectors, oracle) = (folder.path().join("v.json"), folder.path().join("o.json"));
    fs::write(&vectors, "[[0], [10], [20], [30]]").unwrap();
    let run = done(&[&"oracle", &vectors, &"-o", &oracle, &"--search", &"0:1:0.05"]);
    assert!(run.stdout.contains("no information rate at any of 20 thresholds"), "{}", run.stdout);
    fs::write(&vectors, "[[0], [1], [0.1], [1.1], [0], [1]]").unwrap();
    let run = done(&[&"oracle", &vectors, &"-o", &oracle, &"--search", &"0:0.5:0.05", &"--force"]);
    assert!(run.stdout.contains("the best of 10 tried"), "{}", run.stdout);
}

#[test]
fn vectors_that_match_nothing_are_named() {
    let folder = TempDir::new().unwrap();
    let (vectors, oracle) = (folder.path().join("v.json"), folder.path().join("o.json"));
    fs::write(&vectors, "[[0, 0], [1, 0], [1, 0], [0, 0]]").unwrap();
    let run = done(&[&"oracle", &vectors, &"-o", &oracle, &"--threshold", &"0.1", &"--distance", &"cosine"]);
    assert!(run.stderr.contains("2 of 4 vectors are zero: by cosine they match nothing"), "{}", run.stderr);
}

#[test]
fn options_of_outputs_that_are_not_written_are_refused() {
    let studio = Studio::new();
    let oracle = studio.oracle(&studio.vocabulary());
    let (mid, wav) = (studio.at("a.mid"), studio.at("a.wav"));
    refused(&[&"improvise", &oracle, &"-o", &mid, &"--crossfade", &"1ms"], &["--crossfade is for a .wav"]);
    refused(&[&"improvise", &oracle, &"-o", &wav, &"--tempo", &"90"], &["--tempo is for a .mid"]);
    refused(&[&"improvise", &oracle, &"--channel", &"2"], &["--channel is for a .mid"]);
    let other_spelling = studio.folder.path().join("music/../a.mid");
    refused(&[&"improvise", &oracle, &"-o", &mid, &"-o", &other_spelling], &["named twice"]);
    done(&[
        &"improvise",
        &oracle,
        &"-o",
        &mid,
        &"-o",
        &wav,
        &"--tempo",
        &"90",
        &"--crossfade",
        &"0",
        &"--samples",
        &"16",
    ]);
}
