//! The `config.json` of a bundle: sizes, quantization, the instruct part, and the settings of generation.

use std::path::{Path, PathBuf};

use mert_arch::naming::MusicgenNames;
use mert_arch::{CONFIG_FILE, MusicgenConfig, QuantizationConfig};
use serde::Deserialize;
use serde_json::Value;

use super::files::read_json;
use crate::{MusicgenError, Result};

/// The configuration of a bundle.
#[derive(Debug, Clone, PartialEq)]
pub struct BundleConfig {
    /// The file.
    pub path: PathBuf,
    /// The names of the tensors.
    pub names: MusicgenNames,
    /// The sizes of the language model and of the transformer over the input's codes.
    pub model: MusicgenConfig,
    /// The rate of the audio in hertz.
    pub sampling_rate: u32,
    /// The samples of a frame of codes.
    pub hop_length: usize,
    /// The quantization of the linear layers; `None` if they are floats.
    pub quantization: Option<QuantizationConfig>,
    /// The origin of the instruct part.
    pub instruct: Option<InstructConfig>,
    /// The settings of generation.
    pub generation: GenerationConfig,
    /// The licence of the weights.
    pub license: Option<String>,
}

/// The origin of the instruct part, as mert-convert records it.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct InstructConfig {
    /// The factor of LoRA's B · A that was merged.
    pub lora_scale: Option<f64>,
    /// Whether the frozen weights of the cross-attention are a random initialisation.
    pub base_was_random: Option<bool>,
    /// The number of frames whose positions look trained.
    pub trained_frames: Option<usize>,
}

/// The settings of generation that the model comes with.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(default)]
pub struct GenerationConfig {
    /// The factor of classifier-free guidance.
    pub guidance_scale: f64,
    /// The number of likeliest codes that are drawn from.
    pub top_k: usize,
    /// The total probability of the likeliest codes that are drawn from, in place of `top_k`; 0 or 1 for no such limit.
    pub top_p: f64,
    /// The temperature.
    pub temperature: f64,
    /// True if codes are drawn, false if the likeliest is taken.
    pub do_sample: bool,
}

impl Default for GenerationConfig {
    /// audiocraft's defaults.
    fn default() -> Self {
        GenerationConfig { guidance_scale: 3.0, top_k: 250, top_p: 0.0, temperature: 1.0, do_sample: true }
    }
}

#[derive(Deserialize)]
struct AudioEncoder {
    sampling_rate: u32,
    #[serde(default = "encodec_ratios")]
    upsampling_ratios: Vec<usize>,
}

/// The ratios of EnCodec at 32 kHz.
fn encodec_ratios() -> Vec<usize> {
    vec![8, 5, 4, 4]
}

impl BundleConfig {
    /// Reads the `config.json` of a bundle.
    ///
    /// # Errors
    /// [`MusicgenError::Open`] if there is none, [`MusicgenError::File`] naming the field at fault.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(CONFIG_FILE);
        let value = read_json(&path)?;
        let model =
            MusicgenConfig::from_value(&value).map_err(|error| MusicgenError::file(&path, error.to_string()))?;
        if value.get("decoder").and_then(|decoder| decoder.get("num_attention_heads")).is_none() {
            let reason = "it has no `decoder.num_attention_heads`, which no shape of a weight shows: add the number of heads, or convert \
                          the model again with mert-convert";
            return Err(MusicgenError::file(&path, reason));
        }
        let audio: AudioEncoder = required(&path, &value, "audio_encoder")?;
        let quantization = value.get("quantization").or_else(|| value.get("quantization_config"));
        let quantization = quantization.map(QuantizationConfig::from_value).transpose();
        let names: Option<String> = optional(&path, &value, "names")?;
        let names = names.map_or(Ok(MusicgenNames::Mlx), |names| names.parse());
        let config = BundleConfig {
            names: names.map_err(|reason: String| MusicgenError::file(&path, reason))?,
            model,
            sampling_rate: audio.sampling_rate,
            hop_length: audio.upsampling_ratios.iter().fold(1, |product, &ratio| product.saturating_mul(ratio)),
            quantization: quantization.map_err(|reason| MusicgenError::file(&path, reason))?,
            instruct: section(&path, &value, "instruct")?,
            generation: section(&path, &value, "generation")?.unwrap_or_default(),
            license: optional(&path, &value, "license")?,
            path,
        };
        config.validate().map_err(|reason| MusicgenError::file(&config.path, reason))?;
        Ok(config)
    }

    /// The number of frames in a second.
    pub fn frame_rate(&self) -> f64 {
        f64::from(self.sampling_rate) / self.hop_length as f64
    }

    /// The number of codebooks of a channel.
    pub fn codebooks_of_a_channel(&self) -> usize {
        self.model.decoder.num_codebooks / self.model.decoder.audio_channels
    }

    fn validate(&self) -> Result<(), String> {
        let sizes = [
            ("audio_encoder.upsampling_ratios", self.hop_length, 1 << 20),
            ("audio_encoder.sampling_rate", self.sampling_rate as usize, 1 << 20),
        ];
        for (field, found, most) in sizes {
            if !(1..=most).contains(&found) {
                return Err(format!("`{field}` is {found}, expected 1 to {most}"));
            }
        }
        if self.instruct.as_ref().is_some_and(|instruct| instruct.trained_frames == Some(0)) {
            return Err("`instruct.trained_frames` is 0, expected at least 1".into());
        }
        let GenerationConfig { guidance_scale, temperature, .. } = self.generation;
        if !guidance_scale.is_finite() || !temperature.is_finite() || temperature <= 0.0 {
            return Err(format!(
                "`generation` has guidance_scale {guidance_scale} and temperature {temperature}, expected finite numbers, \
                 the temperature above 0"
            ));
        }
        Ok(())
    }
}

