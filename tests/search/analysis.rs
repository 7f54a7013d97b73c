//! End to end: learning, probes, evaluation, clusters and maps of a catalogue through `mert-search`.

use std::fs;
use std::path::{Path, PathBuf};

use mert_search::catalogue::Value as Known;
use mert_search::{Catalogue, Geometry, Level, Metric, NewTrack, Space, Writer};
use mert_table::{MemoryRows, Position, Provenance, SourceFile, write};
use mert_testkit::fixture;
use mert_testkit::runner::{self, Run};
use serde_json::Value;
use tempfile::TempDir;

const DIM: usize = 64;
const TRACKS: usize = 160;

fn settings(model: &str) -> Provenance {
    let json = serde_json::json!({
        "generator": "mert-embed 0.1.0", "model_sha256": model.repeat(32), "license": null, "hidden_states": [1, 2],
        "pool": "mean", "normalize": "none", "window": "sliding:10s/10s", "tail": "align", "damaged": "refuse",
        "sample_rate": 24000, "do_normalize": true, "dim": DIM, "frame_hop": 320, "frame_length": 400,
        "arithmetic": "f32 on cpu",
    });
    serde_json::from_value(json).unwrap()
}

/// A generator of numbers that every run repeats: Knuth's MMIX.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % below
    }

    fn value(&mut self) -> f32 {
        self.next(2000) as f32 / 1000.0 - 0.9995
    }
}

/// Whether a track is of the kind that judgments tell apart.
fn is_bright(track: usize) -> bool {
    let mut random = Random(track as u64 * 7919 + 99);
    (0..4).map(|_| random.next(64)).sum::<usize>() % 2 == 0
}

/// A catalogue of tracks by 80 artists, beside noise: four genres differ by `strength` in all values of the second hidden state,
/// and `is_bright` in four values of the first.
fn catalogue(folder: &TempDir, name: &str, model: &str, strength: f32) -> PathBuf {
    let mut random = Random(1);
    let genres: Vec<Vec<f32>> = (0..4).map(|_| (0..DIM).map(|_| random.value()).collect()).collect();
    let mut rows = MemoryRows::default();
    for track in 0..TRACKS {
        let mut values: Vec<f32> = (0..2 * DIM).map(|_| random.value()).collect();
        values[..4].fill(if is_bright(track) { 0.7 } else { -0.7 });
        (0..DIM).for_each(|index| values[DIM + index] += strength * genres[track / 2 % 4][index]);
        rows.files.push(SourceFile::new(format!("/music/{track}.flac").as_ref(), None));
        rows.push(Position { file: track, window: 0, frame: None, start: 0.0, end: 10.0 }, &values);
    }
    let table = folder.path().join(format!("{name}.parquet"));
    write(&table, &settings(model), &mut rows).unwrap();
    let about = |file: &str| {
        let track: usize = file.trim_start_matches("/music/").trim_end_matches(".flac").parse().unwrap();
        let mut about = NewTrack::default();
        let text = |text: String| Known::Texts(vec![text]);
        about.metadata.insert("artist".into(), text(format!("artist {}", track / 2)));
        about.metadata.insert("genre".into(), text(["rock", "jazz", "dub", "folk"][track / 2 % 4].into()));
        about.metadata.insert("bpm".into(), Known::Number(100.0 + track as f64));
        about
    };
    let catalogue = folder.path().join(name);
    Writer::open(&catalogue).unwrap().add(&table, about).unwrap();
    catalogue
}

/// Runs a subcommand on a catalogue.
fn search(command: &str, catalogue: &Path, args: &[&str]) -> Run {
    runner::run("mert-search", [command, catalogue.to_str().unwrap()].iter().chain(args))
}

fn json(command: &str, catalogue: &Path, args: &[&str]) -> Value {
    let run = search(command, catalogue, &[args, &["--json"]].concat());
    assert_eq!(run.code, 0, "{run:?}");
    serde_json::from_str(&run.stdout).unwrap()
}

