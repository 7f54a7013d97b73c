//! The options of `mert-convert` that quantize linear layers.

use std::collections::BTreeMap;

use mert_arch::{Quantization, QuantizationMode};
use mert_convert::QuantizeOptions;
use mert_convert::write::Target;

use crate::budget_args::BudgetArgs;
use crate::values::one_of;

/// The options of quantization.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Quantization")]
pub(super) struct QuantizeArgs {
    /// Quantize the linear layers as mx.quantize of MLX does: codes of a few bits, with a scale and a bias for each group of
    /// values of a row
    #[arg(long)]
    pub(super) quantize: bool,
    /// The bits of a code: 2, 3, 4, 5, 6 or 8 [default: 4; 8 for mxfp8]
    #[arg(long, value_name = "N", requires = "quantizing")]
    q_bits: Option<usize>,
    /// The number of values in a group: 32, 64 or 128 [default: 64; 32 for mxfp4, mxfp8 and 8 bits in GGUF, 16 for nvfp4]
    #[arg(long, value_name = "N", requires = "quantizing")]
    q_group_size: Option<usize>,
    /// The mode, in MLX's terms: affine, mxfp4, mxfp8 or nvfp4 [default: affine]
    #[arg(long, value_name = "MODE", requires = "quantizing", value_parser = one_of::<QuantizationMode>(QuantizationMode::ALL.map(QuantizationMode::name).to_vec()))]
    q_mode: Option<QuantizationMode>,
    /// Linear layers to leave as they are, by path: feature_projection.projection, or *.layers.0.*, where * stands for any
    /// characters. Repeatable
    #[arg(long, value_name = "PATTERN", requires = "quantizing")]
    q_skip: Vec<String>,
    /// The only linear layers to quantize, by path. Repeatable
    #[arg(long, value_name = "PATTERN", requires = "quantizing")]
    q_only: Vec<String>,
    #[command(flatten)]
    pub(super) budget: BudgetArgs,
}

impl QuantizeArgs {
    /// The linear layers to quantize, and how; `None` without --quantize or a budget, which
    /// chooses the bits later. Without a group size, groups are as large as the target
    /// or else MLX has them.
    ///
    /// # Errors
    /// The values that the mode accepts.
    pub(super) fn options(&self, target: &dyn Target) -> Result<Option<QuantizeOptions>, String> {
        if !self.quantize && !self.budget.is_given() {
            return Ok(None);
        }
        let default = self.q_mode.unwrap_or(QuantizationMode::Affine).default_quantization();
        let bits = self.q_bits.unwrap_or(default.bits);
        let usual = || target.group_size(bits).unwrap_or(default.group_size);
        let group_size = self.q_group_size.unwrap_or_else(usual);
        let default = Quantization::new(default.mode, bits, group_size)
            .map_err(|reason| format!("--q-mode, --q-bits and --q-group-size: {reason}"))?;
        let (only, skip) = (self.q_only.clone(), self.q_skip.clone());
        Ok(Some(QuantizeOptions { default, only, skip, layers: BTreeMap::new() }))
    }
}
