//! The options of `mert-convert` that choose the bits of each layer by measurement.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::bail;
use mert_budget::{AudioSource, Budget, ByteSize, Goal, KlBudget, MusicgenGoal};

/// The options of the precision budget.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Precision budget")]
pub(super) struct BudgetArgs {
    /// Choose the bits of each linear layer, 2 to 8 or the float type, for a small file in which every hidden state is
    /// within these limits on held-out audio: pooled>=COSINE (of the means over frames), frame>=COSINE (of every frame),
    /// nmse<=NUMBER, separated by commas. For MusicGen, choose 4, 5, 6 or 8 bits or the float type for each group of a layer's
    /// weights, for a small bundle whose logits diverge from those of the unquantized model by at most this mean KL divergence,
    /// in nats: kl<=NUMBER, or the number alone
    #[arg(long, value_name = "LIMITS", conflicts_with_all = ["size", "q_bits", "q_mode"])]
    budget: Option<Limits>,
    /// Choose the bits of each linear layer for the smallest error in a file (of a folder, its model.safetensors) of at most
    /// this size: 60MB, 60MiB or a number of bytes. For MusicGen, for the smallest divergence in a bundle whose files of weights have
    /// at most this size together
    #[arg(long, value_name = "SIZE", conflicts_with_all = ["q_bits", "q_mode"])]
    size: Option<ByteSize>,
    /// Choose by measurement the modules that keep bf16 or f32 where other commands compute in 8-bit integers (--dtype int8, --fast):
    /// as little time in floats as holds these limits, those of --budget, on held-out audio. pooled>=0.999,frame>=0.99 is what --fast
    /// asks for. The choice is part of the file
    #[arg(long, value_name = "LIMITS")]
    pub(super) int8_budget: Option<Budget>,
    /// A folder of audio files to measure on: 5 s from the middle of up to 8 of them, 2 to choose by and the others held out;
    /// for encoders [default: generated music]
    #[arg(long, value_name = "DIR", requires = "measured")]
    calibration: Option<PathBuf>,
}

impl BudgetArgs {
    /// Whether bits are to be chosen.
    pub(super) fn is_given(&self) -> bool {
        self.budget.is_some() || self.size.is_some()
    }

    /// What a choice of an encoder's bits must achieve; `None` if the bits are given or nothing is quantized.
    ///
    /// # Errors
    /// A limit in the unit of MusicGen.
    pub(super) fn goal(&self) -> anyhow::Result<Option<Goal>> {
        match self.budget {
            None => Ok(self.size.map(Goal::Size)),
            Some(Limits::Errors(budget)) => Ok(Some(Goal::Error(budget))),
            Some(Limits::Kl(budget)) => bail!(
                "--budget {budget} is a KL divergence of logits, which MusicGen has, and the input is an encoder: give limits on \
                 the error of hidden states, such as pooled>=0.9995,nmse<=1e-3"
            ),
        }
    }

    /// What a choice of a MusicGen's bits must achieve.
    ///
    /// # Errors
    /// A limit in the unit of encoders.
    pub(super) fn musicgen_goal(&self) -> anyhow::Result<Option<MusicgenGoal>> {
        match self.budget {
            None => Ok(self.size.map(MusicgenGoal::Size)),
            Some(Limits::Kl(budget)) => Ok(Some(MusicgenGoal::Kl(budget))),
            Some(Limits::Errors(budget)) => bail!(
                "--budget {budget} limits the error of hidden states, and the input is a MusicGen: give the largest mean KL \
                 divergence of the logits in nats, such as kl<=0.02"
            ),
        }
    }

    /// Whether --calibration is given.
    pub(super) fn has_audio(&self) -> bool {
        self.calibration.is_some()
    }

    /// Where the clips come from.
    pub(super) fn audio(&self) -> AudioSource {
        self.calibration.clone().map_or(AudioSource::BuiltIn, AudioSource::Folder)
    }
}

/// The limits of `--budget`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Limits {
    /// On the error of an encoder's hidden states.
    Errors(Budget),
    /// On the divergence of a MusicGen's logits.
    Kl(KlBudget),
}

impl FromStr for Limits {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_kl = text.trim().starts_with("kl") || text.trim().parse::<f64>().is_ok();
        match text.parse() {
            _ if is_kl => text.parse().map(Limits::Kl),
            Ok(budget) => Ok(Limits::Errors(budget)),
            Err(reason) => Err(format!("{reason}; for MusicGen kl<=NUMBER")),
        }
    }
}
