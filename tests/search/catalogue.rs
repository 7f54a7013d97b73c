//! End to end: changes of a catalogue through `mert-search`: additions, removals, joins, damage, killed processes.

mod hostile;
mod joins;
mod processes;
mod repair;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mert_search::catalogue::{ColumnKind, verify};
use mert_search::{Catalogue, Level};
use mert_table::{FileVersion, MemoryRows, Position, Provenance, SourceFile, write};
use mert_testkit::runner::{self, Run, binary};
use tempfile::TempDir;

use crate::embeddings::{self, model, track};

/// Runs `mert-search`.
fn search(args: &[&dyn AsRef<OsStr>]) -> Run {
    runner::run("mert-search", args.iter().map(|arg| arg.as_ref()))
}

/// Runs `mert-search`, which must succeed.
fn search_ok(args: &[&dyn AsRef<OsStr>]) -> Run {
    let run = search(args);
    assert_eq!(run.code, 0, "{run:?}");
    run
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

const DIM: usize = 32;

fn settings() -> Provenance {
    let json = serde_json::json!({
        "generator": "mert-embed 0.1.0", "model_sha256": "ab".repeat(32), "license": null, "hidden_states": [1, 6],
        "pool": "mean", "normalize": "none", "window": "sliding:10s/10s", "tail": "align", "damaged": "refuse",
        "sample_rate": 24000, "do_normalize": true, "dim": DIM, "frame_hop": 320, "frame_length": 400,
        "arithmetic": "f32 on cpu",
    });
    serde_json::from_value(json).unwrap()
}

/// A table of `tracks`, three windows each; `change` may spoil the values of a window.
fn table(path: &Path, tracks: std::ops::Range<usize>, mut change: impl FnMut(usize, u32, &mut Vec<f32>)) {
    let mut rows = MemoryRows::default();
    for (file, track) in tracks.enumerate() {
        let mut random = Random(track as u64);
        let version = FileVersion { size: 1000 + track as u64, modified: 7 };
        rows.files.push(SourceFile::new(format!("/music/{track}.flac").as_ref(), Some(version)));
        for window in 0..3 {
            let mut values: Vec<f32> = (0..2 * DIM).map(|_| random.value()).collect();
            change(track, window, &mut values);
            let start = 10.0 * f64::from(window);
            rows.push(Position { file, window, frame: None, start, end: start + 10.0 }, &values);
        }
    }
    write(path, &settings(), &mut rows).unwrap();
}

fn plain(_: usize, _: u32, _: &mut Vec<f32>) {}

/// All that a catalogue says of its live tracks: by file the times and the bits of all vectors, and the columns.
fn content(folder: &Path) -> BTreeMap<String, String> {
    let catalogue = Catalogue::open(folder).unwrap_or_else(|error| panic!("{error}"));
    content_of(&catalogue)
}

fn content_of(catalogue: &Catalogue) -> BTreeMap<String, String> {
    let mut content = BTreeMap::new();
    for index in catalogue.live().ones() {
        let track = catalogue.track(index);
        let mut text = format!("{} s;", track.duration);
        for group in 0..catalogue.groups().len() {
            let mut bits = |row: &[f32]| row.iter().for_each(|value| text += &format!("{:08x}", value.to_bits()));
            bits(catalogue.vectors(Level::Tracks, group).row(index));
            track.segments.clone().for_each(|segment| bits(catalogue.vectors(Level::Segments, group).row(segment)));
        }
        for segment in track.segments.clone() {
            let found = catalogue.segment(segment);
            assert_eq!(found.track, index);
            text += &format!(";{}-{}", found.start, found.end);
        }
        for name in catalogue.column_names() {
            let column = catalogue.column(name).unwrap();
            let texts: Vec<&str> = column.texts(index).collect();
            text += &format!(";{name}={:?}{texts:?}", column.number(index));
        }
        assert_eq!(catalogue.find(&track.path()), Some(index));
        assert!(content.insert(track.file.to_string(), text).is_none(), "{} twice", track.file);
    }
    content
}

fn assert_whole(folder: &Path) {
    let found = verify(folder, false, |_, _| ()).unwrap();
    assert!(found.faults.is_empty(), "{:?}", found.faults);
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target)
        } else {
            fs::copy(entry.path(), target).map(drop).unwrap()
        }
    }
}

