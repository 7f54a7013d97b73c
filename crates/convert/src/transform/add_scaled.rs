//! The sum of a vector and another one times a number.

use serde::Serialize;

/// Adds the bias of a low-rank change to a layer's bias: b + s · c, each operation rounded to f32, as PEFT's
/// [`lora_bias`](https://github.com/huggingface/peft/blob/v0.21.2/src/peft/tuners/lora/layer.py).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AddScaled {
    /// The number s.
    pub scale: f64,
}

impl AddScaled {
    /// Replaces `sum` with `values` plus the scaled `added`, of which there are as many.
    pub fn apply(&self, values: &[f32], added: &[f32], sum: &mut Vec<f32>) {
        let scale = self.scale as f32;
        sum.clear();
        sum.extend(values.iter().zip(added).map(|(value, added)| value + added * scale));
    }
}
