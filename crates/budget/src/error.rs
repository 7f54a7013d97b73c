//! The errors of a precision budget.

use std::path::PathBuf;

use mert_arch::printable_line;
use mert_audio::AudioError;
use mert_convert::ConvertError;
use mert_convert::write::StateFidelity;
use thiserror::Error;

use crate::goal::{Budget, ByteSize, Goal};
use crate::musicgen::{Divergences, MusicgenGoal};
use crate::worst_errors::WorstErrors;

/// The reason why no bits could be chosen, or why a written file does not hold what was chosen.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BudgetError {
    /// The checkpoint cannot be planned or read.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// The model cannot be run.
    #[error(transparent)]
    Model(#[from] mert_runtime::Error),
    /// A tensor cannot be made.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// There is no layer whose bits could be chosen.
    #[error(
        "no linear layer can be quantized in groups of {group_size}: choose another --q-group-size, or change --q-skip and \
         --q-only"
    )]
    NoLayers {
        /// The group size.
        group_size: usize,
    },
    /// Calibration audio cannot be read.
    #[error("calibration audio {}: {source}", printable_line(&path.display().to_string()))]
    Audio {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: AudioError,
    },
    /// A folder of calibration audio cannot be read.
    #[error("cannot read --calibration {}: {source}", printable_line(&path.display().to_string()))]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A folder does not have audio for two sets of clips.
    #[error(
        "--calibration {} has {found} clips of {seconds} s: expected at least 2, one to calibrate on and one to hold out",
        printable_line(&path.display().to_string())
    )]
    TooFewClips {
        /// The folder.
        path: PathBuf,
        /// The number of clips.
        found: usize,
        /// The length of a clip.
        seconds: f64,
    },
    /// Not even the float type holds the budget.
    #[error(
        "the budget {budget} cannot be held: with every layer in {dtype}, held-out clips have {found}; \
         allow more error, or choose another --dtype"
    )]
    Infeasible {
        /// The budget.
        budget: Budget,
        /// The float type.
        dtype: mert_arch::Dtype,
        /// The error of the model in the float type.
        found: Box<WorstErrors>,
    },
    /// Not even floats hold the budget of a forward pass in 8-bit integers.
    #[error(
        "the int8 budget {budget} cannot be held: with every module in f32 and attention in bf16, held-out clips have {found}; allow \
         more error"
    )]
    Int8Infeasible {
        /// The budget.
        budget: Budget,
        /// The error with floats everywhere.
        found: Box<WorstErrors>,
    },
    /// Not even the fewest bits fit.
    #[error("the file cannot be as small as {size}: with the fewest bits everywhere it has {smallest} bytes")]
    TooSmall {
        /// The size that was asked for.
        size: ByteSize,
        /// The smallest size, in bytes.
        smallest: u64,
    },
    /// A written file does not hold the budget that its weights held before they were written.
    #[error(
        "the written file is not what was measured before it was written (for {goal}): on held-out clips it has {found}, \
         expected {expected}"
    )]
    NotHeld {
        /// The goal of the choice.
        goal: Goal,
        /// The errors of the weights before they were written.
        expected: Box<StateFidelity>,
        /// The errors of the file.
        found: Box<StateFidelity>,
    },
    /// A MusicGen cannot be run.
    #[error(transparent)]
    Musicgen(#[from] mert_musicgen::MusicgenError),
    /// The bundles for measurements cannot be written.
    #[error(transparent)]
    Fs(#[from] mert_fs::FsError),
    /// Not even the fewest bits fit.
    #[error(
        "the bundle's weights cannot be as small as {size}: with {bits} bits in every group they have {smallest} bytes, the text \
         encoder and the codec included"
    )]
    TooSmallBundle {
        /// The size that was asked for.
        size: ByteSize,
        /// The smallest size, in bytes.
        smallest: u64,
        /// The fewest bits.
        bits: usize,
    },
    /// A written bundle does not have the divergences that were measured before it was written.
    #[error(
        "the written bundle is not what was measured before it was written (for {goal}): on held-out pieces its divergences are \
         {found}; expected {expected}"
    )]
    OtherDivergence {
        /// The goal of the choice.
        goal: MusicgenGoal,
        /// The divergences before it was written.
        expected: Divergences,
        /// The divergences of the bundle.
        found: Box<Divergences>,
    },
    /// The unquantized model has logits that are not finite.
    #[error(
        "the logits of the unquantized model on {piece} are not finite: choose another --dtype, or check the weights"
    )]
    NotFiniteLogits {
        /// The piece.
        piece: String,
    },
    /// A hidden state has values that are not finite.
    #[error("hidden state {state} of {clip} is not finite: the model cannot be measured on this clip")]
    NotFinite {
        /// The hidden state.
        state: usize,
        /// The clip.
        clip: String,
    },
}
