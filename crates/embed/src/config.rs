//! The YAML configuration of Python programs for MERT and wav2vec 2.0, limited to the fields that `mert-embed` uses.

use std::collections::BTreeMap;
use std::path::Path;

use mert_arch::LayerSelection;
use mert_table::Pool;
use serde::Deserialize;
use serde_json::Value;

use crate::EmbedError;

/// The section `feature_extraction` of a YAML configuration, with the keys of Python programs. Other sections are ignored.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct EmbedConfig {
    /// The choice of encoders.
    #[serde(default)]
    pub encoder: EncoderChoice,
    mert: Option<EncoderConfig>,
    wav2vec: Option<EncoderConfig>,
}

/// The value of `encoder`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EncoderChoice {
    /// The model of the section `mert`.
    #[default]
    Mert,
    /// The model of the section `wav2vec`.
    Wav2Vec,
    /// Both, with concatenated embeddings.
    Hybrid,
}

/// The section of an encoder, `mert` or `wav2vec`. Any model that the toolkit supports may be in either.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct EncoderConfig {
    /// The name of the section.
    #[serde(skip)]
    pub name: &'static str,
    /// The path of the converted model. Python programs have the name of a hub model here.
    pub model_name: Option<String>,
    layer: Option<LayerKey>,
    aggregation: Option<String>,
    /// The device, under a name that [`mert_runtime::DeviceKind`] parses.
    pub device: Option<String>,
    /// Unknown keys.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

/// The value of `layer`: `6`, `-1`, `[0, 6, 12]` or `all`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "`layer` must be a whole number, a list of them, or a text such as all or 0-12")]
enum LayerKey {
    One(i64),
    Several(Vec<i64>),
    Text(String),
}

#[derive(Deserialize)]
struct File {
    feature_extraction: Option<EmbedConfig>,
}

impl EmbedConfig {
    /// Reads a YAML file.
    ///
    /// # Errors
    /// [`EmbedError::Read`] if it cannot be read, [`EmbedError::Config`] if it is not such YAML or lacks the section of a
    /// chosen encoder.
    pub fn read(path: &Path) -> Result<Self, EmbedError> {
        let text = std::fs::read_to_string(path).map_err(|error| EmbedError::read(path, error))?;
        let file: File = serde_yaml::from_str(&text).map_err(|error| EmbedError::config(path, error.to_string()))?;
        let mut config = file.feature_extraction.unwrap_or_default();
        for (name, section) in [("mert", &mut config.mert), ("wav2vec", &mut config.wav2vec)] {
            section.iter_mut().for_each(|section| section.name = name);
        }
        let missing = |name: &str| EmbedError::config(path, format!("it has no section `feature_extraction.{name}`"));
        match (config.encoder, &config.mert, &config.wav2vec) {
            (EncoderChoice::Mert, None, Some(_)) => Err(EmbedError::config(
                path,
                "it has no section `feature_extraction.mert`; for the section wav2vec add `encoder: wav2vec`",
            )),
            (EncoderChoice::Mert | EncoderChoice::Hybrid, None, _) => Err(missing("mert")),
            (EncoderChoice::Wav2Vec | EncoderChoice::Hybrid, _, None) => Err(missing("wav2vec")),
            _ => Ok(config),
        }
    }

    /// The sections of the chosen encoders, in the order of their vectors.
    pub fn encoders(&self) -> Vec<&EncoderConfig> {
        let (mert, wav2vec) = match self.encoder {
            EncoderChoice::Mert => (true, false),
            EncoderChoice::Wav2Vec => (false, true),
            EncoderChoice::Hybrid => (true, true),
        };
        [(mert, &self.mert), (wav2vec, &self.wav2vec)]
            .into_iter()
            .filter_map(|(is_chosen, section)| section.as_ref().filter(|_| is_chosen))
            .collect()
    }
}

impl EncoderConfig {
    /// The section of an encoder that no configuration describes.
    pub fn unconfigured() -> Self {
        EncoderConfig { name: "mert", ..EncoderConfig::default() }
    }

    /// The hidden states that `layer` selects, in a model of any depth: -1 is the last, -2 the one before.
    ///
    /// # Errors
    /// [`EmbedError::Config`] for an invalid value.
    pub fn layer_selection(&self, path: &Path) -> Result<Option<LayerSelection>, EmbedError> {
        let Some(layer) = &self.layer else { return Ok(None) };
        let selection = match layer {
            LayerKey::Text(text) => text.parse(),
            LayerKey::One(layer) => Ok(LayerSelection::Some([*layer].into())),
            LayerKey::Several(layers) if layers.is_empty() => {
                return Err(self.error(path, "layer: the list is empty"));
            }
            LayerKey::Several(layers) => Ok(LayerSelection::Some(layers.iter().copied().collect())),
        };
        selection.map(Some).map_err(|error| self.error(path, format!("layer: {error}")))
    }

