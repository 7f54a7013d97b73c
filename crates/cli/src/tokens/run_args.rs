//! The options that subcommands share: of a model, of decoding, of a list of files, and all of them together.

use std::num::NonZero;
use std::path::{Path, PathBuf};

use clap::Args;
use mert_audio::ReadOptions;
use mert_cli::embedding::{ArithmeticChoice, Damaged};
use mert_embed::failures::{self, Failure};
use mert_runtime::{ComputeType, DeviceKind};

/// The options of a model.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// The device that runs the model: cpu, metal (mps), cuda, or auto
    #[arg(long, default_value = "cpu")]
    pub(crate) device: DeviceKind,
    /// The arithmetic: f32; on the CPU also bf16 or int8, which are faster where it has instructions for them; on a GPU f16 or bf16
    #[arg(long, default_value = "f32")]
    pub(crate) dtype: ComputeType,
    /// Compute on the CPU in the fastest of int8, bf16 and f32 that keeps the embeddings of this model: pooled cosine above 0.999
    /// and no frame below 0.99 on a generated clip, measured once and remembered
    #[arg(long, conflicts_with = "dtype")]
    pub(crate) fast: bool,
    /// Print nothing but errors
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

impl ModelArgs {
    /// The arithmetic that is asked for.
    pub(crate) fn arithmetic(&self) -> ArithmeticChoice {
        if self.fast { ArithmeticChoice::Fastest } else { ArithmeticChoice::As(self.dtype) }
    }
}

/// The options of decoding.
#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    /// Files that are damaged or end too early
    #[arg(long, value_enum, default_value_t = Damaged::Skip)]
    damaged: Damaged,
    /// Decode formats that are not supported (WMA, APE, AC-3, HE-AAC, …) with the installed ffmpeg
    #[arg(long)]
    ffmpeg: bool,
}

/// The options of a list of files.
#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// A file with a file or folder on each line, or a playlist (.m3u, .m3u8, .pls)
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Write a line of JSON for each file that was left out: its name, a reason and the message
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// The options of running a model on files.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) read: ReadArgs,
    #[command(flatten)]
    pub(crate) files: FileArgs,
    /// The number of decoding threads [default: one per processor, at most 4]; the model runs on all processors
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

impl ReadArgs {
    /// The options for decoding.
    ///
    /// # Errors
    /// If `--ffmpeg` is given and there is none.
    pub(crate) fn options(&self) -> anyhow::Result<ReadOptions> {
        if self.ffmpeg {
            mert_audio::ffmpeg_version()?;
        }
        Ok(ReadOptions { damage: self.damaged.into(), ffmpeg: self.ffmpeg })
    }
}

impl FileArgs {
    /// The file that names inputs.
    pub(crate) fn list(&self) -> Option<&Path> {
        self.list.as_deref()
    }

    /// Writes the files that were left out, if a report is asked for.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn write_report(&self, failures: &[Failure]) -> anyhow::Result<()> {
        match &self.report {
            Some(report) => Ok(failures::write_report(report, failures)?),
            None => Ok(()),
        }
    }
}

impl RunArgs {
    /// True if nothing but errors is printed.
    pub(crate) fn quiet(&self) -> bool {
        self.model.quiet
    }

    /// The number of decoding threads.
    pub(crate) fn jobs(&self) -> NonZero<usize> {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        NonZero::new(self.jobs.map_or(processors.min(4), usize::from)).unwrap_or(NonZero::<usize>::MIN)
    }
}
