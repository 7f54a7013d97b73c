//! The options of `mert-convert` that merge an adapter.

use std::path::PathBuf;

use mert_checkpoint::AdapterOptions;

/// The options of adapters.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Adapters (LoRA)")]
pub(super) struct AdapterArgs {
    /// The adapter to merge into the weights, before they are rounded or quantized: a folder or file of PEFT (LoRA, rsLoRA,
    /// DoRA) or mlx-lm. An adapter between the weights of the checkpoint is merged without this option
    #[arg(long, value_name = "PATH", conflicts_with_all = ["adapter_name", "no_adapter"])]
    adapter: Option<PathBuf>,
    /// The adapter to merge, if the checkpoint holds several
    #[arg(long, value_name = "NAME", conflicts_with = "no_adapter")]
    adapter_name: Option<String>,
    /// The alpha of an adapter without an adapter_config.json: its changes are scaled by alpha / rank
    #[arg(long, value_name = "ALPHA", conflicts_with = "no_adapter", allow_negative_numbers = true, value_parser = positive)]
    lora_alpha: Option<f64>,
    /// Convert the model without the adapter that the checkpoint or its folder holds
    #[arg(long)]
    no_adapter: bool,
    /// Fail, and write nothing, if a layer keeps less than this part of the adapter's change, such as 0.9
    #[arg(long, value_name = "PART", value_parser = part)]
    pub(super) min_delta_kept: Option<f64>,
}

/// Parses a positive, finite number.
fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|&number: &f64| number.is_finite() && number > 0.0);
    number.ok_or_else(|| "expected a positive, finite number, such as 64".to_string())
}

/// Parses a part of a whole.
fn part(text: &str) -> Result<f64, String> {
    let part = text.parse().ok().filter(|part| (0.0..=1.0).contains(part));
    part.ok_or_else(|| "expected a number from 0 to 1".to_string())
}

impl AdapterArgs {
    /// The choice of an adapter.
    pub(super) fn options(&self) -> AdapterOptions {
        AdapterOptions {
            path: self.adapter.clone(),
            name: self.adapter_name.clone(),
            alpha: self.lora_alpha,
            ignore: self.no_adapter,
        }
    }
}
