//! `mert-tokens` on generated music: from sound to a vocabulary, tokens, events, an oracle, notes and sound, twice the same,
//! and vocabularies that must be refused.

use std::fs;
use std::path::Path;

use mert_testkit::{fixture, runner};
use serde_json::Value;

use crate::studio::{RATE, Studio, done, refused, tokens};

#[test]
fn the_whole_way_is_the_same_twice_and_on_any_number_of_threads() {
    let studio = Studio::new();
    let (first, second) = (studio.vocabulary(), studio.at("again.safetensors"));
    let run = studio.train(&second, &[("RAYON_NUM_THREADS", "1")], "--json");
    assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    // Three files of 12 to 15 s train and one is held out; 75 frames in a second.
    let frames = |part: &str| report[part]["frames"].as_u64().unwrap();
    assert!((900..=1200).contains(&frames("held_out")) && frames("training") + frames("held_out") == 54 * 75 - 4);
    assert!(report["training"]["used"].as_u64() == Some(16) && report["held_out"]["used"].as_u64() > Some(8));
    assert!(!studio.at("vocabulary.safetensors.training").exists());

    let oracle = studio.oracle(&first);
    let outputs = ["a.mid", "a.wav", "a.jsonl", "b.mid", "b.wav", "b.jsonl"].map(|name| studio.at(name));
    let request = r#"{"consonance": 0.8, "rhythm_ratio": [1, 1]}"#;
    for outputs in outputs.chunks(3) {
        let [midi, wav, steps] = outputs else { panic!() };
        let run = done(&[
            &"improvise",
            &oracle,
            &"-o",
            midi,
            &"-o",
            wav,
            &"-o",
            steps,
            &"--request",
            &request,
            &"--events",
            &"40",
            &"--seed",
            &"7",
        ]);
        assert!(run.stderr.contains("40 events"), "{}", run.stderr);
    }
    for (first, second) in outputs[..3].iter().zip(&outputs[3..]) {
        assert_eq!(fs::read(first).unwrap(), fs::read(second).unwrap(), "{}", first.display());
    }
    let other = studio.at("c.mid");
    done(&[&"improvise", &oracle, &"-o", &other, &"--request", &request, &"--events", &"40", &"--seed", &"8"]);
    assert_ne!(fs::read(&outputs[0]).unwrap(), fs::read(&other).unwrap());
    let midi = fs::read(&outputs[0]).unwrap();
    assert!(midi.starts_with(b"MThd"));
    for line in fs::read_to_string(&outputs[2]).unwrap().lines() {
        let step: Value = serde_json::from_str(line).unwrap();
        assert!(step["rule_text"].is_string() && step["token"].is_u64(), "{step}");
    }
}

#[test]
fn tokens_of_files_in_every_format() {
    let studio = Studio::new();
    let vocabulary = studio.vocabulary();
    let file = studio.music.join("0.wav");
    let encode = |name: &str, options: &[&str]| {
        let output = studio.at(name);
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
            vec![&"encode", &studio.model, &vocabulary, &file, &"-o", &output, &"--quiet"];
        options.iter().for_each(|option| arguments.push(option));
        done(&arguments);
        fs::read(&output).unwrap()
    };
    let lines = String::from_utf8(encode("t.jsonl", &[])).unwrap();
    let line: Value = serde_json::from_str(&lines).unwrap();
    let list = line["tokens"].as_array().unwrap();
    // 12 s at 24 kHz: (288000 - 400) / 320 + 1.
    assert_eq!(list.len(), 899);
    let km = String::from_utf8(encode("labels.km", &[])).unwrap();
    let from_km: Vec<u64> = km.trim().split(' ').map(|token| token.parse().unwrap()).collect();
    assert_eq!(from_km, list.iter().map(|token| token.as_u64().unwrap()).collect::<Vec<_>>());
    let merged: Value = serde_json::from_slice(&encode("d.jsonl", &["--deduplicate"])).unwrap();
    let durations: u64 = merged["durations"].as_array().unwrap().iter().map(|length| length.as_u64().unwrap()).sum();
    assert_eq!(durations, 899);
    assert!(merged["units"].as_array().unwrap().windows(2).all(|pair| pair[0] != pair[1]));
    assert!(encode("array.npy", &[]).starts_with(b"\x93NUMPY"));
    assert!(encode("t.parquet", &[]).starts_with(b"PAR1"));
    // Without an output, JSON lines on standard output.
    let run = done(&[&"encode", &studio.model, &vocabulary, &file]);
    assert_eq!(run.stdout, lines);
    assert!(run.stderr.contains("899 frames of 1 file:"), "{}", run.stderr);
}

