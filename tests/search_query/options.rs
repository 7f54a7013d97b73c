//! Options out of range, and options that a subcommand could only ignore: refused by name, in short messages.

use serde_json::Value;

use crate::MUSIC;

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
