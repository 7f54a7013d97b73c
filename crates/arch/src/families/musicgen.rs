//! MusicGen and Instruct-MusicGen: the sizes of the language model, read from a `config.json` or inferred from shapes, and
//! the tensors that they imply.
//!
//! Here rather than in [`Config`](crate::Config), because it is a decoder of audio tokens with nothing of HuBERT's encoder.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::config::parse;
use crate::inventory::TensorList;
use crate::{ConfigError, Role, TensorSpec, json_from_text};

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

/// The sizes of the language model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MusicgenDecoder {
    /// The number of layers.
    pub num_hidden_layers: usize,
    /// The width D of the hidden states.
    pub hidden_size: usize,
    /// The number of attention heads.
    pub num_attention_heads: usize,
    /// The width of the feed-forward blocks.
    pub ffn_dim: usize,
    /// The number of streams of tokens: 4, or 8 for stereo.
    pub num_codebooks: usize,
    /// The number of codes of a codebook, without the special token.
    pub vocab_size: usize,
    /// The special token that begins a sequence, and that the delay pattern holds where no code is.
    pub bos_token_id: usize,
    /// The padding token: the special token again.
    pub pad_token_id: usize,
    /// The number of channels of the audio: 1, or 2 for stereo, whose codebooks alternate left and right.
    pub audio_channels: usize,
    /// The length of the position table in transformers. The positions are computed, so that it limits nothing.
    pub max_position_embeddings: usize,
}

/// The sizes of the condition transformer of Instruct-MusicGen, which runs the language model's own layers over the tokens of
/// the input audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpTransformer {
    /// The number of layers: that of the language model.
    pub num_layers: usize,
    /// The rows of the position table: the largest number of frames, and one for the special frame after them.
    pub max_frames: usize,
    /// The width: that of the language model.
    pub hidden_size: usize,
}

/// The width of an attention head in every published MusicGen, for checkpoints that do not state the number of heads.
pub const MUSICGEN_HEAD_DIM: usize = 64;

/// The fields of `decoder` that matter, with transformers' defaults.
#[derive(Deserialize)]
#[serde(default)]
struct DecoderFields {
    num_hidden_layers: usize,
    hidden_size: usize,
    num_attention_heads: usize,
    ffn_dim: usize,
    num_codebooks: usize,
    vocab_size: usize,
    audio_channels: usize,
    max_position_embeddings: usize,
    bos_token_id: Option<usize>,
    pad_token_id: Option<usize>,
    activation_function: String,
    scale_embedding: bool,
}

impl Default for DecoderFields {
    fn default() -> Self {
        DecoderFields {
            num_hidden_layers: 24,
            hidden_size: 1024,
            num_attention_heads: 16,
            ffn_dim: 4096,
            num_codebooks: 4,
            vocab_size: 2048,
            audio_channels: 1,
            max_position_embeddings: 2048,
            bos_token_id: None,
            pad_token_id: None,
            activation_function: "gelu".into(),
            scale_embedding: false,
        }
    }
}

/// The fields of `cp_transformer`.
#[derive(Deserialize)]
struct CpFields {
    num_layers: usize,
    max_frames: usize,
    hidden_size: usize,
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

