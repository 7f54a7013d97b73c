//! `mert-verify bench`: times forward passes on the CPU or a GPU.

#[cfg(feature = "tch")]
mod against;
mod stdin;
mod table;

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum};
use mert_arch::{Dtype, LayerSelection};
use mert_runtime::{ConvertedFile, DeviceKind, Model};
use mert_verify::bench::{FmaPeak, MemoryWatch, Row, Runtime, Workload, interleaved};
use mert_verify::candidate::SafetensorsFile;
use mert_verify::fixture::Fixture;
use mert_verify::npz;
use serde_json::json;

use crate::hub_inputs;
use mert_cli::hub::Messages;
use mert_cli::terminal::{Exit, print};

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// The converted file, or a model of the hub that holds a converted model.safetensors [default: the built-in
    /// fixture, which is tiny]
    model: Option<PathBuf>,
    /// Seconds of generated audio in a window, up to 600; several, as in 1,5,30, give a row each. Memory that
    /// the allocator keeps after a longer window counts for the rows after it: ascending is best
    #[arg(long, default_value = "5", value_delimiter = ',', value_parser = seconds)]
    seconds: Vec<f64>,
    /// A clip to run instead, .npy or .npz, exactly as it enters the model
    #[arg(long, value_name = "FILE", conflicts_with = "seconds")]
    input: Option<PathBuf>,
    /// Windows in a run, all alike
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=4096))]
    batch: u16,
    /// Runs counted, after one that is not
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,
    /// Threads on the CPU; several, as in 1,2, give a row each [default: one for each core]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Vec<u16>,
    /// Hidden states to return; layers above the highest are not run
    #[arg(long, default_value = "all", allow_hyphen_values = true)]
    layers: LayerSelection,
    #[command(flatten)]
    compute: crate::args::ComputeArgs,
    /// Measure what the processor reaches on nothing but f32 multiply-adds, and show the share of it
    #[arg(long)]
    peak: bool,
    /// Run another engine in this process on the same weights and input, turn by turn, and show the ratio
    /// of the medians. Exit status 1 if the two compute different things
    #[arg(long, value_name = "ENGINE", conflicts_with = "stdin")]
    against: Option<Peer>,
    /// To interleave with other programs: one run for each line read from standard input, answered with a line of
    /// JSON, {"seconds": …}. The first line written, {"ready": …}, says that the model is loaded and one run,
    /// which is not counted, is done; the last one, at the end of input, holds what --json would
    #[arg(long, conflicts_with_all = ["runs", "json"])]
    stdin: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Peer {
    /// libtorch (feature `tch`): eager, with its fused attention
    Tch,
}

fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    if value > 0.0 && value <= 600.0 { Ok(value) } else { Err("expected more than 0 and at most 600 seconds".into()) }
}

impl BenchArgs {
    fn check(&self) -> anyhow::Result<()> {
        let (device, dtype) = (self.compute.device, self.compute.dtype);
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
        #[cfg(not(feature = "tch"))]
        if self.against == Some(Peer::Tch) {
            bail!(
                "--against tch needs libtorch, which this build lacks: build with --features tch (see \
                 scripts/install_libtorch.sh)"
            );
        }
        Ok(())
    }

    fn threads(&self) -> Vec<usize> {
        match self.threads[..] {
            [] => vec![rayon::current_num_threads()],
            _ => self.threads.iter().map(|&threads| threads.into()).collect(),
        }
    }

    fn workloads(&self, model: &Model) -> anyhow::Result<Vec<Workload>> {
        let (config, rate, batch) = (model.config(), model.preprocessor().sampling_rate, self.batch.into());
        let wanted = self.layers.resolve(config.num_hidden_states())?;
        if let Some(input) = &self.input {
            return Ok(vec![Workload::of_clip(config, rate, npz::read_input_values(input)?, batch, &wanted)?]);
        }
        let generated = self.seconds.iter().map(|&seconds| Workload::generated(config, rate, seconds, batch, &wanted));
        Ok(generated.collect::<Result<_, _>>()?)
    }