/// Triplets whose odd one is of the other kind, in a CSV file.
fn triplets(folder: &TempDir, count: usize) -> PathBuf {
    let mut random = Random(3);
    let mut text = String::from("a,b,odd\n");
    let mut written = 0;
    while written < count {
        let [a, b, odd] = [0; 3].map(|_: usize| random.next(TRACKS));
        if a != b && is_bright(a) == is_bright(b) && is_bright(odd) != is_bright(a) {
            text += &format!("/music/{a}.flac,/music/{b}.flac,/music/{odd}.flac\n");
            written += 1;
        }
    }
    text += "/music/1.flac,/elsewhere/2.flac,/music/3.flac\n";
    let path = folder.path().join("triplets.csv");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn the_table_finds_the_hidden_state_that_knows_the_genre() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = catalogue(&folder, "catalogue", "ab", 0.5);
    let found = json("evaluate", &catalogue, &["--tag", "genre", "--draws", "200"]);
    let precision = |name: &str| {
        let rows = found["rows"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{name}: {rows:?}"));
        row["figures"]["precision"]["value"].as_f64().unwrap()
    };
    let chance = found["chance"]["precision"].as_f64().unwrap();
    // Of 158 tracks by other artists 38 are of the genre.
    assert!((chance - 38.0 / 158.0).abs() < 1e-12, "{chance}");
    assert!(precision("2 centred") > 0.8 && (precision("1 centred") - chance).abs() < 0.05);
    assert!(precision("as given") < precision("2 centred"));
    assert!(precision("2 without 3") < precision("2 centred"), "three components are what tells four genres apart");
    let run = search("evaluate", &catalogue, &["--tag", "genre", "--layers", "2", "--only", "--draws", "200"]);
    assert!(run.code == 0 && run.stdout.contains("P@10") && run.stdout.contains("random order"), "{run:?}");
    assert!(!run.stdout.contains("CSLS"), "{run:?}");
    for (tag, expected) in [("artist", "same artist"), ("bpm", "numbers"), ("mood", "no column")] {
        let run = search("evaluate", &catalogue, &["--tag", tag]);
        assert!(run.code == 2 && run.stderr.contains(expected), "{run:?}");
    }
}

#[test]
fn a_metric_is_learned_written_and_used_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = catalogue(&folder, "catalogue", "ab", 1.5);
    let pairs = triplets(&folder, 300);
    let output = folder.path().join("metric.safetensors");
    let args = ["--pairs", pairs.to_str().unwrap(), "-o", output.to_str().unwrap(), "--repeats", "2"];
    let report = json("learn", &catalogue, &args);
    assert_eq!((report["unmatched"].as_u64(), report["judgments"].as_u64()), (Some(1), Some(300)));
    assert_eq!(report["unmatched_files"][0], "/elsewhere/2.flac");
    let models = report["models"].as_array().unwrap();
    let best = models.iter().find(|model| model["model"] == report["chosen"]).unwrap();
    assert!(best["gain"]["low"].as_f64().unwrap() > 0.0, "{report}");

    let metric = Metric::load(&output).unwrap();
    let opened = Catalogue::open(&catalogue).unwrap();
    let geometry = metric.geometry(&opened).unwrap();
    let before = Space::new(&opened, geometry.clone()).unwrap();
    let after = Space::new(&opened, Geometry { metric: Some(std::sync::Arc::new(metric)), ..geometry }).unwrap();
    // Of each track's ten nearest, the share of its kind.
    let share = |space: &Space<'_>| {
        let points: Vec<_> = (0..TRACKS).map(|track| space.point(Level::Tracks, track)).collect();
        let lists = space.scan(Level::Tracks, &points, opened.live(), 11);
        let hits = lists.iter().enumerate().flat_map(|(track, hits)| hits.iter().map(move |hit| (track, hit.row)));
        let others: Vec<(usize, usize)> = hits.filter(|(track, row)| track != row).collect();
        others.iter().filter(|(a, b)| is_bright(*a) == is_bright(*b)).count() as f64 / others.len() as f64
    };
    assert!(share(&after) > share(&before) + 0.05, "{} {}", share(&before), share(&after));

    // A query with the metric has the hits and the scores of its space.
    let found = json("query", &catalogue, &["/music/7.flac", "--metric", output.to_str().unwrap(), "--top", "5"]);
    let scan = after.scan(Level::Tracks, &[after.point(Level::Tracks, 7)], opened.live(), 40);
    let expected: Vec<(usize, f64)> =
        scan[0].iter().filter(|hit| hit.row != 7).map(|hit| (hit.row, hit.score)).collect();
    for hit in found["hits"].as_array().unwrap() {
        let (track, cosine) = (hit["track"].as_u64().unwrap() as usize, hit["cosine"].as_f64().unwrap());
        assert!(expected.iter().any(|(row, score)| *row == track && (score - cosine).abs() < 1e-9), "{hit}");
    }

    // The file is there, and is not replaced; the same judgments give the same bytes.
    let bytes = fs::read(&output).unwrap();
    assert_eq!(search("learn", &catalogue, &args).code, 2);
    json("learn", &catalogue, &[&args[..], &["--force"]].concat());
    assert_eq!(fs::read(&output).unwrap(), bytes);

    // Judgments by chance: nothing is written, and the status says so.
    let mut random = Random(8);
    let mut text = String::from("seed,track,event\n");
    for _ in 0..200 {
        let (a, b) = (random.next(TRACKS), random.next(TRACKS));
        text += &format!("/music/{a}.flac,/music/{b}.flac,{}\n", ["like", "skip"][random.next(64) % 2]);
    }
    let noise = folder.path().join("feedback.csv");
    fs::write(&noise, text).unwrap();
    let refused = folder.path().join("refused.safetensors");
    let args = ["--pairs", noise.to_str().unwrap(), "-o", refused.to_str().unwrap(), "--repeats", "2"];
    let run = search("learn", &catalogue, &args);
    assert!(run.code == 1 && run.stdout.contains("nothing was written") && !refused.exists(), "{run:?}");

    // A metric of another model is refused by name.
    let other = self::catalogue(&folder, "other", "cd", 1.5);
    let other = Catalogue::open(&other).unwrap();
    let error = Metric::load(&output).unwrap().geometry(&other).unwrap_err().to_string();
    assert!(error.contains("model_sha256"), "{error}");
}

