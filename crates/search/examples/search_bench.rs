//! Turns of `scripts/bench/search.py`: a catalogue of generated rows, and searches of it, each timed in this process.
//!
//! ```text
//! search_bench generate FOLDER ROWS DIM SEGMENTS_PER_TRACK ROWS_PER_PART
//! search_bench worker FOLDER WHAT
//! ```
//!
//! | WHAT | |
//! |---|---|
//! | `read` | sums up all values of the matrix |
//! | `open` | opens the catalogue |
//! | `scan/QUERIES[/SHARE]` | an exact search, of a share of the rows |
//! | `half/QUERIES[/SHARE]` | the same with rows in f16 |
//! | `compressed/QUERIES[/SHARE]` | a search with a compressed first stage |
//! | `add/TRACKS/SEGMENTS` | adds as many tracks of as many segments to the catalogue as it was generated |
//!
//! A worker prints `{"ready": true, "about": …}`, and for each line of standard input the seconds that it took and the rows
//! found. What changes a catalogue does so beside it, in a folder of hard links.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::io::stdin;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fixedbitset::FixedBitSet;
use mert_search::{Catalogue, Geometry, Level, NewTrack, Query, Space, Writer, build_half};
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

/// Generated rows: most of each is common to all, as in an encoder's, the rest lies around some directions.
struct Generator {
    random: ChaCha8Rng,
    mean: Vec<f32>,
    clusters: Vec<Vec<f32>>,
    segments: usize,
}

impl Generator {
    fn new(dim: usize, segments: usize) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(15);
        let mean = vector(&mut random, dim, 4.0);
        let clusters = (0..CLUSTERS).map(|_| vector(&mut random, dim, 1.0)).collect();
        Generator { random, mean, clusters, segments }
    }

    /// Writes a table of the rows `rows`, those of whole tracks in files that begin with `prefix`.
    fn write(&mut self, table: &Path, rows: std::ops::Range<usize>, prefix: &str) -> Result<()> {
        let (dim, first) = (self.mean.len(), rows.start);
        let settings: Provenance = serde_json::from_value(json!({
            "generator": "search_bench", "model_sha256": "ab".repeat(32), "license": null, "hidden_states": [6], "pool": "mean",
            "normalize": "none", "window": "sliding:10s/10s", "tail": "align", "damaged": "refuse", "sample_rate": 24000,
            "do_normalize": true, "dim": dim, "frame_hop": 320, "frame_length": 400, "arithmetic": "f32 on cpu",
        }))?;
        let mut written = MemoryRows::default();
        for row in rows {
            if row == first || row % self.segments == 0 {
                written.files.push(SourceFile::new(format!("{prefix}{row}.flac").as_ref(), None));
            }
            let (window, noise) = ((row % self.segments) as u32, vector(&mut self.random, dim, 1.0));
            let cluster = &self.clusters[row / self.segments % CLUSTERS];
            let values: Vec<f32> = (0..dim).map(|index| self.mean[index] + cluster[index] + noise[index]).collect();
            let start = 10.0 * f64::from(window);
            let position = Position { file: written.files.len() - 1, window, frame: None, start, end: start + 10.0 };
            written.push(position, &values);
        }
        Ok(write(table, &settings, &mut written)?)
    }
}

fn vector(random: &mut ChaCha8Rng, dim: usize, scale: f32) -> Vec<f32> {
    (0..dim).map(|_| scale * random.random_range(-1.0..1.0)).collect()
}

/// Adds generated rows, a part at a time.
fn generate(folder: &Path, rows: usize, dim: usize, segments: usize, part: usize) -> Result<()> {
    let mut generator = Generator::new(dim, segments);
    folder.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    // Beside the catalogue: one is not made in a folder with other files.
    let table = PathBuf::from(format!("{}-rows.parquet", folder.display()));
    for start in (0..rows).step_by(part.max(1)) {
        generator.write(&table, start..rows.min(start + part), "/music/")?;
        Writer::open(folder)?.add(&table, |_| NewTrack::default())?;
        std::fs::remove_file(&table)?;
    }
    Ok(())
}

/// A catalogue with the same files, in a folder beside it.
fn linked(folder: &Path, name: &str) -> Result<PathBuf> {
    fn link(from: &Path, to: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(to)?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            let target = to.join(entry.file_name());
            match entry.file_type()?.is_dir() {
                true => link(&entry.path(), &target)?,
                false => std::fs::hard_link(entry.path(), target)?,
            }
        }
        Ok(())
    }
    let path = PathBuf::from(format!("{}-{name}", folder.display()));
    if path.exists() {
        std::fs::remove_dir_all(&path)?;
    }
    link(folder, &path)?;
    Ok(path)
}

fn worker(folder: &Path, what: &str) -> Result<()> {
    let words: Vec<&str> = what.split('/').collect();
    if let ["add", tracks, segments] = words[..] {
        return adding(folder, tracks.parse()?, segments.parse()?);
    }
    let folder = if words[0] == "half" { linked(folder, "half")? } else { folder.to_path_buf() };
    let catalogue = Catalogue::open(&folder)?;
    let space = Space::new(&catalogue, Geometry::of(&catalogue))?;
    let queries: usize = words.get(1).map_or(Ok(1), |word| word.parse())?;
    let share: f64 = words.get(2).map_or(Ok(1.0), |word| word.parse())?;
    let rows = catalogue.segments();
    let queries: Vec<Query> = (0..queries).map(|index| space.point(Level::Segments, index * (rows / 20) + 7)).collect();
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut wanted = FixedBitSet::with_capacity(rows);
    (0..rows).filter(|_| share >= 1.0 || random.random_bool(share)).for_each(|row| wanted.insert(row));
    let start = Instant::now();
    let about = match words[0] {
        "half" => {
            build_half(&catalogue)?;
            json!({"seconds": start.elapsed().as_secs_f64()})
        }
        "compressed" => {
            let recall = space.scan_above(Level::Segments, &queries, &wanted, HITS, 1)?.recall;
            json!({"seconds": start.elapsed().as_secs_f64(), "recall": recall})
        }
        _ => json!({}),
    };
    println!("{}", json!({"ready": true, "about": about}));
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
                std::hint::black_box(Catalogue::open(&folder)?);
                Vec::new()
            }
            "scan" | "half" => space.scan(Level::Segments, &queries, &wanted, HITS),
            "compressed" => space.scan_above(Level::Segments, &queries, &wanted, HITS, 1)?.hits,
            other => return Err(format!("unknown turn {other}").into()),
        };
        let seconds = start.elapsed().as_secs_f64();
        let found: Vec<Vec<usize>> = hits.iter().map(|hits| hits.iter().map(|hit| hit.row).collect()).collect();
        println!("{}", json!({"seconds": seconds, "result": found}));
    }
    Ok(())
}

/// Adds a table of new tracks to the catalogue as it was, again with each line of standard input.
fn adding(folder: &Path, tracks: usize, segments: usize) -> Result<()> {
    let table = PathBuf::from(format!("{}-add.parquet", folder.display()));
    let dim = Catalogue::open(folder)?.groups()[0].dim;
    Generator::new(dim, segments).write(&table, 0..tracks * segments, "/new/")?;
    println!("{}", json!({"ready": true, "about": {}}));
    for line in stdin().lines() {
        line?;
        let changed = linked(folder, "add")?;
        let start = Instant::now();
        Writer::open(&changed)?.add(&table, |_| NewTrack::default())?;
        let seconds = start.elapsed().as_secs_f64();
        println!("{}", json!({"seconds": seconds, "result": []}));
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
