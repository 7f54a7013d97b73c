//! The result of a choice as data: the encoding of each layer with its share of the error, and what was predicted and
//! measured.

use mert_arch::Dtype;
use mert_convert::write::StateFidelity;
use serde::Serialize;

use crate::audio::AudioDescription;
use crate::goal::{Criterion, Goal};
use crate::worst_errors::WorstErrors;

/// A choice of bits with its measurements.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BudgetReport {
    /// The goal of the choice.
    pub goal: Goal,
    /// The size of the file in bytes, its header included.
    pub bytes: u64,
    /// The type of everything that is not quantized, and of scales and biases.
    pub dtype: Dtype,
    /// The clips.
    pub audio: AudioDescription,
    /// The layers whose bits were chosen, in the order of their names.
    pub layers: Vec<LayerReport>,
    /// The share of the error, at the tightest limit, of everything that is not quantized.
    pub float_share: f64,
    /// The limit that is used up most, by which the shares are counted.
    pub tightest: Tightest,
    /// The errors on calibration clips that the errors of single layers predict.
    pub predicted: WorstErrors,
    /// The errors that were measured on calibration clips.
    pub calibration: WorstErrors,
    /// The errors that were measured on held-out clips.
    pub held_out: WorstErrors,
    /// The errors on held-out clips with every layer in the float type.
    pub float: StateFidelity,
    /// Every mix that was assembled and measured, in order.
    pub trials: Vec<Trial>,
}

/// A limit on a hidden state.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Tightest {
    /// The hidden state.
    pub hidden_state: usize,
    /// The criterion.
    pub criterion: Criterion,
    /// The part of the limit that the held-out error uses up.
    pub used: f64,
}

/// The encoding of a layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerReport {
    /// The path of the module.
    pub module: String,
    /// The bits of a code; `None` if the layer is in the float type.
    pub bits: Option<usize>,
    /// The number of values in a group; `None` if the layer is in the float type.
    pub group_size: Option<usize>,
    /// The size of the weight in bytes.
    pub bytes: usize,
    /// The predicted share of the error at the tightest limit.
    pub share: f64,
}

/// A mix that was assembled and measured on held-out clips.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Trial {
    /// The size of the quantized layers' weights in bytes.
    pub layer_bytes: usize,
    /// The errors on held-out clips.
    pub held_out: StateFidelity,
    /// The largest error in proportion to its limit: the budget holds if it is at most 1.
    pub used: f64,
}

impl BudgetReport {
    /// The choice as a section of a model card.
    pub fn to_markdown(&self) -> String {
        let mut text = format!("## Bits of each layer\n\nChosen by measurement for {}.", self.goal);
        let (calibration, held_out) = (self.audio.calibration.len(), self.audio.held_out.len());
        text += &format!(
            " Shares are those of the {} of hidden state {}, as measured layer by layer on {calibration} clips of {} s; \
             the whole was then measured on {held_out} others.\n\n",
            self.tightest.criterion, self.tightest.hidden_state, self.audio.seconds
        );
        text += "| layer | bits | group size | share of the error | bytes |\n|---|---|---|---|---|\n";
        for LayerReport { module, bits, group_size, bytes, share } in &self.layers {
            let bits = bits.map_or(self.dtype.to_string(), |bits| bits.to_string());
            let group_size = group_size.map_or("–".to_string(), |size| size.to_string());
            text += &format!("| {module} | {bits} | {group_size} | {:.1} % | {bytes} |\n", 100.0 * share);
        }
        text += &format!("| everything else | {} | – | {:.1} % | – |\n\n", self.dtype, 100.0 * self.float_share);
        text + &format!(
            "Predicted: {}. Measured on the same clips: {}. Measured on held-out clips: {}.\n",
            self.predicted, self.calibration, self.held_out
        )
    }
}