#[test]
fn a_vocabulary_of_something_else_is_refused() {
    let studio = Studio::new();
    let vocabulary = studio.vocabulary();
    let file = studio.music.join("0.wav");
    let encode = |model: &Path, options: &[&str], words: &[&str]| {
        let mut arguments: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&"encode", &model, &vocabulary, &file];
        options.iter().for_each(|option| arguments.push(option));
        refused(&arguments, words);
    };
    encode(&studio.model, &["--layer", "7"], &["hidden state", "6", "7"]);
    encode(&studio.model, &["--window", "1s"], &["window", "150 frames", "75 frames"]);
    encode(&studio.model, &["--hop", "400ms"], &["hop", "75 frames", "30 frames"]);
    encode(&studio.model, &["--keep", "middle"], &["kept part"]);
    encode(&studio.model, &["--normalize", "l2"], &["normalisation", "none", "l2"]);
    encode(&fixture("mert-tiny/model.safetensors"), &[], &["another model"]);
    // Centres alone say nothing: the hidden state must be stated, and what is assumed is said.
    let centres = studio.at("centres.npy");
    studio.train(&centres, &[], "--quiet");
    refused(&[&"encode", &studio.model, &centres, &file], &["--layer"]);
    let run = done(&[&"encode", &studio.model, &centres, &file, &"--layer", &"6"]);
    assert!(run.stderr.contains("records neither model nor windows"), "{}", run.stderr);
    // With a record of its own it is used as a vocabulary that was trained here: its tokens are the same.
    let imported = studio.at("imported.safetensors");
    done(&[&"import", &studio.model, &centres, &"-o", &imported, &"--layer", &"6", &"--quiet"]);
    let encoded = |vocabulary: &Path| done(&[&"encode", &studio.model, &vocabulary, &file, &"--quiet"]).stdout;
    let tokens_of = |line: String| serde_json::from_str::<Value>(&line).unwrap()["tokens"].clone();
    assert_eq!(tokens_of(encoded(&imported)), tokens_of(encoded(&vocabulary)));
    refused(&[&"encode", &studio.model, &imported, &file, &"--window", &"1s"], &["window"]);
    // The oracle of one vocabulary with the centres of another.
    let (events, other) = (studio.at("events.jsonl"), studio.at("other.safetensors"));
    done(&[&"events", &studio.model, &vocabulary, &studio.music, &"-o", &events, &"--quiet"]);
    done(&[&"train", &studio.model, &studio.music, &"-o", &other, &"--k", &"8", &"--layer", &"6", &"--quiet"]);
    let oracle = studio.at("o.json");
    refused(&[&"oracle", &events, &"-o", &oracle, &"--near", &"1", &"--vocabulary", &other], &["another vocabulary"]);
}

#[test]
fn notes_come_from_a_midi_file_beside_the_recording() {
    let studio = Studio::new();
    let vocabulary = studio.vocabulary();
    // Two notes together at each quarter of a second, in a file of 480 ticks a quarter note of half a second.
    let mut track = Vec::new();
    for index in 0..40u8 {
        for key in [50 + index % 12, 62] {
            track.extend([0, 0x90, key, 80]);
        }
        track.extend([0x81, 0x70, 0x80, 50 + index % 12, 0, 0, 0x80, 62, 0]);
    }
    track.extend([0, 0xff, 0x2f, 0]);
    let mut midi = b"MThd\0\0\0\x06\0\0\0\x01\x01\xe0MTrk".to_vec();
    midi.extend((track.len() as u32).to_be_bytes());
    midi.extend(track);
    fs::write(studio.music.join("0.MID"), midi).unwrap();
    let (events, tracked) = (studio.at("events.jsonl"), studio.at("tracked.jsonl"));
    let run = done(&[&"events", &studio.model, &vocabulary, &studio.music, &"-o", &events]);
    assert!(run.stderr.contains("80 notes of"), "{}", run.stderr);
    done(&[&"events", &studio.model, &vocabulary, &studio.music, &"-o", &tracked, &"--notes", &"tracker", &"--quiet"]);
    let first = |path: &Path| -> Value {
        serde_json::from_str(fs::read_to_string(path).unwrap().lines().nth(1).unwrap()).unwrap()
    };
    let list = |value: &Value| value["events"].as_array().unwrap().clone();
    let (with_midi, without) = (list(&first(&events)), list(&first(&tracked)));
    // The onsets are those of the sound; the notes are the file's, two at a time, which a tracker cannot hear.
    let starts = |events: &[Value]| events.iter().map(|event| event["start"].as_f64().unwrap()).collect::<Vec<_>>();
    assert_eq!(starts(&with_midi), starts(&without));
    assert!(with_midi.iter().filter(|event| event["notes"].as_array().unwrap().len() == 2).count() > 20);
    assert!(without.iter().all(|event| event["notes"].as_array().unwrap().len() <= 1));
    // A recording without a MIDI file is left out if its notes must come from one.
    let run = tokens(&[
        &"events",
        &studio.model,
        &vocabulary,
        &studio.music,
        &"-o",
        &tracked,
        &"--notes",
        &"midi",
        &"--force",
    ]);
    assert!(run.code == 1 && run.stderr.contains("3 of 4 files were left out"), "{}", run.stderr);
}

