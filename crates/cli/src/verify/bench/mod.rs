//! `mert-verify bench`: times forward passes on the CPU or a GPU.

mod args;
mod measure;
mod peer;
mod rows;
mod stdin;
mod table;

use mert_cli::hub::Messages;
use mert_cli::terminal::{Exit, print};
use mert_runtime::{ConvertedFile, Model};
use mert_verify::ModelEncoding;
use mert_verify::candidate::converted_file;
use mert_verify::fixture::Fixture;

pub(crate) use self::args::BenchArgs;
use self::args::Peer;
use self::peer::PeerModel;
use self::rows::Bench;
use crate::hub_inputs;

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
    let mut bench = Bench::new(args, &model, ModelEncoding::of(file.metadata()));
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
