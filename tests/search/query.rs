//! End to end: queries of a catalogue through `mert-search`: scores, filters, variety, paths, playlists, reasons.

mod options;
mod vectors;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use mert_testkit::runner::{Run, run};
use serde_json::Value;
use tempfile::TempDir;

use crate::embeddings;

/// The length of each file in seconds.
const SECONDS: usize = 3;

/// A folder with a catalogue of 40 generated files, with one file that is not in it, and with the model.
struct Music {
    folder: TempDir,
}

impl Music {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn catalogue(&self) -> PathBuf {
        self.path("catalogue")
    }

    /// Runs `mert-search SUBCOMMAND CATALOGUE …`.
    fn run(&self, subcommand: &str, arguments: &[&str]) -> Run {
        let catalogue = self.catalogue();
        let first = [subcommand, catalogue.to_str().unwrap()];
        run("mert-search", first.iter().chain(arguments))
    }

    /// What the command prints as JSON.
    fn json(&self, subcommand: &str, arguments: &[&str]) -> Value {
        let run = self.run(subcommand, &[arguments, &["--json"]].concat());
        assert_eq!(run.code, 0, "{arguments:?}: {}", run.stderr);
        serde_json::from_str(&run.stdout).unwrap()
    }

    /// What the command says when it cannot answer.
    fn refusal(&self, subcommand: &str, arguments: &[&str]) -> String {
        let run = self.run(subcommand, arguments);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{arguments:?}");
        run.stderr
    }
}

/// Three tones and noise, by which files differ.
fn write_wav(path: &Path, index: usize) {
    let mut state = index as u32 + 1;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1u32 << 23) - 1.0
    };
    let mut sample = |time: usize| {
        let tone = |k: f64| (k * (100.0 + 37.0 * index as f64) * time as f64 / 24_000.0 * std::f64::consts::TAU).sin();
        let loud = 0.1 + 0.2 * ((time / 24_000 + index) % 3) as f64;
        let value = loud * (tone(1.0) + 0.5 * tone(1.5 + 0.1 * (index % 7) as f64)) + 0.05 * noise();
        (20_000.0 * value.clamp(-1.0, 1.0)) as i16
    };
    let data: Vec<u8> = (0..SECONDS * 24_000 + 31 * index).flat_map(|time| sample(time).to_le_bytes()).collect();
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + data.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(24_000u32.to_le_bytes());
    bytes.extend(48_000u32.to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    std::fs::write(path, bytes).unwrap();
}

/// A name that is not UTF-8 where names are bytes.
fn odd_name() -> PathBuf {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::ffi::OsStringExt;
        std::ffi::OsString::from_vec(b"caf\xe9 #1.wav".to_vec()).into()
    }
    #[cfg(not(target_os = "linux"))]
    "café #1.wav".into()
}

static MUSIC: LazyLock<Music> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let model = embeddings::model(&folder);
    let music = Music { folder };
    std::fs::create_dir_all(music.path("music/deep")).unwrap();
    for index in 0..38 {
        let folder = if index % 2 == 0 { "music" } else { "music/deep" };
        write_wav(&music.path(&format!("{folder}/song {index:02}.wav")), index);
    }
    write_wav(&music.path("music").join(odd_name()), 38);
    write_wav(&music.path("music/at@0:01-0:02.wav"), 39);
    // The same music as one of the catalogue's, and music that it does not have.
    write_wav(&music.path("copy of 4.wav"), 4);
    write_wav(&music.path("outside@2.wav"), 50);
    let input = music.path("music");
    let window = ["--layers", "1-2", "--window", "sliding:1s/1s", "--no-loudness"];
    let arguments = [input.to_str().unwrap(), "--model", model.to_str().unwrap()];
    let added = music.run("add", &[&arguments[..], &window].concat());
    assert_eq!(added.code, 0, "{}", added.stderr);
    music
});

fn hits(answer: &Value) -> Vec<String> {
    let name = |hit: &Value| hit["file"].as_str().unwrap().rsplit('/').next().unwrap().to_string();
    answer["hits"].as_array().unwrap().iter().map(name).collect()
}

