//! What states the scales of an adapter's modules: a configuration of PEFT or mlx-lm, or the user.

use std::path::Path;

use super::error::AdapterError;
use super::layer::{LoraLayer, checked_scale};
use super::mlx_lm::MlxLmConfig;
use super::modules::Layers;
use super::peft::PeftConfig;
use crate::Result;
use crate::text::read_text;

/// What states the scales of an adapter's modules.
pub(super) enum Scales {
    Peft(PeftConfig),
    MlxLm(MlxLmConfig),
    /// The alpha that the user gave.
    Alpha(f64),
}

impl Scales {
    /// Reads `adapter_config.json`, or takes the user's alpha.
    ///
    /// # Errors
    /// [`AdapterError::UnknownScale`] if there is neither, [`AdapterError::ScaleStatedTwice`] for both, and the errors of the
    /// configuration.
    pub(super) fn new(path: &Path, config: Option<&Path>, alpha: Option<f64>, layers: &Layers) -> Result<Self> {
        let config = match (config, alpha) {
            (Some(config), None) => config,
            (Some(config), Some(_)) => return Err(AdapterError::ScaleStatedTwice.of(config)),
            (None, Some(alpha)) => return Ok(Scales::Alpha(alpha)),
            (None, None) => {
                let rank = layers.values().next().map_or(0, |layer| layer.rank);
                return Err(AdapterError::UnknownScale { rank }.of(path));
            }
        };
        let text = read_text(config)?;
        let scales = match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(json) if json.get("peft_type").is_some() => PeftConfig::from_json(&text).map(Scales::Peft),
            Ok(json) if json.get("lora_parameters").is_some() || json.get("fine_tune_type").is_some() => {
                MlxLmConfig::from_json(&text).map(Scales::MlxLm)
            }
            Ok(_) => Err(AdapterError::Json("neither PEFT's (`peft_type`) nor mlx-lm's (`lora_parameters`)".into())),
            Err(error) => Err(AdapterError::Json(error.to_string())),
        };
        scales.map_err(|error| error.of(config))
    }

    /// Sets the scale of every layer.
    pub(super) fn set_all(&self, layers: &mut Layers) -> std::result::Result<(), AdapterError> {
        layers.iter_mut().try_for_each(|(module, layer)| self.set(module, layer))
    }

    fn set(&self, module: &str, layer: &mut LoraLayer) -> std::result::Result<(), AdapterError> {
        match self {
            Scales::Peft(config) => config.set_scale(module, layer),
            Scales::MlxLm(config) => config.set_scale(module, layer),
            Scales::Alpha(alpha) => {
                let origin = format!("--lora-alpha {alpha}, rank {}", layer.rank);
                layer.scale = checked_scale(module, alpha / layer.rank as f64, &origin)?;
                Ok(())
            }
        }
    }

    pub(super) fn notes(&self) -> Vec<String> {
        match self {
            Scales::Peft(config) => config.notes.clone(),
            Scales::MlxLm(_) | Scales::Alpha(_) => Vec::new(),
        }
    }
}
