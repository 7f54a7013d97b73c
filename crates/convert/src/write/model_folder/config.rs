//! The `config.json` of an MLX folder: the architecture, and the quantization as mlx-lm writes it.

use serde_json::{Value, json};

use crate::plan::Plan;
use crate::programs::{config_fields, json_text};

/// The text of `config.json`. mlx-lm writes the quantization under two names, of which `mlx.nn.quantize` users read the first
/// and the Hugging Face hub the second.
pub(super) fn text(plan: &Plan) -> String {
    let mut fields = config_fields(&plan.config, false);
    fields.insert("architectures".into(), json!([plan.config.family().class]));
    if let Some(quantization) = &plan.quantization {
        fields.insert("quantization".into(), quantization.to_value());
        fields.insert("quantization_config".into(), quantization.to_value());
    }
    if let Some(size) = plan.final_proj {
        fields.insert("classifier_proj_size".into(), json!(size));
    }
    json_text(Value::Object(fields))
}