#[test]
fn likes_and_skips_of_which_a_tenth_is_wrong_are_learned_from() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = catalogue(&folder, "catalogue", "ab", 1.5);
    let mut random = Random(12);
    let mut text = String::from("seed,track,event\n");
    for _ in 0..500 {
        let (a, b, is_wrong) = (random.next(TRACKS), random.next(TRACKS), random.next(10) == 0);
        let event = if (is_bright(a) == is_bright(b)) != is_wrong { "like" } else { "skip" };
        text += &format!("/music/{a}.flac,/music/{b}.flac,{event}\n");
    }
    let feedback = folder.path().join("feedback.csv");
    fs::write(&feedback, text).unwrap();
    let output = folder.path().join("metric.safetensors");
    let args = ["--pairs", feedback.to_str().unwrap(), "-o", output.to_str().unwrap(), "--repeats", "1"];
    let report = json("learn", &catalogue, &args);
    assert_eq!((report["kind"].as_str(), report["figure"].as_str()), (Some("feedback"), Some("AUC")));
    let models = report["models"].as_array().unwrap();
    let best = models.iter().find(|model| model["model"] == report["chosen"]).unwrap();
    // With a tenth of wrong labels the best possible area is 0.9.
    let (low, after) = (best["gain"]["low"].as_f64().unwrap(), best["after"]["value"].as_f64().unwrap());
    assert!(low > 0.0 && after > 0.7 && after < 0.95, "{report}");
}

