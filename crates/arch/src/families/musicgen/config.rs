//! The `config.json` of a MusicGen: read, checked and written.

use serde_json::{Map, Value, json};

use super::{CpTransformer, MusicgenDecoder};
use crate::{ConfigError, json_from_text};

/// The sizes of a MusicGen language model, and the configurations of the models around it.
///
/// Names and defaults are those of transformers'
/// [`MusicgenDecoderConfig`](https://github.com/huggingface/transformers/blob/main/src/transformers/models/musicgen/configuration_musicgen.py).
///
/// ```
/// use mert_arch::MusicgenConfig;
///
/// let json = r#"{"model_type": "musicgen", "decoder": {"hidden_size": 64, "num_attention_heads": 4, "ffn_dim": 128,
///     "num_hidden_layers": 3, "vocab_size": 64}, "text_encoder": {"d_model": 48}, "audio_encoder": {}}"#;
/// let config = MusicgenConfig::from_json(json)?;
/// assert_eq!((config.decoder.num_codebooks, config.decoder.bos_token_id), (4, 64));
/// assert_eq!(config.inventory()[0].shape, [65, 64]); // (vocabulary and the special token, width)
/// # Ok::<(), mert_arch::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MusicgenConfig {
    /// The language model.
    pub decoder: MusicgenDecoder,
    /// The width of the text encoder's states: `text_encoder.d_model`.
    pub text_hidden_size: usize,
    /// The condition transformer of Instruct-MusicGen; `None` for plain MusicGen.
    pub cp_transformer: Option<CpTransformer>,
    /// The fields of `text_encoder`, as they were read.
    pub text_encoder: Map<String, Value>,
    /// The fields of `audio_encoder`, as they were read.
    pub audio_encoder: Map<String, Value>,
}

