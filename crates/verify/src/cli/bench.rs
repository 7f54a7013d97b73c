use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use mert_runtime::Model;
use mert_spec::LayerSelection;
use mert_verify::bench::{BenchOptions, BenchResult, bench};
use mert_verify::fixture::Fixture;
use mert_verify::job::model_file;
use serde_json::json;

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// The converted file [default: the built-in fixture, which is tiny]
    model: Option<PathBuf>,
    /// Seconds of audio in a run, up to 600
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    /// Runs counted, after one that is not
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    /// Threads on the CPU [default: one for each core]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Hidden states to return; layers above the highest are not run
    #[arg(long, default_value = "all")]
    layers: LayerSelection,
    #[command(flatten)]
    compute: super::ComputeArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if value > 0.0 && value <= 600.0 { Ok(value) } else { Err("expected more than 0 and at most 600 seconds".into()) }
}

pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<()> {
    if let Some(threads) = args.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads.into())
            .build_global()
            .context("setting the number of threads")?;
    }
    let threads = rayon::current_num_threads();
    let fixture;
    let file = match &args.model {
        Some(model) => model_file(model),
        None => {
            fixture = Fixture::unpack()?;
            fixture.model()
        }
    };
    let model = Model::open(&file, args.compute.dtype, &args.compute.device.open()?)?;
    let layers = args.layers.resolve(model.config().num_hidden_states())?;
    let result = bench(&model, &BenchOptions { seconds: args.seconds, runs: args.runs as usize, layers })?;
    if args.json {
        let (device, dtype) = (args.compute.device.name(), args.compute.dtype);
        let document = json!({
            "model": args.model, "layers": args.layers.to_string(), "device": device, "dtype": dtype,
            "threads": threads, "result": result,
        });
        return super::print(&(serde_json::to_string_pretty(&document)? + "\n"));
    }
    super::print(&describe(args, threads, &result))
}

fn describe(args: &BenchArgs, threads: usize, result: &BenchResult) -> String {
    let BenchResult { audio_seconds, frames, median, min, max, gflops, real_time_factor, seconds, .. } = result;
    format!(
        "{audio_seconds} s of audio, {frames} frames, hidden states {}, {} on {} ({threads} threads), {} runs\n\
         median {median:.3} s (from {min:.3} to {max:.3}), {gflops:.0} GFLOP/s, {real_time_factor:.1} times real time\n",
        args.layers,
        args.compute.dtype,
        args.compute.device,
        seconds.len(),
    )
}
