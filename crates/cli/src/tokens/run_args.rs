//! The options of all subcommands that run a model on files.

use std::num::NonZero;
use std::path::PathBuf;

use clap::Args;
use mert_audio::ReadOptions;
use mert_cli::embedding::Damaged;
use mert_runtime::{DeviceKind, Dtype};

/// The options of running a model on files.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The device that runs the model: cpu, metal (mps), cuda, or auto
    #[arg(long, default_value = "cpu")]
    pub(crate) device: DeviceKind,
    /// The arithmetic: f32, or on a GPU f16 or bf16
    #[arg(long, default_value = "f32")]
    pub(crate) dtype: Dtype,
    /// Files that are damaged or end too early
    #[arg(long, value_enum, default_value_t = Damaged::Skip)]
    damaged: Damaged,
    /// Decode formats that are not supported (WMA, APE, AC-3, HE-AAC, …) with the installed ffmpeg
    #[arg(long)]
    ffmpeg: bool,
    /// A file with a file or folder on each line, or a playlist (.m3u, .m3u8, .pls)
    #[arg(long, value_name = "FILE")]
    pub(crate) list: Option<PathBuf>,
    /// The number of decoding threads [default: one per processor, at most 4]; the model runs on all processors
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Write a line of JSON for each file that was left out: its name, a reason and the message
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Print nothing but errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

impl RunArgs {
    /// The options for decoding.
    pub(crate) fn read_options(&self) -> anyhow::Result<ReadOptions> {
        if self.ffmpeg {
            mert_audio::ffmpeg_version()?;
        }
        Ok(ReadOptions { damage: self.damaged.into(), ffmpeg: self.ffmpeg })
    }

    /// The number of decoding threads.
    pub(crate) fn jobs(&self) -> NonZero<usize> {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        NonZero::new(self.jobs.map_or(processors.min(4), usize::from)).unwrap_or(NonZero::<usize>::MIN)
    }
}
