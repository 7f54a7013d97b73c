//! Turns of `scripts/bench/search.py`: a catalogue of generated rows, and searches of it, each timed in this process.
//!
//! ```text
//! search_bench generate FOLDER ROWS DIM SEGMENTS_PER_TRACK ROWS_PER_PART
//! search_bench worker FOLDER read | open | scan/QUERIES[/SHARE] | compressed/QUERIES
//! ```
//!
//! A worker prints `{"ready": true}`, and for each line of standard input one of the seconds that it took and the rows found.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::stdin;
use std::path::Path;
use std::time::Instant;

use fixedbitset::FixedBitSet;
use mert_search::{Catalogue, Geometry, Level, NewTrack, Query, Space, Writer};
use mert_table::{MemoryRows, Position, Provenance, SourceFile, write};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde_json::json;

/// The hits of a query.
const HITS: usize = 10;

/// The directions around which rows lie.
const CLUSTERS: usize = 50;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["generate", folder, rows, dim, segments, part] => {
            generate(folder.as_ref(), rows.parse()?, dim.parse()?, segments.parse()?, part.parse()?)
        }
        ["worker", folder, what] => worker(folder.as_ref(), what),
        _ => Err("expected: generate FOLDER ROWS DIM SEGMENTS_PER_TRACK ROWS_PER_PART, or worker FOLDER WHAT".into()),
    }
}

/// Adds generated rows, a part at a time.
fn generate(folder: &Path, rows: usize, dim: usize, segments: usize, part: usize) -> Result<()> {
    let settings: Provenance = serde_json::from_value(json!({
        "generator": "search_bench", "model_sha256": "ab".repeat(32), "license": null, "hidden_states": [6], "pool": "mean",
        "normalize": "none", "window": "sliding:10s/10s", "tail": "align", "damaged": "refuse", "sample_rate": 24000,
        "do_normalize": true, "dim": dim, "frame_hop": 320, "frame_length": 400, "arithmetic": "f32 on cpu",
    }))?;
    let mut random = ChaCha8Rng::seed_from_u64(15);
    let mut vector = |scale: f32| -> Vec<f32> { (0..dim).map(|_| scale * random.random_range(-1.0..1.0)).collect() };
    // As of an encoder: most of a vector is common to all.
    let mean = vector(4.0);
    let clusters: Vec<Vec<f32>> = (0..CLUSTERS).map(|_| vector(1.0)).collect();
    std::fs::create_dir_all(folder)?;
    let table = folder.join("table.parquet");
    for start in (0..rows).step_by(part.max(1)) {
        let mut part_rows = MemoryRows::default();
        for row in start..rows.min(start + part) {
            if row == start || row % segments == 0 {
                part_rows.files.push(SourceFile::new(format!("/music/{row}.flac").as_ref(), None));
            }
            let (window, noise) = ((row % segments) as u32, vector(1.0));
            let cluster = &clusters[row / segments % CLUSTERS];
            let values: Vec<f32> = (0..dim).map(|index| mean[index] + cluster[index] + noise[index]).collect();
            let start = 10.0 * f64::from(window);
            let position = Position { file: part_rows.files.len() - 1, window, frame: None, start, end: start + 10.0 };
            part_rows.push(position, &values);
        }
        write(&table, &settings, &mut part_rows)?;
        Writer::open(folder)?.add(&table, |_| NewTrack::default())?;
        std::fs::remove_file(&table)?;
    }
    Ok(())
}

fn worker(folder: &Path, what: &str) -> Result<()> {
    let catalogue = Catalogue::open(folder)?;
    let space = Space::new(&catalogue, Geometry::of(&catalogue))?;
    let words: Vec<&str> = what.split('/').collect();
    let queries: usize = words.get(1).map_or(Ok(1), |word| word.parse())?;
    let share: f64 = words.get(2).map_or(Ok(1.0), |word| word.parse())?;
    let rows = catalogue.segments();
    let queries: Vec<Query> = (0..queries).map(|index| space.point(Level::Segments, index * (rows / 20) + 7)).collect();
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut wanted = FixedBitSet::with_capacity(rows);
    (0..rows).filter(|_| share >= 1.0 || random.random_bool(share)).for_each(|row| wanted.insert(row));
    println!("{}", json!({"ready": true}));
    for line in stdin().lines() {
        line?;
        let start = Instant::now();
        let hits = match words[0] {
            "read" => {
                let sums = catalogue.vectors(Level::Segments, 0).parts().map(|(_, part)| sum(part.values()));
                std::hint::black_box(sums.sum::<f32>());
                Vec::new()
            }
            "open" => {
                std::hint::black_box(Catalogue::open(folder)?);
                Vec::new()
            }
            "scan" => space.scan(Level::Segments, &queries, &wanted, HITS),
            "compressed" => space.scan_above(Level::Segments, &queries, &wanted, HITS, 1)?.hits,
            other => return Err(format!("unknown turn {other}").into()),
        };
        let seconds = start.elapsed().as_secs_f64();
        let found: Vec<Vec<usize>> = hits.iter().map(|hits| hits.iter().map(|hit| hit.row).collect()).collect();
        println!("{}", json!({"seconds": seconds, "result": found}));
    }
    Ok(())
}

/// A sum of all values by all threads in as many lanes as keep it from being the bottleneck.
fn sum(values: &[f32]) -> f32 {
    let of_chunk = |chunk: &[f32]| {
        let mut lanes = [0.0; 64];
        chunk.as_chunks::<64>().0.iter().for_each(|values| lanes.iter_mut().zip(values).for_each(|(sum, v)| *sum += v));
        lanes.iter().sum::<f32>()
    };
    values.par_chunks(1 << 20).map(of_chunk).sum()
}