impl MusicgenConfig {
    /// Reads the `config.json` of transformers' `MusicgenForConditionalGeneration`, or of a bundle.
    ///
    /// # Errors
    /// [`ConfigError`] with the field that is missing or has a value that no MusicGen has.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        let value: Value = json_from_text(text).map_err(|error| ConfigError::Syntax(error.to_string()))?;
        Self::from_value(&value)
    }

    /// Reads the JSON value of such a file.
    ///
    /// # Errors
    /// Those of [`MusicgenConfig::from_json`].
    pub fn from_value(value: &Value) -> Result<Self, ConfigError> {
        let expected = "`musicgen` or `instruct_musicgen`";
        match value.get("model_type").and_then(Value::as_str) {
            Some("musicgen" | "instruct_musicgen") => {}
            Some("musicgen_melody") => {
                let reason =
                    "MusicGen-melody conditions on a chromagram through another class; give a MusicGen without melody";
                return Err(ConfigError::unsupported("model_type", "musicgen_melody", reason));
            }
            Some(other) => return Err(ConfigError::invalid("model_type", other, expected)),
            None => return Err(ConfigError::invalid("model_type", "missing", expected)),
        }
        let section = |name: &'static str| match value.get(name) {
            Some(Value::Object(fields)) => Ok(fields.clone()),
            Some(other) => Err(ConfigError::invalid(name, other, "an object with the model's fields")),
            None => Err(ConfigError::invalid(name, "missing", "an object with the model's fields")),
        };
        let decoder = MusicgenDecoder::from_value(&Value::Object(section("decoder")?))?;
        let (text_encoder, audio_encoder) = (section("text_encoder")?, section("audio_encoder")?);
        let d_model = text_encoder.get("d_model").cloned().unwrap_or(json!(768));
        let text_hidden_size = d_model.as_u64().and_then(|width| usize::try_from(width).ok());
        let text_hidden_size = text_hidden_size
            .ok_or_else(|| ConfigError::invalid("text_encoder.d_model", &d_model, "the width of the text states"))?;
        let cp_transformer = match value.get("cp_transformer") {
            None | Some(Value::Null) => None,
            Some(fields) => Some(CpTransformer::from_value(fields)?),
        };
        let config = MusicgenConfig { decoder, text_hidden_size, cp_transformer, text_encoder, audio_encoder };
        config.validate()?;
        Ok(config)
    }

    /// Checks that the sizes are those of a model that can be computed.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with the first field that is not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const MOST: usize = 1 << 20;
        let MusicgenDecoder { num_hidden_layers, hidden_size, num_attention_heads, num_codebooks, vocab_size, .. } =
            self.decoder;
        let sizes = [
            ("decoder.num_hidden_layers", num_hidden_layers, 1 << 12),
            ("decoder.hidden_size", hidden_size, MOST),
            ("decoder.num_attention_heads", num_attention_heads, MOST),
            ("decoder.ffn_dim", self.decoder.ffn_dim, MOST),
            ("decoder.num_codebooks", num_codebooks, 64),
            ("decoder.vocab_size", vocab_size, MOST),
            ("text_encoder.d_model", self.text_hidden_size, MOST),
        ];
        for (field, value, most) in sizes {
            if !(1..=most).contains(&value) {
                return Err(ConfigError::invalid(field, value, format!("a number from 1 to {most}")));
            }
        }
        if hidden_size % num_attention_heads != 0 {
            let expected = format!("a divisor of hidden_size {hidden_size}");
            return Err(ConfigError::invalid("decoder.num_attention_heads", num_attention_heads, expected));
        }
        if hidden_size < 4 || hidden_size % 2 != 0 {
            return Err(ConfigError::invalid("decoder.hidden_size", hidden_size, "an even number of at least 4"));
        }
        let channels = self.decoder.audio_channels;
        if !(1..=2).contains(&channels) || num_codebooks % channels != 0 {
            let expected = "1, or 2 with an even number of codebooks";
            return Err(ConfigError::invalid("decoder.audio_channels", channels, expected));
        }
        for (field, token) in
            [("decoder.bos_token_id", self.decoder.bos_token_id), ("decoder.pad_token_id", self.decoder.pad_token_id)]
        {
            if token != vocab_size {
                return Err(ConfigError::invalid(
                    field,
                    token,
                    format!("the special token, vocab_size = {vocab_size}"),
                ));
            }
        }
        self.cp_transformer.map_or(Ok(()), |cp| cp.check(&self.decoder))
    }

    /// The value of `model_type`: `instruct_musicgen` with a condition transformer.
    pub fn model_type(&self) -> &'static str {
        if self.cp_transformer.is_some() { "instruct_musicgen" } else { "musicgen" }
    }

    /// The fields of a `config.json` that describe the model.
    pub fn to_fields(&self) -> Map<String, Value> {
        let MusicgenDecoder {
            num_hidden_layers,
            hidden_size,
            num_attention_heads,
            ffn_dim,
            num_codebooks,
            vocab_size,
            bos_token_id,
            pad_token_id,
            audio_channels,
            max_position_embeddings,
        } = &self.decoder;
        let mut text_encoder = self.text_encoder.clone();
        text_encoder.insert("d_model".into(), json!(self.text_hidden_size));
        let mut fields = Map::from_iter([
            ("model_type".to_string(), json!(self.model_type())),
            (
                "decoder".to_string(),
                json!({
                    "model_type": "musicgen_decoder",
                    "num_hidden_layers": num_hidden_layers,
                    "hidden_size": hidden_size,
                    "num_attention_heads": num_attention_heads,
                    "ffn_dim": ffn_dim,
                    "num_codebooks": num_codebooks,
                    "vocab_size": vocab_size,
                    "bos_token_id": bos_token_id,
                    "pad_token_id": pad_token_id,
                    "audio_channels": audio_channels,
                    "max_position_embeddings": max_position_embeddings,
                    "activation_function": "gelu",
                    "scale_embedding": false,
                }),
            ),
            ("text_encoder".to_string(), Value::Object(text_encoder)),
            ("audio_encoder".to_string(), Value::Object(self.audio_encoder.clone())),
        ]);
        if let Some(CpTransformer { num_layers, max_frames, hidden_size }) = self.cp_transformer {
            let value = json!({ "num_layers": num_layers, "max_frames": max_frames, "hidden_size": hidden_size });
            fields.insert("cp_transformer".into(), value);
        }
        fields
    }
}