/// Flips a bit in the middle of a file.
fn flip(path: &Path, share: f64) {
    let mut bytes = fs::read(path).unwrap();
    let at = (bytes.len() as f64 * share) as usize;
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

#[test]
fn files_are_embedded_once_moved_and_embedded_again() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (model, catalogue, music) = (model(&folder), at("catalogue"), at("music"));
    fs::create_dir(&music).unwrap();
    for name in ["f32-24k-mono.wav", "16-24k-stereo.flac", "tagged-44k1-mono.mp3"] {
        fs::copy(track(name), music.join(name)).unwrap();
    }
    let strange = music.join(OsStr::from_bytes(b"caf\xe9.ogg"));
    fs::copy(track("24k-mono.ogg"), &strange).unwrap();
    fs::write(music.join("broken.flac"), b"fLaC, but not really").unwrap();
    let report = at("report.jsonl");
    let window = ["--window", "sliding:1s/1s"];
    let run = search(&[&"add", &catalogue, &music, &"--model", &model, &window[0], &window[1], &"--report", &report]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(
        run.stderr.contains("added 4 tracks") && run.stderr.contains("1 of 5 files was left out"),
        "{}",
        run.stderr
    );
    assert!(fs::read_to_string(&report).unwrap().contains("broken.flac"));
    assert_whole(&catalogue);
    let first = content(&catalogue);
    assert_eq!(first.len(), 4);
    let opened = Catalogue::open(&catalogue).unwrap();
    assert_eq!(opened.groups().iter().map(|group| group.name.as_str()).collect::<Vec<_>>(), ["1", "6", "9"]);
    assert_eq!(opened.track(opened.find(&strange).unwrap()).path(), strange);
    assert!(opened.column("title").unwrap().text(opened.find(&music.join("tagged-44k1-mono.mp3")).unwrap()).is_some());

    // The vectors are those of mert-embed.
    let embedded = at("embedded.parquet");
    let run = runner::run(
        "mert-embed",
        [
            model.as_os_str(),
            strange.as_os_str(),
            OsStr::new("-o"),
            embedded.as_os_str(),
            OsStr::new("--layers"),
            OsStr::new("1,6,9"),
            OsStr::new("--window"),
            OsStr::new("sliding:1s/1s"),
        ],
    );
    assert_eq!(run.code, 0, "{run:?}");
    let expected = embeddings::read(&embedded);
    let found = opened.track(opened.find(&strange).unwrap());
    let rows: Vec<Vec<f32>> = found
        .segments
        .clone()
        .map(|segment| (0..3).flat_map(|group| opened.vectors(Level::Segments, group).row(segment).to_vec()).collect())
        .collect();
    assert_eq!(rows, expected.values);
    drop(opened);

    // Again: nothing to do, and the settings and the model come from the catalogue.
    let run = search(&[&"add", &catalogue, &music]);
    assert!(run.stderr.contains("1 new, 0 changed, 4 unchanged"), "{}", run.stderr);
    assert_eq!((run.code, content(&catalogue)), (1, first.clone()));
    fs::remove_file(music.join("broken.flac")).unwrap();
    let run = search(&[&"add", &catalogue, &music, &"--window", &"sliding:2s/2s"]);
    assert!(run.code == 0, "nothing is embedded, so that the window does not matter: {run:?}");
    fs::copy(track("s16-16k-stereo.wav"), music.join("new.wav")).unwrap();
    let run = search(&[&"add", &catalogue, &music, &"--window", &"sliding:2s/2s"]);
    assert!(run.code == 2 && run.stderr.contains("--window: sliding:2s/2s given, sliding:1s/1s in the catalogue"));

    // One by one gives the vectors of all at once.
    let single = at("single");
    for file in first.keys().rev() {
        search_ok(&[&"add", &single, &mert_table::unescape(file), &"--model", &model, &window[0], &window[1]]);
        assert_whole(&single);
    }
    assert_eq!(content(&single), first);

    // Moved: the rows stay. Touched: nothing happens. Changed: embedded again.
    search_ok(&[&"add", &catalogue, &music]);
    fs::create_dir(music.join("sub")).unwrap();
    let moved = music.join("sub/moved.flac");
    fs::rename(music.join("16-24k-stereo.flac"), &moved).unwrap();
    let before = fs::metadata(catalogue.join("parts/000001/rows.parquet")).unwrap().modified().unwrap();
    let run = search_ok(&[&"update", &catalogue, &music]);
    assert!(run.stderr.contains("1 moved, whose rows stay"), "{}", run.stderr);
    assert_eq!(fs::metadata(catalogue.join("parts/000001/rows.parquet")).unwrap().modified().unwrap(), before);
    let after = content(&catalogue);
    let old = first.get(&mert_table::escape(&music.join("16-24k-stereo.flac")));
    assert_eq!(after.get(&mert_table::escape(&moved)), old);
    fs::copy(track("s16-16k-stereo.wav"), music.join("f32-24k-mono.wav")).unwrap();
    fs::remove_file(&strange).unwrap();
    let run = search(&[&"update", &catalogue]);
    assert_eq!(run.code, 1, "{run:?}");
    assert!(run.stderr.contains("1 changed") && run.stderr.contains("missing; its rows stay"), "{}", run.stderr);
    let changed = content(&catalogue);
    let name = |name: &str| mert_table::escape(&music.join(name));
    assert_ne!(changed[&name("f32-24k-mono.wav")], after[&name("f32-24k-mono.wav")]);
    let vectors = |text: &str| text.split(';').nth(1).unwrap().to_string();
    assert_eq!(vectors(&changed[&name("f32-24k-mono.wav")]), vectors(&changed[&name("new.wav")]));
    search_ok(&[&"remove", &catalogue, &"--missing"]);
    search_ok(&[&"remove", &catalogue, &music.join("sub")]);
    assert_eq!(search(&[&"remove", &catalogue, &music.join("sub")]).code, 2);
    assert_eq!(content(&catalogue).len(), 3);
    search_ok(&[&"compact", &catalogue]);
    assert_eq!(content(&catalogue).len(), 3);
    assert_eq!(fs::read_dir(catalogue.join("parts")).unwrap().count(), 1);
    search_ok(&[&"verify", &catalogue, &"--model", &model]);
    let other = at("other.safetensors");
    fs::copy(mert_testkit::fixture("mert-tiny/model.safetensors"), &other).unwrap();
    let run = search(&[&"verify", &catalogue, &"--model", &other]);
    assert!(run.code == 1 && run.stderr.contains("another model than the catalogue's"), "{run:?}");
}

#[test]
fn rows_that_cannot_be_compared_are_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (catalogue, spoiled) = (at("catalogue"), at("spoiled.parquet"));
    table(&spoiled, 0..6, |track, window, values| match (track, window) {
        (1, 2) => values[DIM + 3] = f32::NAN,
        (3, 0) => values[..DIM].fill(0.0),
        (4, 1) => values[0] = f32::INFINITY,
        _ => {}
    });
    let run = search(&[&"add", &catalogue, &spoiled, &"--no-loudness"]);
    assert_eq!(run.code, 1, "{run:?}");
    for reason in [
        "/music/1.flac: left out: window 2: the vector hidden_state_6 has the value NaN",
        "/music/3.flac: left out: window 0: the vector hidden_state_1 is zero",
        "/music/4.flac: left out: window 1: the vector hidden_state_1 has the value inf",
        "added 3 tracks",
    ] {
        assert!(run.stderr.contains(reason), "{reason}: {}", run.stderr);
    }
    assert_whole(&catalogue);
    let before = content(&catalogue);
    assert_eq!(before.keys().collect::<Vec<_>>(), ["/music/0.flac", "/music/2.flac", "/music/5.flac"]);

    // Only bad files, another model, other hidden states, frames: nothing changes.
    let refused = |name: &str, make: &dyn Fn(&Path), expected: &str| {
        let path = at(name);
        make(&path);
        let run = search(&[&"add", &catalogue, &path]);
        assert!(run.code == 2 && run.stderr.contains(expected), "{expected}: {run:?}");
        assert_eq!(content(&catalogue), before);
    };
    refused("zero.parquet", &|path| table(path, 0..1, |_, _, values| values.fill(0.0)), "its one file cannot be used");
    let with = |key: &str, value: serde_json::Value| {
        let mut json = serde_json::to_value(settings()).unwrap();
        json[key] = value;
        let settings: Provenance = serde_json::from_value(json).unwrap();
        move |path: &Path| {
            let mut rows = MemoryRows::default();
            rows.files.push(SourceFile::new("/music/9.flac".as_ref(), None));
            let frame = settings.pool.has_frames().then_some(0);
            let position = Position { file: 0, window: 0, frame, start: 0.0, end: 10.0 };
            rows.push(position, &vec![1.0; settings.values_per_row()]);
            write(path, &settings, &mut rows).unwrap();
        }
    };
    let other = format!("model_sha256: \"{}\" in the table, \"{}\" in the catalogue", "cd".repeat(32), "ab".repeat(32));
    refused("model.parquet", &with("model_sha256", "cd".repeat(32).into()), &other);
    refused("states.parquet", &with("hidden_states", vec![6, 9].into()), "hidden_states: [6,9] in the table, [1,6] in");
    refused("frames.parquet", &with("pool", "none".into()), "it has a row for each frame");
    // The settings are the catalogue's, and the rows are not.
    let mixed = |path: &Path| {
        table(path, 8..9, plain);
        let (digest, mut bytes) = ("ab".repeat(32), fs::read(path).unwrap());
        let at = bytes.windows(64).position(|window| window == digest.as_bytes()).unwrap();
        bytes[at..at + 64].copy_from_slice("cd".repeat(32).as_bytes());
        fs::write(path, bytes).unwrap();
    };
    refused("mixed.parquet", &mixed, "it has a row of the model cdcd");
    refused("no.parquet", &|path| fs::write(path, b"PAR1 no table PAR1").unwrap(), "no.parquet");
    let run = search(&[&"add", &at("nothing"), &at("missing.parquet")]);
    assert!(run.code == 2 && !at("nothing").exists(), "{run:?}");
    let run = search(&[&"info", &at("nothing")]);
    assert!(run.code == 2 && run.stderr.contains("is not a catalogue"), "{run:?}");

    // A track of the same file is replaced, also by a table that is added twice.
    let good = at("good.parquet");
    table(&good, 5..8, plain);
    let run = search_ok(&[&"add", &catalogue, &good]);
    assert!(run.stderr.contains("added 2 tracks with 6 segments; 1 unchanged"), "{}", run.stderr);
    let state = fs::read(catalogue.join("catalogue.json")).unwrap();
    let run = search_ok(&[&"add", &catalogue, &good]);
    assert!(run.stderr.contains("nothing added; 3 unchanged, with the same rows"), "{}", run.stderr);
    assert_eq!(fs::read(catalogue.join("catalogue.json")).unwrap(), state, "nothing was written");
    assert_eq!(content(&catalogue).len(), 5);
    assert_whole(&catalogue);
    table(&good, 5..8, |_, _, values| values[0] += 1.0);
    let run = search_ok(&[&"add", &catalogue, &good]);
    assert!(run.stderr.contains("added 3 tracks, 3 of them in place of earlier ones"), "{}", run.stderr);
    // The part of 6 and 7 has no other tracks, and is gone.
    let parts = fs::read_dir(catalogue.join("parts")).unwrap().count();
    assert_eq!((content(&catalogue).len(), parts), (5, 2));
    assert_whole(&catalogue);
}

