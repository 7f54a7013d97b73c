//! The result of a choice as data: the bits of each group of weights with its share of the divergence, and what was predicted and
//! measured.

use mert_arch::Dtype;
use serde::Serialize;

use super::cost::MusicgenCost;
use super::divergence::Divergences;
use super::goal::MusicgenGoal;

/// A choice of bits for a MusicGen with its measurements. Every divergence is the mean KL divergence of the logits from the
/// unquantized model, in nats.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MusicgenBudgetReport {
    /// The goal of the choice.
    pub goal: MusicgenGoal,
    /// The unit of the divergences.
    pub unit: &'static str,
    /// The size of all files of weights in bytes, headers included.
    pub bytes: u64,
    /// The type of everything that is not quantized, and of scales and biases: that of the unquantized model.
    pub dtype: Dtype,
    /// The groups of weights whose bits were chosen, by layer.
    pub groups: Vec<GroupReport>,
    /// The divergences on the pieces for calibration that those of single groups predict.
    pub predicted: Divergences,
    /// The divergences that were measured there.
    pub calibration: Divergences,
    /// The divergences that were measured on held-out pieces.
    pub held_out: Divergences,
    /// Those of the written bundle; `None` before it is written.
    pub written: Option<Divergences>,
    /// Every mix that was measured, in order.
    pub trials: Vec<MusicgenTrial>,
    /// The cost of the measurements.
    pub cost: MusicgenCost,
}

/// The encoding of a group of weights.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupReport {
    /// A pattern of the modules.
    pub name: String,
    /// The paths of the modules, by the names `mlx`.
    pub modules: Vec<String>,
    /// The bits of a code; `None` if the group is in the float type.
    pub bits: Option<usize>,
    /// The number of values that share a scale; `None` if the group is in the float type.
    pub group_size: Option<usize>,
    /// The size of the weights in bytes.
    pub bytes: usize,
    /// The predicted share of the largest divergence.
    pub share: f64,
}

/// A mix that was measured on held-out pieces.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MusicgenTrial {
    /// The size of the groups' weights in bytes.
    pub group_bytes: usize,
    /// The divergences on held-out pieces.
    pub held_out: Divergences,
}

impl MusicgenBudgetReport {
    /// The choice as a section of a model card.
    pub fn to_markdown(&self) -> String {
        let mut text = format!(
            "\n## Bits of each group\n\nChosen by measurement for {} ({}). Shares are those of the largest divergence, as measured \
             group by group.\n\n| weights | bits | group size | share of the divergence | bytes |\n|---|---|---|---|---|\n",
            self.goal, self.unit
        );
        for GroupReport { name, bits, group_size, bytes, share, .. } in &self.groups {
            let bits = bits.map_or(self.dtype.to_string(), |bits| bits.to_string());
            let group_size = group_size.map_or("–".to_string(), |size| size.to_string());
            text += &format!("| `{name}` | {bits} | {group_size} | {:.1} % | {bytes} |\n", 100.0 * share);
        }
        text + &format!("\nMeasured on held-out pieces: {}.\n", self.written.as_ref().unwrap_or(&self.held_out))
    }
}
