//! Oracles of sequences on standard input, for comparisons with other programs: a JSON object a line in, one out.
//!
//! `{"symbols": […]}` or `{"vectors": [[…]], "threshold", "distance", "complete", "grid": [start, stop, step]}`; the answer
//! has `sfx`, `lrs`, `trn`, `rsfx`, `code`, `ir`, and with a grid `best` and `curve`. `{"time": {"kind", "length"}}` builds a
//! generated sequence and answers with the seconds and the peak of resident memory.

use std::io::{BufRead, Write};
use std::time::Instant;

use mert_oracle::{
    Distance, FactorOracle, Grid, Links, Statistics, SuffixMethod, Symbols, Vectors, compror, information_rate,
    threshold_search,
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
    if let Some(Timed { kind, length }) = query.time {
        let symbols = generate(&kind, length)?;
        let start = Instant::now();
        let oracle = FactorOracle::build(Symbols::new(), symbols.iter())?;
        let seconds = start.elapsed().as_secs_f64();
        let statistics = Statistics::of(oracle.links());
        return Ok(json!({ "seconds": seconds, "peak_kib": peak_kib(), "statistics": statistics }));
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