#[test]
fn tokens_on_standard_output_may_go_to_a_file() {
    let studio = Studio::new();
    let vocabulary = studio.vocabulary();
    let (output, file) = (studio.at("redirected.jsonl"), studio.music.join("0.wav"));
    let mut command = std::process::Command::new(runner::command("mert-tokens").get_program());
    command.arg("encode").arg(&studio.model).arg(&vocabulary).arg(&file).arg("--quiet");
    command.stdout(fs::File::create(&output).unwrap());
    assert!(command.status().unwrap().success());
    assert!(fs::read_to_string(&output).unwrap().starts_with(r#"{"file":"#));
}

#[test]
fn sound_is_taken_from_the_recordings_that_were_heard() {
    let studio = Studio::new();
    let vocabulary = studio.vocabulary();
    let oracle = studio.oracle(&vocabulary);
    let wav = studio.at("out.wav");
    // Straight on from the first event: the recording itself.
    done(&[
        &"improvise",
        &oracle,
        &"-o",
        &wav,
        &"--samples",
        &"float",
        &"--continuity",
        &"1",
        &"--events",
        &"20",
        &"--temperature",
        &"0",
    ]);
    let read = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        let start = bytes.windows(4).position(|id| id == b"data").unwrap() + 8;
        bytes[start..].as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect::<Vec<f32>>()
    };
    let (found, recording) = (read(&wav), read(&studio.music.join("0.wav")));
    assert!(found.len() > 4 * RATE as usize);
    let middle = RATE as usize..3 * RATE as usize;
    assert_eq!(found[middle.clone()], recording[middle], "consecutive events are not joined but go on");
    // A recording that has changed, or is gone.
    fs::copy(studio.music.join("1.wav"), studio.music.join("0.wav")).unwrap();
    refused(&[&"improvise", &oracle, &"-o", &wav, &"--force", &"--events", &"5"], &["has changed"]);
    fs::remove_file(studio.music.join("0.wav")).unwrap();
    refused(&[&"improvise", &oracle, &"-o", &wav, &"--force", &"--events", &"5"], &["--audio FOLDER"]);
}

#[test]
fn a_scaling_that_a_vocabulary_states_is_not_taken_away() {
    let studio = Studio::new();
    let (file, out) = (studio.music.join("0.wav"), studio.at("out.safetensors"));
    let foreign = fixture("vocabularies/dictionary.joblib");
    let encode: [&dyn AsRef<std::ffi::OsStr>; 4] = [&"encode", &studio.model, &foreign, &file];
    let import: [&dyn AsRef<std::ffi::OsStr>; 5] = [&"import", &studio.model, &foreign, &"-o", &out];
    for command in [&encode[..], &import] {
        let with = |normalize: &'static str, words: &[&str]| {
            let mut arguments = command.to_vec();
            arguments.extend([&"--layer" as &dyn AsRef<std::ffi::OsStr>, &"6", &"--normalize", &normalize]);
            refused(&arguments, words);
        };
        with("none", &["scales frames by l2 in front of its centres", "leave the option out"]);
        // The option agrees; its frames are narrower than the model's.
        with("l2", &["width"]);
    }
}