    fn document(&self, rows: &[Row]) -> serde_json::Value {
        json!({
            "model": self.model, "layers": self.layers.to_string(), "device": self.compute.device.name(),
            "dtype": self.compute.dtype, "rows": rows,
        })
    }
}

pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<Exit> {
    args.check()?;
    let fixture;
    let path = match &args.model {
        Some(model) => {
            let model = hub_inputs::converted(model, Messages::of("mert-verify", false))?;
            SafetensorsFile::path_of(&model)?
        }
        None => {
            fixture = Fixture::unpack()?;
            fixture.model()
        }
    };
    let file = ConvertedFile::open(&path)?;
    let device = args.compute.device.open()?;
    let model = Model::from_file(&file, args.compute.dtype, &device)?;
    let workloads = args.workloads(&model)?;
    let threads = args.threads();
    let mut bench = Bench { args, model: &model, peaks: Vec::new(), rows: Vec::new() };
    #[cfg(feature = "tch")]
    let peer = args.against.map(|Peer::Tch| mert_verify::bench::LibtorchModel::load(&file)).transpose()?;
    // A model that copies its weights has no more use for the file.
    drop(file);
    if args.stdin {
        if let ([workload], [threads]) = (&workloads[..], &threads[..]) {
            bench.on_demand(workload, *threads)?;
        }
        return Ok(Exit::Success);
    }
    for workload in &workloads {
        for &threads in &threads {
            #[cfg(feature = "tch")]
            if let Some(peer) = &peer {
                let peer = mert_verify::bench::Libtorch::new(peer, workload, threads)?;
                if !bench.against(workload, threads, &peer)? {
                    return Ok(Exit::Failure);
                }
                continue;
            }
            bench.alone(workload, threads)?;
        }
    }
    if args.json {
        print(&(serde_json::to_string_pretty(&args.document(&bench.rows))? + "\n"))?;
    } else {
        print(&table::describe(args, &bench.rows))?;
    }
    Ok(Exit::Success)
}

/// The rows so far.
struct Bench<'a> {
    args: &'a BenchArgs,
    model: &'a Model,
    /// Measured once for each number of threads.
    peaks: Vec<(usize, Option<FmaPeak>)>,
    rows: Vec<Row>,
}

impl Bench<'_> {
    fn alone(&mut self, workload: &Workload, threads: usize) -> anyhow::Result<()> {
        let engine = Runtime::new(self.model, workload, threads)?;
        let peak = self.peak(&engine, threads);
        let watch = MemoryWatch::start();
        let timings = interleaved(&[&engine], self.args.runs as usize)?;
        let memory = watch.peak();
        self.rows.extend(timings.into_iter().map(|timing| {
            let row = Row::new(&engine, workload, threads, timing).with_peak(peak);
            Row { peak_memory: memory, ..row }
        }));
        Ok(())
    }

    fn peak(&mut self, engine: &Runtime, threads: usize) -> Option<FmaPeak> {
        if !self.args.peak {
            return None;
        }
        if let Some((_, peak)) = self.peaks.iter().find(|(measured, _)| *measured == threads) {
            return *peak;
        }
        let peak = FmaPeak::measure(engine.pool());
        self.peaks.push((threads, peak));
        peak
    }

    fn on_demand(&mut self, workload: &Workload, threads: usize) -> anyhow::Result<()> {
        let engine = Runtime::new(self.model, workload, threads)?;
        let peak = self.peak(&engine, threads);
        let watch = MemoryWatch::start();
        let Some(timing) = stdin::time(&engine)? else { return Ok(()) };
        let row = Row::new(&engine, workload, threads, timing).with_peak(peak);
        let document = self.args.document(&[Row { peak_memory: watch.peak(), ..row }]);
        Ok(print(&(document.to_string() + "\n"))?)
    }
}