    /// Infers the sizes from the shapes of a model's tensors, by their names in [`MusicgenNames::Mlx`]. The number of heads is
    /// not in the shapes.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with the first tensor that is missing or has another number of axes.
    ///
    /// [`MusicgenNames::Mlx`]: crate::naming::MusicgenNames::Mlx
    pub fn infer(
        shapes: &BTreeMap<String, Vec<usize>>,
        num_attention_heads: Option<usize>,
    ) -> Result<Self, ConfigError> {
        let matrix = |name: &str| match shapes.get(name).map(Vec::as_slice) {
            Some(&[rows, columns]) => Ok((rows, columns)),
            Some(other) => Err(ConfigError::invalid("shape of a tensor", format!("{other:?} (`{name}`)"), "two axes")),
            None => Err(ConfigError::invalid("tensor", format!("missing (`{name}`)"), "a weight of MusicGen")),
        };
        let count =
            |start: &str, end: &str| (0..).take_while(|i| shapes.contains_key(&format!("{start}{i}{end}"))).count();
        let (rows, hidden_size) = matrix("lm.emb.0.weight")?;
        let (ffn_dim, _) = matrix("lm.layers.0.linear1.weight")?;
        let (_, text_hidden_size) = matrix("text_conditioner.output_proj.weight")?;
        let vocab_size = rows.saturating_sub(1);
        let num_codebooks = count("lm.emb.", ".weight");
        let decoder = MusicgenDecoder {
            num_hidden_layers: count("lm.layers.", ".norm1.weight"),
            hidden_size,
            num_attention_heads: num_attention_heads.unwrap_or(hidden_size / MUSICGEN_HEAD_DIM).max(1),
            ffn_dim,
            num_codebooks,
            vocab_size,
            bos_token_id: vocab_size,
            pad_token_id: vocab_size,
            audio_channels: if num_codebooks == 8 { 2 } else { 1 },
            max_position_embeddings: 2048,
        };
        let cp_transformer = match shapes.get("cp_transformer.pos_emb").map(Vec::as_slice) {
            None => None,
            Some(&[layers, max_frames, hidden_size]) => {
                Some(CpTransformer { num_layers: layers.saturating_sub(1), max_frames, hidden_size })
            }
            Some(other) => {
                let found = format!("{other:?}");
                return Err(ConfigError::invalid(
                    "shape of cp_transformer.pos_emb",
                    found,
                    "(layers + 1, frames, width)",
                ));
            }
        };
        let (text_encoder, audio_encoder) = (Map::new(), Map::new());
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

    /// The tensors of the language model, of the text projection and of the condition transformer, under the names of
    /// [`MusicgenNames::Mlx`](crate::naming::MusicgenNames::Mlx), in the order of the forward pass. Weights are `(out, in)`.
    pub fn inventory(&self) -> Vec<TensorSpec> {
        let MusicgenDecoder { num_hidden_layers, hidden_size: width, ffn_dim, num_codebooks, vocab_size, .. } =
            self.decoder;
        let mut tensors = TensorList::default();
        for k in 0..num_codebooks {
            tensors.push(format!("lm.emb.{k}.weight"), &[vocab_size + 1, width], Role::Embedding);
        }
        tensors.linear("text_conditioner.output_proj", self.text_hidden_size, width);
        for i in 0..num_hidden_layers {
            let path = format!("lm.layers.{i}");
            for attention in ["self_attn", "cross_attn"] {
                for projection in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                    tensors.push(format!("{path}.{attention}.{projection}.weight"), &[width, width], Role::Linear);
                }
            }
            tensors.push(format!("{path}.linear1.weight"), &[ffn_dim, width], Role::Linear);
            tensors.push(format!("{path}.linear2.weight"), &[width, ffn_dim], Role::Linear);
            for norm in ["norm1", "norm_cross", "norm2"] {
                tensors.norm(&format!("{path}.{norm}"), width);
            }
        }
        tensors.norm("lm.out_norm", width);
        for k in 0..num_codebooks {
            tensors.push(format!("lm.linears.{k}.weight"), &[vocab_size, width], Role::Linear);
        }
        if let Some(CpTransformer { num_layers, max_frames, hidden_size }) = self.cp_transformer {
            tensors.push("cp_transformer.pos_emb".into(), &[num_layers + 1, max_frames, hidden_size], Role::Embedding);
            tensors.push("cp_transformer.gates".into(), &[num_layers], Role::Gate);
            for i in 0..num_layers {
                let name = format!("cp_transformer.merge_linear.{i}.weight");
                tensors.push(name, &[hidden_size, hidden_size], Role::Linear);
            }
        }
        tensors.into_specs()
    }
}

impl MusicgenDecoder {
    fn from_value(value: &Value) -> Result<Self, ConfigError> {
        let fields: DecoderFields = parse(value)?;
        if fields.activation_function != "gelu" {
            let reason = "MusicGen's feed-forward blocks have the exact GELU";
            return Err(ConfigError::unsupported("decoder.activation_function", fields.activation_function, reason));
        }
        if fields.scale_embedding {
            let reason = "MusicGen's embeddings are not scaled";
            return Err(ConfigError::unsupported("decoder.scale_embedding", true, reason));
        }
        Ok(MusicgenDecoder {
            num_hidden_layers: fields.num_hidden_layers,
            hidden_size: fields.hidden_size,
            num_attention_heads: fields.num_attention_heads,
            ffn_dim: fields.ffn_dim,
            num_codebooks: fields.num_codebooks,
            vocab_size: fields.vocab_size,
            bos_token_id: fields.bos_token_id.unwrap_or(fields.vocab_size),
            pad_token_id: fields.pad_token_id.unwrap_or(fields.vocab_size),
            audio_channels: fields.audio_channels,
            max_position_embeddings: fields.max_position_embeddings,
        })
    }
}

impl CpTransformer {
    fn from_value(value: &Value) -> Result<Self, ConfigError> {
        let CpFields { num_layers, max_frames, hidden_size } = parse(value)?;
        Ok(CpTransformer { num_layers, max_frames, hidden_size })
    }

    /// Checks the sizes against the language model, whose layers it runs.
    fn check(self, decoder: &MusicgenDecoder) -> Result<(), ConfigError> {
        let sizes = [
            ("cp_transformer.num_layers", self.num_layers, decoder.num_hidden_layers),
            ("cp_transformer.hidden_size", self.hidden_size, decoder.hidden_size),
        ];
        for (field, found, expected) in sizes {
            if found != expected {
                return Err(ConfigError::invalid(field, found, format!("{expected}, as the language model has")));
            }
        }
        if decoder.audio_channels != 1 {
            let reason =
                "Instruct-MusicGen edits mono: its base is a MusicGen with 4 codebooks, not a stereo one with 8";
            return Err(ConfigError::unsupported("decoder.audio_channels", decoder.audio_channels, reason));
        }
        if !(2..=1 << 20).contains(&self.max_frames) {
            let expected = "the largest number of frames and one more, at least 2";
            return Err(ConfigError::invalid("cp_transformer.max_frames", self.max_frames, expected));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"{"model_type": "musicgen", "decoder": {"hidden_size": 64, "num_attention_heads": 4, "ffn_dim": 128,
        "num_hidden_layers": 3, "vocab_size": 64}, "text_encoder": {"d_model": 48, "num_layers": 2},
        "audio_encoder": {"codebook_size": 64}}"#;