#[test]
fn invalid_options_are_named_with_their_limits() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = catalogue(&folder, "catalogue", "ab", 1.5);
    let csv = folder.path().join("clusters.csv");
    let csv = csv.to_str().unwrap();
    for (command, args, expected) in [
        ("evaluate", &["--tag", "genre", "-k", "100000"][..], "invalid -k 100000: expected 1 to 159"),
        ("evaluate", &["--tag", "genre", "--draws", "3"], "invalid --draws 3: expected 100 to"),
        ("cluster", &["--clusters", "161"], "invalid --clusters 161: expected 2 to 160"),
        ("cluster", &["--method", "hdbscan", "--min-size", "81"], "invalid --min-size 81: expected 2 to 80"),
        ("cluster", &["-o", csv, "--column", "genre"], "has a column genre"),
        ("cluster", &["-o", csv, "--column", "Duration"], "has a column duration"),
        ("cluster", &["--column", "mood"], "--output"),
        ("map", &["--method", "tsne", "--perplexity", "54"], "invalid --perplexity 54: expected 1 to 53"),
        ("probe", &["--tag", "genre", "--folds", "1"], "invalid --folds 1: expected 2 to 50"),
        ("probe", &["--tag", "genre", "--tracks", "3"], "invalid --tracks 3: expected 30"),
        ("learn", &["-o", "m.safetensors"], "--pairs <FILE.csv>|--head <FILE>"),
    ] {
        let run = search(command, &catalogue, args);
        assert!(run.code == 2 && run.stderr.contains(expected), "{command} {args:?}: {run:?}");
    }
    // A column of earlier clusters may be replaced, which is said.
    assert_eq!(search("cluster", &catalogue, &["-o", csv]).code, 0);
    assert_eq!(search("update", &catalogue, &["--metadata", csv]).code, 0);
    let run = search("cluster", &catalogue, &["-o", csv, "--force"]);
    assert!(run.code == 0 && run.stderr.contains("joined column cluster"), "{run:?}");
}

#[test]
fn figures_and_maps_that_cannot_be_kept_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = catalogue(&folder, "catalogue", "ab", 1.5);
    // Files in the place of folders, since modes do not hold back root.
    fs::create_dir_all(catalogue.join("cache")).unwrap();
    for name in ["probes", "maps"] {
        fs::write(catalogue.join("cache").join(name), "").unwrap();
    }
    let run = search("probe", &catalogue, &["--tag", "genre"]);
    assert!(run.code == 0 && run.stdout.contains("mean AUC") && run.stderr.contains("not kept"), "{run:?}");
    let run = search("map", &catalogue, &[]);
    assert!(run.code == 0 && run.stdout.contains("160 tracks, computed") && run.stderr.contains("not kept"), "{run:?}");
    let map = json("map", &catalogue, &[]);
    assert_eq!(map["points"].as_array().unwrap().len(), 160);
}

