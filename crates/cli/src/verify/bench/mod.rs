//! `mert-verify bench`: times forward passes on the CPU or a GPU.

mod args;
mod measure;
mod peer;
mod rows;
mod stdin;
mod table;

use candle_core::Device;
use mert_cli::hub::Messages;
use mert_cli::terminal::{Exit, print, say};
use mert_runtime::{ComputeType, ConvertedFile, Model};
use mert_verify::candidate::converted_file;
use mert_verify::fixture::Fixture;
use mert_verify::{ArithmeticVerdict, ModelEncoding};

pub(crate) use self::args::BenchArgs;
use self::args::Peer;
use self::measure::Workload;
use self::peer::PeerModel;
use self::rows::Bench;
use crate::hub_inputs;

/// Compares an arithmetic of the CPU other than f32 with f32 on every clip to be timed, and returns the worst verdict, with the
/// seconds of its clip: a time says nothing of a pass that computes something else.
fn arithmetic_verdict(
    file: &ConvertedFile,
    model: &Model,
    workloads: &[Workload],
) -> anyhow::Result<Option<(ArithmeticVerdict, f64)>> {
    if !model.computes_on_cpu() || model.compute_type() == ComputeType::F32 {
        return Ok(None);
    }
    let reference = Model::from_file(file, ComputeType::F32, &Device::Cpu)?;
    let mut worst: Option<(ArithmeticVerdict, f64)> = None;
    for workload in workloads {
        let verdict = ArithmeticVerdict::of(model, &reference, workload.clip())?;
        // A failure is worse than any pass, and a cosine that is not a number is a failure.
        let rank = |verdict: &ArithmeticVerdict| (verdict.passed(), verdict.pooled_cosine());
        if worst.as_ref().is_none_or(|(worst, _)| rank(&verdict) < rank(worst)) {
            worst = Some((verdict, workload.audio_seconds()));
        }
    }
    Ok(worst)
}

pub(crate) fn run(args: &BenchArgs) -> anyhow::Result<Exit> {
    args.check()?;
    let fixture;
    let path = match &args.model {
        Some(model) => converted_file(&hub_inputs::converted(model, Messages::of("mert-verify", false))?)?,
        None => {
            fixture = Fixture::unpack()?;
            fixture.model()
        }
    };
    let file = ConvertedFile::open(&path)?;
    let device = args.compute.device.open()?;
    let model = Model::from_file(&file, args.compute.dtype(), &device)?;
    let workloads = args.workloads(&model)?;
    let threads = args.threads();
    let arithmetic = match arithmetic_verdict(&file, &model, &workloads)? {
        Some((verdict, seconds)) if !verdict.passed() => {
            let failure = verdict.failure().unwrap_or_default();
            say(&format!(
                "mert-verify: in {} arithmetic the model does not compute what it computes in f32, on the clip of {seconds} s: \
                 {failure}; nothing was timed",
                verdict.compute
            ));
            return Ok(Exit::Failure);
        }
        worst => worst.map(|(verdict, _)| verdict),
    };
    let int8 = (args.compute.dtype() == ComputeType::Int8).then(|| file.metadata().int8_note());
    let mut bench = Bench::new(args, &model, ModelEncoding::of(file.metadata()), arithmetic, int8);
    let peer = args.against.map(|Peer::Tch| PeerModel::load(&file)).transpose()?;
    // A model that copies its weights no longer needs the file.
    drop(file);
    if args.stdin {
        if let ([workload], [threads]) = (&workloads[..], &threads[..]) {
            bench.on_demand(workload, *threads)?;
        }
        return Ok(Exit::Success);
    }
    for workload in &workloads {
        for &threads in &threads {
            if let Some(peer) = &peer {
                if !bench.against(workload, threads, peer.engine(workload, threads)?.as_ref())? {
                    return Ok(Exit::Failure);
                }
                continue;
            }
            bench.alone(workload, threads)?;
        }
    }
    if args.json {
        print(&(serde_json::to_string_pretty(&bench.document())? + "\n"))?;
    } else {
        print(&bench.table())?;
    }
    Ok(Exit::Success)
}
