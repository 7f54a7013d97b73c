//! The options of `mert-verify bench`, and the workloads that they ask for.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};
use mert_arch::{Dtype, LayerSelection};
use mert_runtime::{DeviceKind, Model, instruction_set};
use mert_verify::{ArithmeticVerdict, ModelEncoding, npz};
use serde_json::json;

use super::measure::{Row, Workload};
use crate::options::ComputeArgs;

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// The converted file, a folder with a model.safetensors, or a model of the hub that holds a converted
    /// model.safetensors (owner/name) [default: the built-in fixture, which is tiny]
    pub(super) model: Option<PathBuf>,
    /// Seconds of generated audio in a window, up to 600; a comma-separated list prints one row per length. Give the lengths
    /// in ascending order: memory that the allocator keeps after a longer window counts for the rows after it
    #[arg(long, default_value = "5", value_delimiter = ',', value_parser = seconds)]
    seconds: Vec<f64>,
    /// A clip to run instead, .npy or .npz, exactly as it enters the model
    #[arg(long, value_name = "FILE", conflicts_with = "seconds")]
    input: Option<PathBuf>,
    /// Number of windows in a run, which are all the same
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(super) batch: u16,
    /// Number of timed runs, after one that is not timed
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) runs: u32,
    /// Number of threads on the CPU; a comma-separated list prints one row per number [default: one for each core]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Vec<u16>,
    /// Hidden states to return; layers above the highest are not run
    #[arg(long, default_value = "all", allow_hyphen_values = true)]
    pub(super) layers: LayerSelection,
    #[command(flatten)]
    pub(super) compute: ComputeArgs,
    /// Measure the processor's peak on multiply-adds of the arithmetic alone, and show the share of it that is reached
    #[arg(long)]
    pub(super) peak: bool,
    /// Run another engine in this process on the same weights and input, interleaved, and show the ratio
    /// of the medians. Exit status 1 if their hidden states differ
    #[arg(long, value_name = "ENGINE", conflicts_with = "stdin")]
    pub(super) against: Option<Peer>,
    /// Run once for each line of standard input, for interleaving with other programs. Each run is answered with a line
    /// of JSON, {"seconds": …}. The first line, {"ready": …}, is written when the model is loaded and one run, which is
    /// not timed, is done; the last one, at the end of input, is the document of --json
    #[arg(long, conflicts_with_all = ["runs", "json"])]
    pub(super) stdin: bool,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// The engine to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Peer {
    /// libtorch (feature `tch`): eager, with its fused attention
    Tch,
}

fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if value > 0.0 && value <= 600.0 { Ok(value) } else { Err("expected more than 0 and at most 600 seconds".into()) }
}

impl BenchArgs {
    /// Checks that the options go together.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let (device, dtype) = (self.compute.device, self.compute.dtype());
        if self.peak && device != DeviceKind::Cpu {
            bail!("--peak measures the CPU; leave it out, or --device {device}");
        }
        if self.against.is_some() && (device != DeviceKind::Cpu || dtype != Dtype::F32) {
            bail!(
                "--against tch computes in f32 on the CPU, not in {dtype} on {device}; leave --dtype and --device out"
            );
        }
        if self.stdin && self.seconds.len().max(self.threads.len()) > 1 {
            bail!("--stdin times one row; give one number of --seconds and of --threads");
        }
        Ok(())
    }

    /// The numbers of threads to measure with.
    pub(super) fn threads(&self) -> Vec<usize> {
        match self.threads[..] {
            [] => vec![rayon::current_num_threads()],
            _ => self.threads.iter().map(|&threads| threads.into()).collect(),
        }
    }

    /// The workloads to measure.
    pub(super) fn workloads(&self, model: &Model) -> anyhow::Result<Vec<Workload>> {
        let (config, rate, batch) = (model.config(), model.preprocessor().sampling_rate, self.batch.into());
        let wanted = self.layers.resolve(config.num_hidden_states())?;
        if let Some(input) = &self.input {
            return Ok(vec![Workload::of_clip(config, rate, npz::read_input_values(input)?, batch, &wanted)?]);
        }
        let generated = self.seconds.iter().map(|&seconds| Workload::generated(config, rate, seconds, batch, &wanted));
        generated.collect()
    }

    /// The result as JSON.
    pub(super) fn document(
        &self,
        weights: &ModelEncoding,
        (arithmetic, int8): (Option<&ArithmeticVerdict>, Option<&str>),
        rows: &[Row],
    ) -> serde_json::Value {
        let against_f32 = arithmetic.map(|verdict| {
            json!({ "nmse": verdict.nmse(), "pooled_cosine": verdict.pooled_cosine(), "frame_cosine": verdict.frame_cosine() })
        });
        json!({
            "model": self.model, "layers": self.layers.to_string(), "device": self.compute.device.name(),
            "weights": weights.to_string(), "dtype": self.compute.dtype(), "instructions": instruction_set(), "against_f32": against_f32, "int8": int8,
            "rows": rows,
        })
    }
}