#[test]
fn a_head_of_pytorch_is_the_same_function() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = catalogue(&folder, "catalogue", "ab", 1.5);
    let (head, output) = (fixture("heads/head.pt"), folder.path().join("head.safetensors"));
    let (head, path) = (head.to_str().unwrap(), output.to_str().unwrap());
    let run = search("learn", &catalogue, &["--head", head, "--layers", "1,2", "-o", path]);
    assert!(run.code == 0 && run.stderr.contains("MERT-v1-330M") && run.stderr.contains("not 30 s"), "{run:?}");
    let metric = Metric::load(&output).unwrap();
    let expected: Value = serde_json::from_slice(&fs::read(fixture("heads/expected.json")).unwrap()).unwrap();
    let rows = |name: &str| -> Vec<Vec<f64>> { serde_json::from_value(expected[name].clone()).unwrap() };
    for (input, expected) in rows("inputs").iter().zip(rows("outputs")) {
        let found = metric.apply(input);
        // The weights are the same bits, and both sums are in f64.
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?} {expected:?}");
    }
    let opened = Catalogue::open(&catalogue).unwrap();
    let geometry = metric.geometry(&opened).unwrap();
    let space = Space::new(&opened, Geometry { metric: Some(std::sync::Arc::new(metric)), ..geometry }).unwrap();
    let point = space.point(Level::Tracks, 5);
    assert_eq!(space.scan(Level::Tracks, &[point], opened.live(), 1)[0][0].row, 5);
    // MERIT's own states are not in this catalogue, and another form is not a head.
    let run = search("learn", &catalogue, &["--head", head, "-o", path, "--force"]);
    assert!(run.code == 2 && run.stderr.contains("hidden state 3"), "{run:?}");
    let other = fixture("heads/three-layers.pt");
    let run = search("learn", &catalogue, &["--head", other.to_str().unwrap(), "-o", path, "--force"]);
    assert!(run.code == 2 && run.stderr.contains("two linear layers"), "{run:?}");
}

#[test]
fn probes_clusters_and_maps_are_printed_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = catalogue(&folder, "catalogue", "ab", 1.5);
    let probe = json("probe", &catalogue, &["--tag", "genre"]);
    let row = |index: usize| &probe["rows"][index];
    assert_eq!(row(0)["is_predictable"], false, "{}", row(0)["figures"]);
    assert!(row(1)["figures"][1]["value"].as_f64().unwrap() > 0.9 && row(1)["areas"][3]["low"].as_f64().unwrap() > 0.9);
    assert!(catalogue.join("cache/probes/genre.json").is_file());
    let run = search("probe", &catalogue, &["--tag", "bpm"]);
    assert!(run.code == 0 && run.stdout.contains("R²") && run.stdout.contains("not predictable"), "{run:?}");

    let output = folder.path().join("clusters.csv");
    let args = ["--clusters", "4", "--layers", "2", "-o", output.to_str().unwrap(), "--column", "mood"];
    let clusters = json("cluster", &catalogue, &args);
    let sizes: u64 =
        clusters["clusters"].as_array().unwrap().iter().map(|cluster| cluster["size"].as_u64().unwrap()).sum();
    assert_eq!((sizes, clusters["clusters"].as_array().unwrap().len()), (160, 4));
    let tag = &clusters["clusters"][0]["tags"][0];
    assert!(tag["column"] == "genre" && tag["inside"].as_u64().unwrap() > 30, "{clusters}");
    let csv = fs::read_to_string(&output).unwrap();
    assert!(csv.starts_with("file,mood\n\"/music/0.flac\",") && csv.lines().count() == 161, "{csv}");
    let run = search("cluster", &catalogue, &["--method", "hdbscan", "--layers", "2"]);
    assert!(
        run.code == 0 && run.stdout.contains("clusters, ") && run.stderr.contains("principal components"),
        "{run:?}"
    );

    for (method, name) in [("pca", "map.json"), ("tsne", "map.csv"), ("tsne", "map.svg")] {
        let output = folder.path().join(name);
        let args = ["--method", method, "-o", output.to_str().unwrap(), "--color", "genre"];
        let run = search("map", &catalogue, &args);
        assert!(run.code == 0 && run.stdout.contains("160 tracks"), "{run:?}");
    }
    let map: Value = serde_json::from_slice(&fs::read(folder.path().join("map.json")).unwrap()).unwrap();
    assert_eq!((map["method"].as_str(), map["points"].as_array().unwrap().len()), (Some("pca"), 160));
    assert_eq!(fs::read_to_string(folder.path().join("map.csv")).unwrap().lines().count(), 161);
    assert!(fs::read_to_string(folder.path().join("map.svg")).unwrap().contains("rock (40)"));
    let run = search("map", &catalogue, &["--method", "tsne"]);
    assert!(run.stdout.contains("kept from before"), "{run:?}");
}