#[test]
fn hits_are_best_first_with_cosines_and_percentiles_and_without_the_seed() {
    let answer = MUSIC.json("query", &["song 04", "--top", "100", "--no-versions"]);
    let found = hits(&answer);
    assert_eq!(found.len(), 39);
    assert!(!found.contains(&"song 04.wav".to_string()));
    let cosines: Vec<f64> =
        answer["hits"].as_array().unwrap().iter().map(|hit| hit["cosine"].as_f64().unwrap()).collect();
    assert!(cosines.is_sorted_by(|a, b| a >= b), "{cosines:?}");
    let first = &answer["hits"][0];
    assert!(
        first["percentile"].as_f64().unwrap() > 90.0 && first["percentile_of_query"].as_f64().unwrap() > 90.0,
        "{first}"
    );
    assert_eq!(answer["pairs"], 40 * 39 / 2);
    assert_eq!(answer["seeds"][0]["weight"], 1.0);
    let text = MUSIC.run("query", &["song 04"]);
    assert!(text.stdout.contains("percentiles are among 780 pairs"), "{}", text.stdout);
}

#[test]
fn a_file_outside_the_catalogue_is_embedded_and_its_copy_is_a_version() {
    let copy = MUSIC.path("copy of 4.wav");
    let copy = copy.to_str().unwrap();
    let listed = MUSIC.json("query", &[copy, "--no-versions", "--top", "40"]);
    assert_eq!(hits(&listed)[0], "song 04.wav");
    assert!((listed["hits"][0]["cosine"].as_f64().unwrap() - 1.0).abs() < 1e-6);
    let of_track = MUSIC.json("query", &["song 04", "--no-versions", "--top", "39"]);
    assert_eq!(hits(&listed)[1..], hits(&of_track));
    let collapsed = MUSIC.json("query", &[copy]);
    assert!(!hits(&collapsed).contains(&"song 04.wav".to_string()));
    assert!(collapsed["seed_versions"][0]["file"].as_str().unwrap().ends_with("song 04.wav"));
    let outside = MUSIC.path("outside@2.wav");
    assert_eq!(hits(&MUSIC.json("query", &[outside.to_str().unwrap()])).len(), 10);
    let passage = format!("{}@0-1", outside.to_str().unwrap());
    assert_eq!(hits(&MUSIC.json("query", &[&passage])).len(), 10);
}

#[test]
fn a_passage_is_compared_by_its_segments_and_an_at_sign_may_be_part_of_a_name() {
    let answer = MUSIC.json("query", &["song 07.wav@0:01-0:02"]);
    let notes = answer["notes"].to_string();
    assert!(notes.contains("1.00–2.00 s") && !notes.contains("0.00–1.00"), "{notes}");
    let whole = MUSIC.json("query", &["at@0:01-0:02.wav"]);
    assert!(!whole["notes"].to_string().contains("compared by the segment"), "{}", whole["notes"]);
    let part = MUSIC.json("query", &["at@0:01-0:02.wav@0-1s"]);
    assert!(part["notes"].to_string().contains("0.00–1.00 s"), "{}", part["notes"]);
    let outside = MUSIC.path("outside@2.wav");
    for (times, fault) in [
        ("1:00-2:00", "and the track ends at 3.0"),
        ("1:35-1:20", "its end does not come after its start"),
        ("0:02", "it has no end"),
        ("-1", "it has no start"),
        ("nan", "it has no end"),
        ("0:01-x", "its end `x` is not a time"),
        ("", "it has no end"),
    ] {
        for name in ["song 07.wav", outside.to_str().unwrap()] {
            let refusal = MUSIC.refusal("query", &[&format!("{name}@{times}")]);
            if name == "song 07.wav" || times != "1:00-2:00" {
                assert!(refusal.contains("invalid passage") && refusal.contains(fault), "{name}@{times}: {refusal}");
            } else {
                assert!(refusal.contains("the passage starts at 60 s"), "{refusal}");
            }
        }
    }
    // What is no time is a part of a name.
    assert!(MUSIC.refusal("query", &["song 99@home"]).contains("no track or file is called"));
}

#[test]
fn names_that_mean_several_tracks_or_none_are_refused_with_candidates() {
    let several = MUSIC.refusal("query", &["song 1"]);
    assert!(several.contains("part of the names of 10 tracks") && several.contains("song 13.wav"), "{several}");
    let none = MUSIC.refusal("query", &["sonk 17.wav"]);
    assert!(none.contains("the nearest name is `song 17.wav`"), "{none}");
    let layers = MUSIC.refusal("query", &["song 07", "--layers", "9"]);
    assert!(layers.contains("the catalogue has no hidden state 9"), "{layers}");
    assert!(MUSIC.refusal("query", &["song 07", "--where", "duration >"]).contains("expected a value, found the end"));
    assert!(MUSIC.refusal("query", &["song 07", "--blend", "bpm"]).contains("expected a column and a weight"));
}

