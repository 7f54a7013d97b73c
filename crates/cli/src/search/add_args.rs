//! The command line of `mert-search add`.

use std::path::PathBuf;

use clap::Args;
use mert_arch::LayerSelection;
use mert_audio::{Tail, WindowPolicy};
use mert_cli::embedding::{Damaged, RunArgs};
use mert_runtime::{ComputeType, DeviceKind};

/// The options of `mert-search add`.
#[derive(Debug, Args)]
#[command(
    after_help = "Files that the catalogue has, unchanged, are skipped; changed ones are embedded again; a file that was \
    moved keeps its rows. The options of embedding are those of the first addition: later ones take them, and the \
    model, from the catalogue. A new catalogue has by default three hidden states, a twelfth, a half and three quarters \
    of the way up (1,6,9 of 12 layers), windows sliding:10s/10s, tail align, damaged files left out, and f32 on the \
    processor. For a table --model is only remembered, for queries by files. A file that cannot be read is reported and left out. An interrupted addition continues \
    when the same command is given again. Exit status: 0 all added, 1 some files left out, 2 nothing added, 130 \
    interrupted."
)]
pub(crate) struct AddArgs {
    /// The catalogue's folder, which is made if it does not exist
    pub(super) catalogue: PathBuf,
    /// Audio files, folders of them, playlists, or tables (.parquet) that mert-embed wrote
    #[arg(value_name = "INPUT", required_unless_present = "list")]
    pub(super) inputs: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) embedding: EmbeddingArgs,
    /// A file with a file or folder on each line, or a playlist (.m3u, .m3u8, .pls)
    #[arg(long, value_name = "FILE")]
    pub(super) list: Option<PathBuf>,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

/// The options that decide the rows of a catalogue, which it records, and what is measured beside them.
#[derive(Debug, Args)]
pub(crate) struct EmbeddingArgs {
    /// The model: a file that mert-convert wrote, a folder that holds it, or a model of the hub (owner/name); given again for
    /// each further encoder [default: that of the catalogue]
    #[arg(long, value_name = "MODEL")]
    pub(super) model: Vec<PathBuf>,
    /// The hidden states: 6, all, -1 (the last), 1,6,9 or 0-12 [default: those of the catalogue]
    #[arg(long, allow_hyphen_values = true)]
    pub(super) layers: Option<LayerSelection>,
    /// The windows, each of which becomes a segment: whole, middle:30s or sliding:10s/5s [default: those of
    /// the catalogue]
    #[arg(long)]
    pub(super) window: Option<WindowPolicy>,
    /// The remainder of a track that sliding windows do not cover: align (a last window that ends with the track), keep (a
    /// shorter window, from a second on) or drop [default: as in the catalogue]
    #[arg(long)]
    pub(super) tail: Option<Tail>,
    /// Files that are damaged or end too early [default: as in the catalogue]
    #[arg(long, value_enum)]
    pub(super) damaged: Option<Damaged>,
    /// Decode formats that mert-search does not support (WMA, APE, AC-3, HE-AAC, …) with the installed ffmpeg
    #[arg(long)]
    pub(super) ffmpeg: bool,
    /// The device that runs the model: cpu, metal (mps), cuda, or auto [default: that of the catalogue]
    #[arg(long)]
    pub(super) device: Option<DeviceKind>,
    /// The arithmetic: f32; on the CPU also bf16 or int8; on a GPU f16 or bf16 [default: that of the catalogue]
    #[arg(long)]
    pub(super) dtype: Option<ComputeType>,
    /// Do not measure the loudness of files, for which each is decoded once more
    #[arg(long)]
    pub(super) no_loudness: bool,
}
