//! T5 ([Raffel et al. 2020](https://arxiv.org/abs/1910.10683)), whose encoder reads MusicGen's texts: a configuration of its
//! own, because it shares neither fields nor tensors with the encoders of sound.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::{parse, value_from_json};
use crate::{ConfigError, Role, TensorSpec};

/// Limits far above every published model, which keep products of sizes from overflowing.
const MAX_WIDTH: usize = 1 << 17;
const MAX_COUNT: usize = 1 << 10;
const MAX_VOCABULARY: usize = 1 << 22;

/// The feed-forward block of a T5 layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum T5FeedForward {
    /// `wo(relu(wi(x)))`: the first T5 models, `t5-base` among them.
    Relu,
    /// `wo(gelu(wi_0(x)) · wi_1(x))` with the GELU by its tanh: T5 1.1 and FLAN-T5.
    GatedGelu,
}

/// The sizes of a T5 model: the fields of transformers'
/// [`T5Config`](https://github.com/huggingface/transformers/blob/main/src/transformers/models/t5/configuration_t5.py) that the
/// encoder depends on.
///
/// The [`Default`] is `t5-base`, MusicGen's. A `config.json` that lacks fields has those of transformers' class
/// ([`T5Config::of_class`]), which has the sizes of `t5-small`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct T5Config {
    /// Rows of the embedding; a tokenizer may have fewer.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub d_model: usize,
    /// Width of a head of attention.
    pub d_kv: usize,
    /// Width of the hidden layer of the feed-forward blocks.
    pub d_ff: usize,
    /// Layers of the encoder.
    pub num_layers: usize,
    /// Heads of attention.
    pub num_heads: usize,
    /// Rows of the table of position biases: half of them for keys after the query.
    pub relative_attention_num_buckets: usize,
    /// Distance in tokens from which on all keys share the last bucket of their side.
    pub relative_attention_max_distance: usize,
    /// Epsilon of the norms.
    pub layer_norm_epsilon: f64,
    /// Feed-forward block.
    pub feed_forward_proj: T5FeedForward,
    /// Token `</s>`, which ends a text.
    pub eos_token_id: u32,
    /// Token of padding.
    pub pad_token_id: u32,
}

impl Default for T5Config {
    fn default() -> Self {
        T5Config { d_model: 768, d_ff: 3072, num_layers: 12, num_heads: 12, ..T5Config::of_class() }
    }
}

impl T5Config {
    /// The configuration of transformers' `T5Config()` without arguments.
    pub fn of_class() -> Self {
        T5Config {
            vocab_size: 32_128,
            d_model: 512,
            d_kv: 64,
            d_ff: 2048,
            num_layers: 6,
            num_heads: 8,
            relative_attention_num_buckets: 32,
            relative_attention_max_distance: 128,
            layer_norm_epsilon: 1e-6,
            feed_forward_proj: T5FeedForward::Relu,
            eos_token_id: 1,
            pad_token_id: 0,
        }
    }

