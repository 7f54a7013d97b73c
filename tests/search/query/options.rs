//! Options out of range, and options that a subcommand could only ignore: refused by name, in short messages.

use serde_json::Value;

use super::{MUSIC, hits};

#[test]
fn numbers_beyond_any_use_are_refused() {
    let ends = ["00.wav", "11.wav"];
    for (option, value, expected) in [
        ("--steps", "18446744073709551615", "from 0 to 10000"),
        ("--steps", "3000000000", "from 0 to 10000"),
        ("--steps", "-1", "from 0 to 10000"),
        ("--wide", "nan", "from 0 to 100"),
        ("--wide", "101", "from 0 to 100"),
    ] {
        let text = MUSIC.refusal("path", &[&ends[..], &[option, value]].concat());
        assert!(text.contains(expected) && text.contains(option), "{option} {value}: {text}");
    }
    for (option, value) in [
        ("--top", "0"),
        ("--top", "-5"),
        ("--top", "99999999999"),
        ("--variety", "-0.5"),
        ("--variety", "nan"),
        ("--per-artist", "1e9"),
        ("--artist-gap", "-1"),
        ("--version-distance", "inf"),
        ("--version-seconds", "-1"),
        ("--drop-components", "-1"),
        ("--blend", "duration:2"),
    ] {
        let text = MUSIC.refusal("query", &["00.wav", option, value]);
        assert!(text.contains(option) && text.len() < 500, "{option} {value}: {text}");
    }
    // No input is echoed whole.
    for (subcommand, arguments) in [
        ("query", ["00.wav", "--where", &"(".repeat(100_000)]),
        ("query", ["00.wav", "--layers", &"1".repeat(100_000)]),
        ("query", ["00.wav", "--blend", &"a".repeat(100_000)]),
        ("path", ["00.wav", &"a".repeat(100_000), "--no-center"]),
    ] {
        let text = MUSIC.refusal(subcommand, &arguments);
        assert!(text.len() < 1000, "{subcommand}: {} bytes", text.len());
    }
}

/// An option that a subcommand takes has an effect, or is refused.
#[test]
fn options_without_an_effect_are_refused() {
    let playlist = MUSIC.path("way.m3u8");
    let output = playlist.to_str().unwrap();
    for extra in [
        ["--minus", "song 02"],
        ["--variety", "0.5"],
        ["--blend", "duration:0.5"],
        ["--level", "passages"],
        ["--artist-gap", "2"],
        ["--album-gap", "2"],
        ["--compressed-above", "5"],
    ] {
        let text = MUSIC.refusal("playlist", &[&["00.wav", "--to", "song 09", "-o", output], &extra[..]].concat());
        assert!(text.contains(extra[0]) && text.contains("--to"), "{text}");
    }
    assert!(MUSIC.refusal("query", &["00.wav", "--minus-weight", "2"]).contains("--minus"));
    let both = MUSIC.refusal("query", &["00.wav", "--no-versions", "--version-seconds", "2"]);
    assert!(both.contains("--version-seconds"), "{both}");
    // CSLS chooses other songs for a path, and says that the cosines are as they are.
    let ends = ["00.wav", "song 09", "--steps", "8"];
    let files = |path: &Value| {
        path["steps"].as_array().unwrap().iter().map(|step| step["file"].to_string()).collect::<Vec<_>>()
    };
    let (plain, corrected) = (MUSIC.json("path", &ends), MUSIC.json("path", &[&ends[..], &["--csls"]].concat()));
    assert_ne!(files(&plain), files(&corrected));
    assert!(corrected["notes"].to_string().contains("CSLS"), "{}", corrected["notes"]);
}

/// What is missing, empty or of another kind is named, with what is expected.
#[test]
fn messages_say_what_is_expected() {
    let alone = MUSIC.refusal("why", &["00.wav"]);
    assert!(alone.contains("a SEED and then the TRACK") && alone.contains("`00.wav`"), "{alone}");
    for layers in ["", " ", "1,"] {
        let refusal = MUSIC.refusal("query", &["00.wav", "--layers", layers]);
        assert!(refusal.contains("expected hidden states of the catalogue, which has 1, 2"), "{layers}: {refusal}");
    }
    let metric = MUSIC.path("metric.json");
    std::fs::write(&metric, "{\"a\": [1.0, 2.0, 3.0]}").unwrap();
    let refusal = MUSIC.refusal("query", &["00.wav", "--metric", metric.to_str().unwrap()]);
    assert!(refusal.contains("metric.json: expected a metric that `mert-search learn` wrote"), "{refusal}");
}

/// What an option did not do is said.
#[test]
fn options_that_had_no_effect_are_named() {
    let note = "--model is not used";
    for (subcommand, seeds) in
        [("query", &["00.wav"][..]), ("why", &["00.wav", "11.wav"]), ("path", &["00.wav", "11.wav"])]
    {
        let run = MUSIC.run(subcommand, &[seeds, &["--model", "none.safetensors"]].concat());
        assert!(run.code == 0 && run.stderr.contains(note), "{subcommand}: {}", run.stderr);
        assert!(!MUSIC.run(subcommand, seeds).stderr.contains(note));
    }
    let compressed = |more: &[&str]| MUSIC.json("query", &[&["00.wav"][..], more].concat())["notes"].to_string();
    let notes = compressed(&["--compressed-above", "5"]);
    assert!(notes.contains("exact scan of 39 of 40 vectors: the search needs 39 candidates"), "{notes}");
    assert!(
        !compressed(&[]).contains("exact scan") && !compressed(&["--compressed-above", "0"]).contains("exact scan")
    );
}

/// Facts are numbers in JSON, and have their units in tables.
#[test]
fn known_numbers_have_units_and_stay_numbers() {
    let json = MUSIC.json("why", &["00.wav", "11.wav"]);
    let duration = json["facts"].as_array().unwrap().iter().find(|fact| fact["column"] == "duration").unwrap();
    assert!(duration["hit"][0].is_number() && duration["seeds"][0][0].is_number(), "{duration}");
    let text = MUSIC.run("why", &["00.wav", "11.wav"]).stdout;
    let line = text.lines().find(|line| line.trim_start().starts_with("duration")).unwrap();
    assert!(line.contains("0:03"), "{line}");
    assert!(text.contains(" % of random pairs"), "{text}");
}

/// A version of a seed that hits should be unlike is no version of what is searched from.
#[test]
fn versions_of_minus_seeds_are_named_as_such() {
    let copy = MUSIC.path("copy of 4.wav");
    let answer = MUSIC.json("query", &["song 07.wav@0:01-0:02", "--minus", copy.to_str().unwrap(), "--top", "39"]);
    let notes = answer["notes"].to_string();
    assert!(
        notes.contains("left out: 1 version of a seed that hits should be unlike") && notes.contains("song 04.wav"),
        "{notes}"
    );
    assert_eq!(answer["seed_versions"].as_array().unwrap().len(), 0);
    assert!(!hits(&answer).contains(&"song 04.wav".to_string()));
    assert!(notes.contains("compared by the segment 1.00–2.00 s"), "{notes}");
    let plus = MUSIC.json("query", &["song 07.wav@0:01-0:02", copy.to_str().unwrap()]);
    assert!(plus["seed_versions"][0]["file"].as_str().unwrap().ends_with("song 04.wav"));
    assert!(!plus["notes"].to_string().contains("unlike"), "{}", plus["notes"]);
}