    fn shapes(config: &MusicgenConfig) -> BTreeMap<String, Vec<usize>> {
        config.inventory().into_iter().map(|spec| (spec.name, spec.shape)).collect()
    }

    /// Shapes of the published large model, with a condition transformer of 501 rows.
    fn large() -> MusicgenConfig {
        let decoder = r#"{"model_type": "instruct_musicgen", "decoder": {"hidden_size": 2048, "num_attention_heads": 32,
            "ffn_dim": 8192, "num_hidden_layers": 48}, "text_encoder": {}, "audio_encoder": {},
            "cp_transformer": {"num_layers": 48, "max_frames": 501, "hidden_size": 2048}}"#;
        MusicgenConfig::from_json(decoder).unwrap()
    }

    #[test]
    fn sizes_are_read_written_and_inferred() {
        let mut config = MusicgenConfig::from_json(SMALL).unwrap();
        let again = MusicgenConfig::from_value(&Value::Object(config.to_fields())).unwrap();
        assert_eq!(again, config);
        let mut inferred = MusicgenConfig::infer(&shapes(&config), Some(4)).unwrap();
        inferred.text_encoder = config.text_encoder.clone();
        inferred.audio_encoder = config.audio_encoder.clone();
        assert_eq!(inferred, config);
        config.cp_transformer = Some(CpTransformer { num_layers: 3, max_frames: 21, hidden_size: 64 });
        assert_eq!(MusicgenConfig::infer(&shapes(&config), None).unwrap().cp_transformer, config.cp_transformer);
        assert_eq!(MusicgenConfig::infer(&shapes(&large()), None).unwrap().decoder, large().decoder);
    }

    /// The numbers of values of MusicGen-large's blocks, embeddings and heads, and of the condition transformer: 48 · 16 D² and
    /// so on.
    #[test]
    fn the_large_model_has_its_number_of_values() {
        let values = |start: &str| -> usize {
            let tensors = large().inventory();
            let of = tensors.iter().filter(|spec| spec.name.starts_with(start));
            of.map(|spec| spec.shape.iter().product::<usize>()).sum()
        };
        let norms = 48 * 6 * 2048;
        assert_eq!(values("lm.layers."), 48 * 16 * 2048 * 2048 + norms);
        assert_eq!(values("lm.emb.") + values("lm.linears."), 4 * (2049 + 2048) * 2048);
        assert_eq!(values("cp_transformer."), 49 * 501 * 2048 + 48 + 48 * 2048 * 2048);
        assert_eq!(large().inventory().len(), 4 + 2 + 48 * (8 + 2 + 6) + 2 + 4 + 2 + 48);
    }

    #[test]
    fn fields_that_no_musicgen_has_are_refused() {
        for (from, to, word) in [
            (r#""model_type": "musicgen""#, r#""model_type": "musicgen_melody""#, "chromagram"),
            (r#""model_type": "musicgen""#, r#""model_type": "t5""#, "model_type"),
            (r#""num_attention_heads": 4"#, r#""num_attention_heads": 5"#, "num_attention_heads"),
            (r#""vocab_size": 64"#, r#""vocab_size": 64, "pad_token_id": 0"#, "pad_token_id"),
            (r#""vocab_size": 64"#, r#""vocab_size": 64, "activation_function": "relu""#, "activation_function"),
            (r#""vocab_size": 64"#, r#""vocab_size": 64, "audio_channels": 3"#, "audio_channels"),
            (r#""num_hidden_layers": 3"#, r#""num_hidden_layers": 0"#, "num_hidden_layers"),
            (r#""d_model": 48"#, r#""d_model": "48""#, "text_encoder.d_model"),
            (r#""audio_encoder""#, r#""audio""#, "audio_encoder"),
        ] {
            assert!(SMALL.contains(from));
            let error = MusicgenConfig::from_json(&SMALL.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(word), "{to}: {error}");
        }
        let mut config = large();
        config.decoder.audio_channels = 2;
        assert!(config.validate().unwrap_err().to_string().contains("edits mono"));
        config.cp_transformer = Some(CpTransformer { num_layers: 47, max_frames: 501, hidden_size: 2048 });
        assert!(config.validate().unwrap_err().to_string().contains("cp_transformer.num_layers"));
        let mut missing = shapes(&large());
        missing.remove("lm.emb.0.weight");
        assert!(MusicgenConfig::infer(&missing, None).unwrap_err().to_string().contains("lm.emb.0.weight"));
    }
}