    /// The hidden states that `layer` selects in a model with `count` of them.
    ///
    /// # Errors
    /// [`EmbedError::Config`] for an invalid value, or a hidden state that the model does not have.
    pub fn layers(&self, count: usize, path: &Path) -> Result<Option<LayerSelection>, EmbedError> {
        let selection = self.layer_selection(path)?;
        if let Some(selection) = &selection {
            selection.resolve(count).map_err(|error| self.error(path, format!("layer: {error}")))?;
        }
        Ok(selection)
    }

    /// The pooling that `aggregation` selects.
    ///
    /// # Errors
    /// [`EmbedError::Config`] for an unknown pooling.
    pub fn pool(&self, path: &Path) -> Result<Option<Pool>, EmbedError> {
        let parse = |text: &String| {
            let name = if text == "mean_std" { "mean+std" } else { text };
            name.parse().map_err(|reason| self.error(path, format!("aggregation: {reason}")))
        };
        self.aggregation.as_ref().map(parse).transpose()
    }

    /// The error of a field of this section of the file at `path`.
    pub fn error(&self, path: &Path, reason: impl std::fmt::Display) -> EmbedError {
        EmbedError::config(path, format!("{}.{reason}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<EmbedConfig, EmbedError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        EmbedConfig::read(file.path())
    }

    /// The section of the only encoder.
    fn section(text: &str) -> Result<EncoderConfig, EmbedError> {
        read(text).map(|config| <[&EncoderConfig; 1]>::try_from(config.encoders()).unwrap()[0].clone())
    }

    fn layers(layer: &str) -> Result<Option<LayerSelection>, EmbedError> {
        section(&format!("feature_extraction:\n  mert:\n    layer: {layer}\n"))?.layers(13, "x".as_ref())
    }

    #[test]
    fn reads_what_python_programs_have() {
        let config = section(
            "data: {root: music}\nfeature_extraction:\n  clap: {model_name: x}\n  mert:\n    model_name: m-a-p/MERT-v1-95M\n    \
             layer: -1\n    aggregation: mean\n    device: cuda:0\n    chunk: 5\n",
        )
        .unwrap();
        assert_eq!(config.model_name.as_deref(), Some("m-a-p/MERT-v1-95M"));
        assert_eq!(config.pool("x".as_ref()).unwrap(), Some(Pool::Mean));
        assert_eq!(config.device.as_deref().unwrap().parse(), Ok(mert_runtime::DeviceKind::Cuda));
        assert_eq!(config.unknown.keys().collect::<Vec<_>>(), ["chunk"]);
    }

    #[test]
    fn layers_count_from_either_end() {
        let chosen = |text: &str| layers(text).unwrap().unwrap().resolve(13).unwrap();
        assert_eq!(chosen("-1"), [12]);
        assert_eq!(chosen("'-1'"), [12]);
        assert_eq!(chosen("6"), [6]);
        assert_eq!(chosen("[0, -1, 6]"), [0, 6, 12]);
        assert_eq!(layers("all").unwrap(), Some(LayerSelection::All));
        assert_eq!(section("feature_extraction: {mert: {}}").unwrap().layers(13, "x".as_ref()).unwrap(), None);
        for wrong in ["13", "-14", "[]", "1.5", "six", "[0, 13]"] {
            assert!(layers(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_encoder_is_chosen() {
        let text = |encoder: &str| {
            format!("feature_extraction:\n  encoder: {encoder}\n  mert: {{layer: 6}}\n  wav2vec: {{layer: 99}}\n")
        };
        for (encoder, names) in [("mert", &["mert"][..]), ("wav2vec", &["wav2vec"]), ("hybrid", &["mert", "wav2vec"])] {
            let config = read(&text(encoder)).unwrap();
            assert_eq!(config.encoders().iter().map(|section| section.name).collect::<Vec<_>>(), names);
        }
        assert!(read(&text("clap")).unwrap_err().to_string().contains("wav2vec"));
        let error = section(&text("wav2vec")).unwrap().layers(13, "x".as_ref()).unwrap_err().to_string();
        assert!(error.starts_with("x: wav2vec.layer: hidden state 99"), "{error}");
        for (text, words) in [
            ("encoder: hybrid\n  mert: {}", "no section `feature_extraction.wav2vec`"),
            ("encoder: hybrid\n  wav2vec: {}", "no section `feature_extraction.mert`"),
            ("encoder: wav2vec\n  mert: {}", "no section `feature_extraction.wav2vec`"),
            ("wav2vec: {}", "add `encoder: wav2vec`"),
        ] {
            let error = read(&format!("feature_extraction:\n  {text}\n")).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_file_without_the_section_is_refused() {
        for text in ["", "a: 1", "feature_extraction: {}", "feature_extraction: [", "feature_extraction: {mert: 5}"] {
            assert!(matches!(read(text), Err(EmbedError::Config { .. })), "{text}");
        }
    }
}