/// A read-only catalogue can be searched, and nothing in it changes.
#[test]
fn a_read_only_catalogue_can_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let (catalogue, rows) = (folder.path().join("catalogue"), folder.path().join("rows.parquet"));
    table(&rows, 0..3, plain);
    search_ok(&[&"add", &catalogue, &rows]);
    let set = |mode: u32| {
        let folders = [
            catalogue.join("parts/000001/index"),
            catalogue.join("parts/000001"),
            catalogue.join("parts"),
            catalogue.clone(),
        ];
        folders.iter().for_each(|folder| fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap());
    };
    set(0o555);
    let is_enforced = fs::write(catalogue.join("test"), "x").is_err();
    let run = search(&[&"info", &catalogue, &"--json"]);
    assert_eq!(content(&catalogue).len(), 3);
    if is_enforced {
        set(0o755);
        fs::remove_file(catalogue.join("parts/000001/index/tracks.safetensors")).unwrap();
        set(0o555);
        let run = search(&[&"info", &catalogue]);
        assert!(run.code == 2 && run.stderr.contains("its cache must be written again"), "{run:?}");
        set(0o755);
        fs::remove_file(catalogue.join("lock")).unwrap();
        search_ok(&[&"info", &catalogue]);
        set(0o555);
        let run = search(&[&"remove", &catalogue, &"/music/0.flac"]);
        assert!(run.code == 2 && run.stderr.contains("cannot be changed by this user"), "{run:?}");
        assert!(search_ok(&[&"verify", &catalogue, &"--repair"]).stdout.contains("whole"));
    }
    set(0o755);
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stdout.contains("\"tracks\": 3"), "{}", run.stdout);
}

