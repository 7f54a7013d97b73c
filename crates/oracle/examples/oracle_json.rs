//! Oracles of sequences on standard input, for comparisons with other programs: a JSON object a line in, one out.
//!
//! `{"symbols": […]}` or `{"vectors": [[…]], "threshold", "distance", "complete", "grid": [start, stop, step]}`; the answer
//! has `sfx`, `lrs`, `trn`, `rsfx`, `code`, `ir`, and with a grid `best` and `curve`. `{"time": {"kind", "length", "file"}}` builds
//! a generated sequence and answers with the seconds and the peak of resident memory, with `file` also of both file forms.

use std::io::{BufRead, Write};
use std::time::Instant;

use mert_oracle::{
    Distance, FactorOracle, Grid, Links, Matching, Material, OracleFile, Statistics, SuffixMethod, Symbols, Vectors,
    compror, information_rate, threshold_search,
};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::Deserialize;
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[derive(Deserialize)]
struct Query {
    symbols: Option<Vec<u32>>,
    vectors: Option<Vec<Vec<f64>>>,
    #[serde(default)]
    threshold: f64,
    #[serde(default)]
    distance: Distance,
    #[serde(default)]
    complete: bool,
    grid: Option<[f64; 3]>,
    time: Option<Timed>,
}

#[derive(Deserialize)]
struct Timed {
    kind: String,
    length: usize,
    #[serde(default)]
    file: bool,
}

fn main() -> Outcome<()> {
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let query: Query = serde_json::from_str(&line?)?;
        writeln!(output, "{}", answer(query)?)?;
        output.flush()?;
    }
    Ok(())
}

fn answer(query: Query) -> Outcome<Value> {
    if let Some(timed) = query.time {
        return time(&timed);
    }
    if let Some(symbols) = query.symbols {
        return Ok(describe(FactorOracle::build(Symbols::new(), symbols)?.links()));
    }
    let vectors = query.vectors.ok_or("expected `symbols`, `vectors` or `time`")?;
    let method = if query.complete { SuffixMethod::Complete } else { SuffixMethod::Incremental };
    let build = |threshold| {
        let rule = Vectors::new(query.distance, threshold)?;
        Ok(FactorOracle::build_with(rule, method, vectors.iter().map(Vec::as_slice))?.into_links())
    };
    let mut result = describe(&build(query.threshold)?);
    if let Some([start, stop, step]) = query.grid {
        let search = threshold_search(Grid { start, stop, step }, 1.0, build)?;
        result["best"] = json!(search.best);
        result["curve"] = json!(search.curve);
    }
    Ok(result)
}

fn time(timed: &Timed) -> Outcome<Value> {
    let Timed { kind, length, file } = timed;
    let (matching, material) = match kind.strip_prefix("vectors ") {
        Some(dim) => vectors(dim.parse()?, *length),
        None => (Matching::Symbols, Material::Symbols(generate(kind, *length)?)),
    };
    let (seconds, links) = measured(|| Ok(matching.build(&material)?))?;
    let mut result = json!({ "seconds": seconds, "peak_kib": peak_kib(), "statistics": Statistics::of(&links) });
    drop(links);
    if *file {
        let oracle = OracleFile::build(matching, material, Vec::new())?;
        let mut text = Vec::new();
        let (write_json, ()) = measured(|| Ok(oracle.write_json(&mut text)?))?;
        let (read_json, _) = measured(|| Ok(OracleFile::from_bytes(&text)?))?;
        let (write_binary, binary) = measured(|| Ok(oracle.to_binary()?))?;
        let (read_binary, _) = measured(|| Ok(OracleFile::from_bytes(&binary)?))?;
        result["file"] = json!({
            "json_bytes": text.len(), "binary_bytes": binary.len(), "peak_kib": peak_kib(),
            "write_json": write_json, "read_json": read_json, "write_binary": write_binary, "read_binary": read_binary,
        });
    }
    Ok(result)
}

fn measured<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<(f64, T)> {
    let start = Instant::now();
    let result = work()?;
    Ok((start.elapsed().as_secs_f64(), result))
}

/// A loop of 64 vectors of uniform values with noise of 2%, and a threshold between the two.
fn vectors(dim: usize, length: usize) -> (Matching, Material) {
    let mut generator = ChaCha8Rng::seed_from_u64(1);
    let mut uniform = || f64::from(generator.next_u32()) / f64::from(u32::MAX);
    let centres: Vec<Vec<f64>> = (0..64).map(|_| (0..dim).map(|_| uniform()).collect()).collect();
    let noisy = |centre: &Vec<f64>| centre.iter().map(|value| value + 0.02 * uniform()).collect();
    let rows = centres.iter().cycle().take(length).map(noisy).collect();
    let threshold = 0.05 * (dim as f64).sqrt();
    let suffix_method = SuffixMethod::Incremental;
    (Matching::Vectors { distance: Distance::Euclidean, threshold, suffix_method }, Material::Vectors(rows))
}

fn describe(links: &Links) -> Value {
    let states = || 0..links.states();
    let code: Vec<(u32, u32)> = compror(links).into_iter().map(Into::into).collect();
    json!({
        "sfx": states().map(|state| links.sfx(state)).collect::<Vec<_>>(),
        "lrs": states().map(|state| links.lrs(state)).collect::<Vec<_>>(),
        "trn": states().map(|state| links.trn(state).collect()).collect::<Vec<Vec<u32>>>(),
        "rsfx": states().map(|state| links.rsfx(state).collect()).collect::<Vec<Vec<u32>>>(),
        "code": code,
        "ir": information_rate(links, 1.0).rate,
    })
}

/// A sequence by its kind, such as `random 2048`.
fn generate(kind: &str, length: usize) -> Outcome<Vec<u32>> {
    let (name, number) = kind.split_once(' ').unwrap_or((kind, "1"));
    let number: u32 = number.parse()?;
    let mut generator = ChaCha8Rng::seed_from_u64(1);
    Ok(match name {
        "equal" => vec![7; length],
        "distinct" => (0..length as u32).collect(),
        "periodic" => (0..length as u32).map(|at| at % number).collect(),
        "random" => (0..length).map(|_| generator.next_u32() % number).collect(),
        "fibonacci" => {
            let (mut before, mut word) = (vec![1], vec![0]);
            while word.len() < length {
                let next = [word.as_slice(), before.as_slice()].concat();
                before = std::mem::replace(&mut word, next);
            }
            word.truncate(length);
            word
        }
        // Runs of equal tokens, shorter and shorter, each ended by a token of its own.
        "runs" => {
            let run = |at: u32| std::iter::repeat_n(0, number.saturating_sub(at).max(1) as usize).chain([at + 1]);
            (0..).flat_map(run).take(length).collect()
        }
        _ => return Err(format!("unknown kind {name}").into()),
    })
}

/// The peak of resident memory so far, in KiB; 0 where /proc is missing.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
