//! The options of `mert-convert` that choose the bits of each layer by measurement.

use std::path::PathBuf;

use mert_budget::{AudioSource, Budget, ByteSize, Goal};

/// The options of the precision budget.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Precision budget")]
pub(super) struct BudgetArgs {
    /// Choose the bits of each linear layer, 2 to 8 or the float type, for a small file in which every hidden state is
    /// within these limits on held-out audio: pooled>=COSINE (of the means over frames), frame>=COSINE (of every frame),
    /// nmse<=NUMBER, separated by commas
    #[arg(long, value_name = "LIMITS", conflicts_with_all = ["size", "q_bits", "q_mode"])]
    budget: Option<Budget>,
    /// Choose the bits of each linear layer for the smallest error in a file (of a folder, its model.safetensors) of at most
    /// this size: 60MB, 60MiB or a number of bytes
    #[arg(long, value_name = "SIZE", conflicts_with_all = ["q_bits", "q_mode"])]
    size: Option<ByteSize>,
    /// A folder of audio files to measure on: 5 s from the middle of up to 8 of them, 2 to choose by and the others held out
    /// [default: generated music]
    #[arg(long, value_name = "DIR", requires = "goal")]
    calibration: Option<PathBuf>,
}

impl BudgetArgs {
    /// What a choice of bits must achieve; `None` if the bits are given or nothing is quantized.
    pub(super) fn goal(&self) -> Option<Goal> {
        self.budget.map(Goal::Error).or(self.size.map(Goal::Size))
    }

    /// Where the clips come from.
    pub(super) fn audio(&self) -> AudioSource {
        self.calibration.clone().map_or(AudioSource::BuiltIn, AudioSource::Folder)
    }
}
