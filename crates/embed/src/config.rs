//! The YAML configuration of Python programs for MERT, limited to the fields that `mert-embed` uses.

use std::collections::BTreeMap;
use std::path::Path;

use mert_arch::LayerSelection;
use mert_table::Pool;
use serde::Deserialize;
use serde_json::Value;

use crate::EmbedError;

/// The section `feature_extraction.mert` of a YAML configuration, with the keys of Python programs for MERT. Other
/// sections are ignored.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct EmbedConfig {
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
    feature_extraction: Option<Section>,
}

#[derive(Deserialize)]
struct Section {
    mert: Option<EmbedConfig>,
}

impl EmbedConfig {
    /// Reads a YAML file.
    ///
    /// # Errors
    /// [`EmbedError::Read`] if it cannot be read, [`EmbedError::Config`] if it is not such YAML or has no section
    /// `feature_extraction.mert`.
    pub fn read(path: &Path) -> Result<Self, EmbedError> {
        let text = std::fs::read_to_string(path).map_err(|error| EmbedError::read(path, error))?;
        let file: File = serde_yaml::from_str(&text).map_err(|error| EmbedError::config(path, error.to_string()))?;
        let config = file.feature_extraction.and_then(|section| section.mert);
        config.ok_or_else(|| EmbedError::config(path, "it has no section `feature_extraction.mert`"))
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
                return Err(EmbedError::config(path, "layer: the list is empty"));
            }
            LayerKey::Several(layers) => Ok(LayerSelection::Some(layers.iter().copied().collect())),
        };
        selection.map(Some).map_err(|error| EmbedError::layer(path, &error))
    }

    /// The hidden states that `layer` selects in a model with `count` of them.
    ///
    /// # Errors
    /// [`EmbedError::Config`] for an invalid value, or a hidden state that the model does not have.
    pub fn layers(&self, count: usize, path: &Path) -> Result<Option<LayerSelection>, EmbedError> {
        let selection = self.layer_selection(path)?;
        if let Some(selection) = &selection {
            selection.resolve(count).map_err(|error| EmbedError::layer(path, &error))?;
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
            name.parse().map_err(|reason| EmbedError::config(path, format!("aggregation: {reason}")))
        };
        self.aggregation.as_ref().map(parse).transpose()
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

    fn layers(layer: &str) -> Result<Option<LayerSelection>, EmbedError> {
        read(&format!("feature_extraction:\n  mert:\n    layer: {layer}\n"))?.layers(13, "x".as_ref())
    }

    #[test]
    fn reads_what_python_programs_have() {
        let config = read(
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
        assert_eq!(read("feature_extraction: {mert: {}}").unwrap().layers(13, "x".as_ref()).unwrap(), None);
        for wrong in ["13", "-14", "[]", "1.5", "six", "[0, 13]"] {
            assert!(layers(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_without_the_section_is_refused() {
        for text in ["", "a: 1", "feature_extraction: {}", "feature_extraction: [", "feature_extraction: {mert: 5}"] {
            assert!(matches!(read(text), Err(EmbedError::Config { .. })), "{text}");
        }
    }
}