#[test]
fn filters_keep_folders() {
    let answer = MUSIC.json("query", &["song 07", "--where", "file ~ /deep/", "--top", "40", "--no-versions"]);
    assert_eq!(hits(&answer).len(), 18);
    let folder = MUSIC.path("music/deep");
    let filter = format!("not path = '{}'", folder.display());
    let others = MUSIC.json("query", &["song 07", "--where", &filter, "--top", "40", "--no-versions"]);
    assert_eq!(hits(&others).len(), 21);
}

#[test]
fn reasons_sum_to_the_score() {
    let answer = MUSIC.json("query", &["song 07", "--minus", "song 08", "--why", "--top", "3"]);
    for hit in answer["hits"].as_array().unwrap() {
        let cosine = hit["cosine"].as_f64().unwrap();
        let reasons = &hit["reasons"];
        let sum = |list: &str, term: &str| -> f64 {
            reasons[list].as_array().unwrap().iter().map(|entry| entry[term].as_f64().unwrap()).sum()
        };
        assert!((sum("terms", "term") - cosine).abs() < 1e-6);
        assert!((sum("terms", "deviation") + reasons["average"].as_f64().unwrap() - cosine).abs() < 1e-6);
        assert!((sum("seeds", "term") - cosine).abs() < 1e-6);
        assert!((reasons["participation"]["sum"].as_f64().unwrap() - cosine).abs() < 1e-6);
        assert_eq!(reasons["passages"].as_array().unwrap().len(), 5);
    }
    let why = MUSIC.run("why", &["song 07", "song 09", "--versus", "song 11"]);
    assert_eq!(why.code, 0, "{}", why.stderr);
    for part in ["deviation", "of the seed", "all shares sum to", "half of the cosine", "difference", "duration"] {
        assert!(why.stdout.contains(part) || part.starts_with("half"), "{part}: {}", why.stdout);
    }
    let outside = MUSIC.path("outside@2.wav");
    let refusal = MUSIC.refusal("why", &["song 07", outside.to_str().unwrap()]);
    assert!(refusal.contains("is not in the catalogue"), "{refusal}");
}

#[test]
fn a_path_leads_from_a_file_outside_to_a_track() {
    let outside = MUSIC.path("outside@2.wav");
    let path = MUSIC.json("path", &[outside.to_str().unwrap(), "song 09", "--steps", "4"]);
    let steps = path["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 6);
    assert_eq!(steps[0]["track"], Value::Null);
    assert!(steps[5]["file"].as_str().unwrap().ends_with("song 09.wav"));
    let text = MUSIC.run("path", &["song 01", "song 09", "--wide", "100"]);
    assert!(text.stdout.contains("9 steps are wide"), "{}", text.stdout);
}

/// A column of the length, which every track has.
#[test]
fn the_length_takes_part_in_a_blend() {
    let answer = MUSIC.json("query", &["song 07", "--blend", "duration:0.2"]);
    assert_eq!(answer["hits"].as_array().unwrap().len(), 10);
    let refusal = MUSIC.refusal("query", &["song 07", "--blend", "file:0.2"]);
    assert!(refusal.contains("`file` holds texts"), "{refusal}");
}

#[test]
fn playlists_name_files_whose_names_are_not_utf_8() {
    let odd = "#1.wav";
    for format in ["m3u8", "xspf", "jspf"] {
        let output = MUSIC.path(&format!("list.{format}"));
        let arguments = [odd, "-o", output.to_str().unwrap(), "--with-seeds", "--top", "3"];
        let written = MUSIC.run("playlist", &arguments);
        assert_eq!((written.code, written.stdout.as_str()), (0, ""), "{}", written.stderr);
        assert!(written.stderr.contains("4 songs"), "{}", written.stderr);
        let text = std::fs::read_to_string(&output).unwrap();
        let escaped = if cfg!(target_os = "linux") { "caf%E9%20%231.wav" } else { ".wav" };
        assert!(text.contains(escaped), "{text}");
        let again = MUSIC.run("playlist", &arguments);
        assert!(again.code == 2 && again.stderr.contains("--force"), "{}", again.stderr);
    }
    let output = MUSIC.path("way.m3u8");
    let way = ["song 01", "--to", "song 02", "--top", "2", "-o", output.to_str().unwrap()];
    assert_eq!(MUSIC.run("playlist", &way).code, 0);
    let text = std::fs::read_to_string(&output).unwrap();
    let paths: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!((paths.len(), paths[0], paths[3]), (4, "music/deep/song 01.wav", "music/song 02.wav"));
}