    /// Reads and validates the `config.json` of a T5 folder.
    ///
    /// # Errors
    /// [`ConfigError`] for anything that is not the configuration of a T5 model whose encoder is computed here.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        T5Config::from_value(&value_from_json(text)?)
    }

    /// Reads and validates parsed JSON, such as `text_encoder` of MusicGen's `config.json`.
    ///
    /// # Errors
    /// Those of [`T5Config::from_json`].
    pub fn from_value(value: &Value) -> Result<Self, ConfigError> {
        let Some(fields) = value.as_object() else {
            return Err(ConfigError::Syntax("expected an object with the fields of T5Config".into()));
        };
        match fields.get("model_type").map(|found| (found.as_str(), found)) {
            None | Some((Some("t5"), _)) => {}
            Some((_, found)) => return Err(ConfigError::invalid("model_type", found, "`t5`")),
        }
        // A struct of numbers and strings with string keys always serialises.
        let mut all = serde_json::to_value(T5Config::of_class()).unwrap_or_default();
        if let Some(all) = all.as_object_mut() {
            all.extend(fields.clone());
        }
        let config: T5Config = parse(&all)?;
        config.validate()?;
        Ok(config)
    }

    /// The fields as a `config.json` of transformers has them, `model_type` among them.
    pub fn to_fields(&self) -> Map<String, Value> {
        let mut fields = match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        fields.insert("model_type".into(), "t5".into());
        fields
    }

    /// Width of the queries, keys and values of all heads.
    pub fn inner_dim(&self) -> usize {
        self.num_heads * self.d_kv
    }

    /// Checks every field that the encoder depends on.
    ///
    /// # Errors
    /// [`ConfigError`] naming the first field that is impossible.
    pub fn validate(&self) -> Result<(), ConfigError> {
        in_range("vocab_size", self.vocab_size, MAX_VOCABULARY)?;
        in_range("d_model", self.d_model, MAX_WIDTH)?;
        in_range("d_kv", self.d_kv, MAX_WIDTH)?;
        in_range("d_ff", self.d_ff, MAX_WIDTH)?;
        in_range("num_layers", self.num_layers, MAX_COUNT)?;
        in_range("num_heads", self.num_heads, MAX_COUNT)?;
        if self.inner_dim() > MAX_WIDTH {
            let expected = format!("at most {MAX_WIDTH} together with d_kv ({})", self.d_kv);
            return Err(ConfigError::invalid("num_heads", self.num_heads, expected));
        }
        // Below four buckets no distance has a bucket of its own, and the logarithm of the others is infinite.
        let buckets = self.relative_attention_num_buckets;
        if !(4..=1 << 16).contains(&buckets) {
            let expected = "a number from 4 to 65536";
            return Err(ConfigError::invalid("relative_attention_num_buckets", buckets, expected));
        }
        let distance = self.relative_attention_max_distance;
        if !(buckets / 4 + 1..=1 << 30).contains(&distance) {
            let expected = format!("more than relative_attention_num_buckets / 4 ({}), at most 2^30", buckets / 4);
            return Err(ConfigError::invalid("relative_attention_max_distance", distance, expected));
        }
        if !(self.layer_norm_epsilon.is_finite() && self.layer_norm_epsilon > 0.0) {
            return Err(ConfigError::invalid("layer_norm_epsilon", self.layer_norm_epsilon, "a positive number"));
        }
        if self.eos_token_id as usize >= self.vocab_size {
            let expected = format!("less than vocab_size ({})", self.vocab_size);
            return Err(ConfigError::invalid("eos_token_id", self.eos_token_id, expected));
        }
        Ok(())
    }

    /// The tensors of the encoder in the order of the forward pass, in the names of transformers'
    /// [`T5EncoderModel`](https://github.com/huggingface/transformers/blob/main/src/transformers/models/t5/modeling_t5.py),
    /// without biases: T5 has none.
    pub fn inventory(&self) -> Vec<TensorSpec> {
        let (width, inner) = (self.d_model, self.inner_dim());
        let mut tensors = Vec::new();
        let mut push = |name: String, shape: &[usize], role| {
            tensors.push(TensorSpec { name, shape: shape.to_vec(), role });
        };
        push("shared.weight".into(), &[self.vocab_size, width], Role::Embedding);
        for i in 0..self.num_layers {
            let path = format!("encoder.block.{i}.layer");
            push(format!("{path}.0.layer_norm.weight"), &[width], Role::NormWeight);
            for projection in ["q", "k", "v"] {
                push(format!("{path}.0.SelfAttention.{projection}.weight"), &[inner, width], Role::Linear);
            }
            push(format!("{path}.0.SelfAttention.o.weight"), &[width, inner], Role::Linear);
            if i == 0 {
                let shape = [self.relative_attention_num_buckets, self.num_heads];
                push(format!("{path}.0.SelfAttention.relative_attention_bias.weight"), &shape, Role::Embedding);
            }
            push(format!("{path}.1.layer_norm.weight"), &[width], Role::NormWeight);
            let inputs: &[&str] = match self.feed_forward_proj {
                T5FeedForward::Relu => &["wi"],
                T5FeedForward::GatedGelu => &["wi_0", "wi_1"],
            };
            for input in inputs {
                push(format!("{path}.1.DenseReluDense.{input}.weight"), &[self.d_ff, width], Role::Linear);
            }
            push(format!("{path}.1.DenseReluDense.wo.weight"), &[width, self.d_ff], Role::Linear);
        }
        push("encoder.final_layer_norm.weight".into(), &[width], Role::NormWeight);
        tensors
    }
}

