//! Embeds files of raw f32 samples, for `scripts/check/clap.py`: one JSON object a line with every step of the way. With
//! `--modes FILE` also the scores of its modes, with `--time` only the milliseconds of each of 9 runs.
//!
//! Usage: clap_embed CHECKPOINT SAMPLES.f32… [--modes MODES.json] [--time]

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use mert_clap::{ClapAudio, Modes};
use serde_json::json;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("clap_embed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let clap = ClapAudio::open(Path::new(&arguments.next().ok_or("a checkpoint is missing")?))?;
    let (mut files, mut modes, mut time) = (Vec::new(), None, false);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--modes" => modes = Some(Modes::read(Path::new(&arguments.next().ok_or("--modes needs a file")?))?),
            "--time" => time = true,
            _ => files.push(argument),
        }
    }
    if let Some(modes) = &modes {
        modes.check_checkpoint(clap.sha256())?;
    }
    for file in files {
        let samples: Vec<f32> = std::fs::read(file)?.as_chunks().0.iter().map(|&c| f32::from_le_bytes(c)).collect();
        if time {
            let timed = |_| -> Result<f64, Box<dyn Error>> {
                let start = Instant::now();
                clap.embed(&samples)?;
                Ok(start.elapsed().as_secs_f64() * 1e3)
            };
            println!("{}", json!({ "ms": (0..9).map(timed).collect::<Result<Vec<_>, _>>()? }));
            continue;
        }
        let trace = clap.trace(&samples)?;
        let scores = modes.as_ref().map(|modes| modes.scores(&trace.vector)).transpose()?;
        println!(
            "{}",
            json!({ "mel": trace.mel, "pooled": trace.pooled, "projected": trace.projected, "vector": trace.vector,
                    "scores": scores, "sha256": clap.sha256() })
        );
    }
    Ok(())
}