/// Rows in f16 and compressed vectors return the hits of the exact scan, and what searches derived is removed by a repair.
#[test]
fn what_searches_derive_does_not_change_hits_and_can_be_removed() {
    let folder = TempDir::new().unwrap();
    let (catalogue, rows) = (folder.path().join("catalogue"), folder.path().join("rows.parquet"));
    // The first stage is for a small part of a catalogue: 200 candidates are ranked for two hits.
    table(&rows, 0..4500, plain);
    search_ok(&[&"add", &catalogue, &rows]);
    let query = |options: &[&str]| -> serde_json::Value {
        let mut args: Vec<&dyn AsRef<OsStr>> = vec![&"query", &catalogue, &"/music/7.flac", &"--json"];
        args.extend(options.iter().map(|option| option as &dyn AsRef<OsStr>));
        serde_json::from_str(&search_ok(&args).stdout).unwrap()
    };
    let exact = query(&["--top", "2"]);
    let run = search_ok(&[&"compact", &catalogue, &"--index", &"f16"]);
    assert!(run.stderr.contains("wrote its rows in f16, ") && !run.stderr.contains("nothing to do"), "{run:?}");
    let run = search_ok(&[&"compact", &catalogue, &"--index", &"f16"]);
    assert!(run.stderr.contains("its rows in f16, ") && run.stderr.contains(" MB, are there"), "{run:?}");
    let index = |catalogue: &Path| {
        let parts = catalogue.join("parts").join(&Catalogue::open(catalogue).unwrap().manifest().parts[0].name);
        let names =
            fs::read_dir(parts.join("index")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("half.") || name.starts_with("norms.")).collect::<Vec<_>>()
    };
    assert_eq!(query(&["--top", "2"])["hits"], exact["hits"]);
    assert!(index(&catalogue).iter().any(|name| name.starts_with("half.")), "{:?}", index(&catalogue));

    // Ten times as many candidates as are ranked are enough for the best two of these.
    let compressed = query(&["--top", "2", "--compressed-above", "10"]);
    let note = compressed["notes"].to_string();
    assert!(note.contains("4500 vectors were searched in compressed form first: recall@10"), "{note}");
    assert_eq!(compressed["hits"], exact["hits"]);
    assert!(!exact["notes"].to_string().contains("compressed"));

    let noted = search_ok(&[&"verify", &catalogue]);
    assert!(noted.stdout.contains("that searches derive by checksum"), "{noted:?}");
    let part = Catalogue::open(&catalogue).unwrap().manifest().parts[0].name.clone();
    let derived = catalogue.join("parts").join(part).join("index").join(&index(&catalogue)[0]);
    flip(&derived, 0.9);
    let run = search(&[&"verify", &catalogue]);
    assert!(run.code == 1 && run.stderr.contains("its checksum is another"), "{run:?}");
    search_ok(&[&"verify", &catalogue, &"--repair"]);
    assert!(!derived.exists());
    assert_eq!(query(&["--top", "2"])["hits"], exact["hits"]);

    // A compaction keeps the type of the rows, until another is asked for.
    search_ok(&[&"remove", &catalogue, &"/music/4499.flac"]);
    let run = search_ok(&[&"compact", &catalogue]);
    assert!(run.stderr.contains("1 part, ") && run.stderr.contains("wrote its rows in f16, "), "{run:?}");
    assert_eq!(index(&catalogue).iter().filter(|name| name.starts_with("half.")).count(), 4);
    for expected in ["removed its rows in f16: ", "it has no rows in f16 to remove"] {
        let run = search_ok(&[&"compact", &catalogue, &"--index", &"f32"]);
        assert!(run.stderr.contains(expected), "{run:?}");
    }
    assert!(!index(&catalogue).iter().any(|name| name.starts_with("half.")));
}