/// A section: an object, as a list would be read field by field in an order that nobody sees.
fn section<T: serde::de::DeserializeOwned>(path: &Path, value: &Value, field: &str) -> Result<Option<T>> {
    match value.get(field) {
        None | Some(Value::Null | Value::Object(_)) => optional(path, value, field),
        Some(found) => Err(MusicgenError::file(path, format!("`{field}` is {found}, expected an object"))),
    }
}

/// A reason of serde with the names of Rust's types in words.
fn in_words(reason: &str) -> String {
    let words =
        [("usize", "a whole number"), ("u32", "a whole number"), ("f64", "a number"), ("bool", "true or false")];
    let word = |text: &str| {
        let found = words.iter().find(|(name, _)| *name == text);
        found.map_or_else(|| text.to_string(), |(_, word)| (*word).to_string())
    };
    reason.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// A field that must be there.
fn required<T: serde::de::DeserializeOwned>(path: &Path, value: &Value, field: &str) -> Result<T> {
    section(path, value, field)?.ok_or_else(|| MusicgenError::file(path, format!("it has no `{field}`")))
}

/// A field that may be absent or null.
fn optional<T: serde::de::DeserializeOwned>(path: &Path, value: &Value, field: &str) -> Result<Option<T>> {
    match value.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(found) => {
            let parsed = serde_path_to_error::deserialize(found);
            parsed.map(Some).map_err(|error: serde_path_to_error::Error<serde_json::Error>| {
                let (inner, reason) = (error.path().to_string(), in_words(&error.inner().to_string()));
                let field = if inner == "." { field.to_string() } else { format!("{field}.{inner}") };
                MusicgenError::file(path, format!("`{field}`: {reason}"))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(edit: impl FnOnce(&mut Value)) -> Result<BundleConfig> {
        let mut value = serde_json::json!({
            "model_type": "instruct_musicgen",
            "decoder": {"num_hidden_layers": 3, "hidden_size": 64, "num_attention_heads": 4, "ffn_dim": 128,
                "num_codebooks": 4, "vocab_size": 64},
            "text_encoder": {"d_model": 48},
            "audio_encoder": {"sampling_rate": 32000},
            "cp_transformer": {"num_layers": 3, "max_frames": 51, "hidden_size": 64},
        });
        edit(&mut value);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(CONFIG_FILE), value.to_string()).unwrap();
        BundleConfig::read(folder.path())
    }

    #[test]
    fn defaults() {
        let config = read(|_| ()).unwrap();
        assert_eq!((config.hop_length, config.frame_rate(), config.names), (640, 50.0, MusicgenNames::Mlx));
        assert_eq!(config.generation, GenerationConfig::default());
    }

    #[test]
    fn fields_at_fault_are_named() {
        type Edit = fn(&mut Value);
        let cases: [(&str, Edit); 7] = [
            ("model_type", |v| v["model_type"] = "mert".into()),
            ("it has no `decoder.num_attention_heads`", |v| {
                v["decoder"].as_object_mut().unwrap().remove("num_attention_heads");
            }),
            ("unknown names `mxl`", |v| v["names"] = "mxl".into()),
            ("`audio_encoder`: missing field `sampling_rate`", |v| v["audio_encoder"] = serde_json::json!({})),
            ("Instruct-MusicGen edits mono", |v| v["decoder"]["audio_channels"] = 2.into()),
            ("temperature 0", |v| v["generation"] = serde_json::json!({"temperature": 0.0})),
            ("`quantization` has no `bits`", |v| v["quantization"] = serde_json::json!({"group_size": 64})),
        ];
        for (message, edit) in cases {
            let error = read(edit).unwrap_err().to_string();
            assert!(error.contains(message), "{message}: {error}");
        }
    }
}
