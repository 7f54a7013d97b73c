//! Catalogues for tests: generated vectors of tracks by artists, in tables as mert-embed writes them.

use std::path::Path;

use mert_table::{FileVersion, MemoryRows, Position, Provenance, SourceFile, write};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::catalogue::{NewTrack, Value};
use crate::{Catalogue, Writer};

/// The settings of a table with `groups` hidden states, 1, 2, …, of `dim` values.
pub(crate) fn settings(groups: usize, dim: usize) -> Provenance {
    let json = serde_json::json!({
        "generator": "mert-embed 0.1.0", "model_sha256": "ab".repeat(32), "license": null,
        "hidden_states": (1..=groups).collect::<Vec<_>>(), "pool": "mean", "normalize": "none",
        "window": "sliding:10s/10s", "tail": "align", "damaged": "refuse", "sample_rate": 24000, "do_normalize": true,
        "dim": dim, "frame_hop": 320, "frame_length": 400, "arithmetic": "f32 on cpu",
    });
    serde_json::from_value(json).unwrap()
}

/// A catalogue in `folder` of tracks `music/0.flac`, …, three segments each of 10 s, with two groups of 16 values: a common
/// mean, five artists with a direction each, and noise. Columns: `artist`, `album`, `genre` and `bpm`, each unknown for
/// some.
pub(crate) fn catalogue(folder: &Path, tracks: usize) -> Catalogue {
    const DIM: usize = 16;
    let mut random = ChaCha8Rng::seed_from_u64(15);
    let mut vector =
        |scale: f32| -> Vec<f32> { (0..2 * DIM).map(|_| scale * random.random_range(-1.0..1.0)).collect() };
    let mean = vector(4.0);
    let artists: Vec<Vec<f32>> = (0..5).map(|_| vector(1.0)).collect();
    let mut rows = MemoryRows::default();
    for track in 0..tracks {
        let path = format!("music/{track}.flac");
        let version = FileVersion { size: 1000 + track as u64, modified: 0 };
        rows.files.push(SourceFile::new(path.as_ref(), Some(version)));
        for window in 0..3 {
            let values: Vec<f32> = std::iter::zip(&mean, &artists[track % 5])
                .zip(vector(1.0))
                .map(|((mean, artist), noise)| mean + artist + noise)
                .collect();
            let start = 10.0 * f64::from(window);
            rows.push(Position { file: track, window, frame: None, start, end: start + 10.0 }, &values);
        }
    }
    std::fs::create_dir_all(folder).unwrap();
    let table = folder.join("table.parquet");
    write(&table, &settings(2, DIM), &mut rows).unwrap();
    let folder = folder.join("catalogue");
    let about = |file: &str| {
        let track: usize = file.trim_start_matches("music/").trim_end_matches(".flac").parse().unwrap();
        let mut about = NewTrack { duration: Some(30.0 + track as f64 / 10.0), ..NewTrack::default() };
        let mut text = |name: &str, text: String| about.metadata.insert(name.into(), Value::Texts(vec![text]));
        if track % 7 != 6 {
            text("artist", format!("artist {}", track % 5));
        }
        text("album", format!("album {}", track % 10));
        text("genre", ["rock", "jazz"][track % 5 % 2].into());
        if track % 3 != 2 {
            about.metadata.insert("bpm".into(), Value::Number(60.0 + track as f64));
        }
        about
    };
    Writer::open(&folder).unwrap().add(&table, about).unwrap();
    Catalogue::open(&folder).unwrap()
}

/// A catalogue in `folder` of a track of one segment for each of `vectors`, each with `groups` groups of `dim` values.
pub(crate) fn catalogue_of(folder: &Path, groups: usize, dim: usize, vectors: &[Vec<f32>]) -> Catalogue {
    let mut rows = MemoryRows::default();
    for (track, values) in vectors.iter().enumerate() {
        rows.files.push(SourceFile::new(format!("music/{track}.flac").as_ref(), None));
        rows.push(Position { file: track, window: 0, frame: None, start: 0.0, end: 10.0 }, values);
    }
    std::fs::create_dir_all(folder).unwrap();
    let table = folder.join("table.parquet");
    write(&table, &settings(groups, dim), &mut rows).unwrap();
    let folder = folder.join("catalogue");
    Writer::open(&folder).unwrap().add(&table, |_| NewTrack::default()).unwrap();
    Catalogue::open(&folder).unwrap()
}

/// A catalogue in `folder` of a track of one segment for each file, some with a title.
pub(crate) fn catalogue_named(folder: &Path, files: &[(&str, Option<&str>)]) -> Catalogue {
    let mut rows = MemoryRows::default();
    for (track, (file, _)) in files.iter().enumerate() {
        rows.files.push(SourceFile::new(file.as_ref(), None));
        let values: Vec<f32> = (0..4).map(|value| (track * 4 + value) as f32 + 1.0).collect();
        rows.push(Position { file: track, window: 0, frame: None, start: 0.0, end: 10.0 }, &values);
    }
    std::fs::create_dir_all(folder).unwrap();
    let table = folder.join("table.parquet");
    write(&table, &settings(1, 4), &mut rows).unwrap();
    let folder = folder.join("catalogue");
    let about = |file: &str| {
        let title = files.iter().find(|(other, _)| *other == file).and_then(|(_, title)| *title);
        let metadata = title.map(|title| ("title".to_string(), Value::Texts(vec![title.to_string()])));
        NewTrack { metadata: metadata.into_iter().collect(), ..NewTrack::default() }
    };
    Writer::open(&folder).unwrap().add(&table, about).unwrap();
    Catalogue::open(&folder).unwrap()
}
