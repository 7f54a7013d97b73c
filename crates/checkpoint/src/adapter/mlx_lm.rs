//! mlx-lm's `adapter_config.json`: one scale for all modules.
//!
//! The fields are those that `mlx_lm.tuner.utils.load_adapters` reads in 0.32.2:
//! <https://github.com/ml-explore/mlx-lm/blob/main/mlx_lm/tuner/utils.py>.

use serde::Deserialize;

use super::error::AdapterError;
use super::layer::{LoraLayer, checked_scale};

#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    fine_tune_type: Option<String>,
    #[serde(default)]
    lora_parameters: Option<Parameters>,
}

#[derive(Deserialize)]
struct Parameters {
    rank: Option<usize>,
    scale: Option<f64>,
    alpha: Option<f64>,
}

/// An mlx-lm configuration of LoRA or DoRA.
#[derive(Debug)]
pub(super) struct MlxLmConfig {
    rank: usize,
    scale: f64,
    has_magnitudes: bool,
}

impl MlxLmConfig {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`AdapterError`] for a full fine-tune, and for one without a scale.
    pub(super) fn from_json(text: &str) -> Result<Self, AdapterError> {
        let fields: Fields = serde_json::from_str(text).map_err(|error| AdapterError::Json(error.to_string()))?;
        let unsupported = |field: &str, found: String, reason: &str| {
            Err(AdapterError::Unsupported { field: field.to_string(), found, reason: reason.to_string() })
        };
        let has_magnitudes = match fields.fine_tune_type.as_deref() {
            None | Some("lora") => false,
            Some("dora") => true,
            Some("full") => {
                let reason = "the file holds whole weights, not an adapter; convert the fused model";
                return unsupported("fine_tune_type", "\"full\"".into(), reason);
            }
            Some(other) => return unsupported("fine_tune_type", format!("{other:?}"), "expected lora or dora"),
        };
        let missing = |field| AdapterError::Missing { field, reason: "mlx-lm needs to load the adapter" };
        let parameters = fields.lora_parameters.ok_or_else(|| missing("lora_parameters"))?;
        if let Some(alpha) = parameters.alpha {
            let reason = "older versions of mlx-lm multiplied the scale by alpha / rank and newer ones do not; remove it and \
                          set `scale` to the whole factor of B·A";
            return unsupported("lora_parameters.alpha", alpha.to_string(), reason);
        }
        Ok(MlxLmConfig {
            rank: parameters.rank.ok_or_else(|| missing("lora_parameters.rank"))?,
            scale: parameters.scale.ok_or_else(|| missing("lora_parameters.scale"))?,
            has_magnitudes,
        })
    }

    /// Sets the scale of a module.
    ///
    /// # Errors
    /// [`AdapterError::Rank`] or [`AdapterError::Contradiction`] if the configuration does not fit the tensors.
    pub(super) fn set_scale(&self, module: &str, layer: &mut LoraLayer) -> Result<(), AdapterError> {
        if self.rank != layer.rank {
            let (module, name, found, stated) = (module.to_string(), layer.a.key.clone(), layer.rank, self.rank);
            return Err(AdapterError::Rank { module, name, found, stated, field: "lora_parameters.rank" });
        }
        let found = match (self.has_magnitudes, &layer.magnitude) {
            (true, None) => Some(format!("module `{module}` has no `m`")),
            (false, Some(tensor)) => Some(format!("there is a tensor `{}`", tensor.key)),
            _ => None,
        };
        if let Some(found) = found {
            let stated = if self.has_magnitudes { "dora" } else { "lora" }.to_string();
            return Err(AdapterError::Contradiction { field: "fine_tune_type", stated, found });
        }
        layer.scale = checked_scale(module, self.scale, "lora_parameters.scale")?;
        Ok(())
    }
}