/// The reason to leave out a tensor of a T5 checkpoint that its encoder has no use for; `None` for any other name.
pub fn t5_left_out_reason(name: &str) -> Option<&'static str> {
    match name {
        "encoder.embed_tokens.weight" => Some("is `shared.weight` under another name"),
        _ if name.starts_with("decoder.") || name == "lm_head.weight" => {
            Some("belongs to the decoder, not to the encoder")
        }
        _ => None,
    }
}

fn in_range(field: &'static str, value: usize, max: usize) -> Result<(), ConfigError> {
    if (1..=max).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::invalid(field, value, format!("a number from 1 to {max}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoder_of_t5_base_has_its_number_of_values() {
        let config = T5Config::default();
        config.validate().unwrap();
        let tensors = config.inventory();
        let values: usize = tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum();
        // The parameters of transformers' T5EncoderModel of this configuration.
        assert_eq!(values, 109_628_544);
        assert_eq!(tensors.len(), 1 + 12 * 8 + 1 + 1);
        let names: std::collections::BTreeSet<_> = tensors.iter().map(|tensor| &tensor.name).collect();
        assert_eq!(names.len(), tensors.len());
    }

    #[test]
    fn t5_base_is_read_as_the_hub_has_it() {
        // Without relative_attention_max_distance and feed_forward_proj.
        let text = r#"{"architectures": ["T5WithLMHeadModel"], "d_ff": 3072, "d_kv": 64, "d_model": 768, "dropout_rate": 0.1,
            "eos_token_id": 1, "layer_norm_epsilon": 1e-06, "model_type": "t5", "n_positions": 512, "num_heads": 12,
            "num_layers": 12, "pad_token_id": 0, "relative_attention_num_buckets": 32, "vocab_size": 32128,
            "task_specific_params": {"summarization": {"num_beams": 4}}}"#;
        let config = T5Config::from_json(text).unwrap();
        assert_eq!(config, T5Config::default());
        assert_eq!(T5Config::from_value(&Value::Object(config.to_fields())).unwrap(), config);
        assert_eq!(T5Config::from_json("{}").unwrap(), T5Config::of_class());
    }

    #[test]
    fn refusals_name_the_field() {
        for (text, words) in [
            (r#"{"model_type": "bert"}"#, "model_type"),
            (r#"{"feed_forward_proj": "gated-silu"}"#, "`feed_forward_proj`: unknown variant `gated-silu`"),
            (r#"{"d_model": 0}"#, "d_model"),
            (r#"{"d_kv": -1}"#, "d_kv"),
            (r#"{"num_heads": 1024, "d_kv": 1024}"#, "num_heads"),
            (r#"{"relative_attention_num_buckets": 2}"#, "relative_attention_num_buckets"),
            (r#"{"relative_attention_max_distance": 8}"#, "relative_attention_max_distance"),
            (r#"{"layer_norm_epsilon": 0.0}"#, "layer_norm_epsilon"),
            (r#"{"eos_token_id": 40000}"#, "eos_token_id"),
            ("[]", "T5Config"),
            ("{", "invalid configuration"),
        ] {
            let error = T5Config::from_json(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
