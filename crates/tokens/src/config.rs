//! The YAML configuration of Python programs for MERT: `quantization` beside `feature_extraction`, which `mert-embed` reads.

use std::path::Path;

use mert_embed::{EmbedConfig, EmbedError};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::vocabulary::Normalize;
use crate::{Result, TokensError};

/// A YAML configuration for the training of a vocabulary.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainConfig {
    /// The section `feature_extraction`, with the encoder and its hidden state.
    pub extraction: EmbedConfig,
    /// The section `quantization`.
    pub quantization: QuantizationConfig,
    /// Sentences about what a key means here.
    pub notes: Vec<String>,
}

/// The section `quantization`. `None` is a key that is not given.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QuantizationConfig {
    /// `n_clusters`: the number of centres.
    pub n_clusters: Option<usize>,
    /// `distance_metric`: `euclidean` is [`Normalize::None`], `cosine` [`Normalize::L2`].
    pub normalize: Option<Normalize>,
    /// `random_state`: the seed.
    pub random_state: Option<u64>,
    /// `max_iter`: the passes at most.
    pub max_iter: Option<usize>,
}

/// The keys of the section.
const KEYS: [&str; 5] = ["method", "n_clusters", "distance_metric", "random_state", "max_iter"];

#[derive(Deserialize)]
struct File {
    quantization: Option<Value>,
}

impl TrainConfig {
    /// Reads a YAML file.
    ///
    /// # Errors
    /// [`TokensError::Read`], or [`TokensError::Config`] with the key that is unknown or invalid.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| TokensError::read(path, source))?;
        let error = |reason: String| TokensError::Config { path: path.into(), reason };
        let file: File = serde_yaml::from_str(&text).map_err(|reason| error(reason.to_string()))?;
        let section = match file.quantization {
            Some(Value::Object(section)) => section,
            Some(other) => return Err(error(format!("`quantization` is {other}, expected keys such as n_clusters"))),
            None => {
                return Err(error(
                    "it has no section `quantization`, such as {method: kmeans, n_clusters: 2048, distance_metric: euclidean}".into(),
                ));
            }
        };
        let extraction = EmbedConfig::read(path).map_err(|reason| match reason {
            EmbedError::Config { reason, .. } => error(reason),
            other => error(other.to_string()),
        })?;
        let mut notes = Vec::new();
        let quantization = quantization(&section, &mut notes).map_err(error)?;
        Ok(TrainConfig { extraction, quantization, notes })
    }
}

fn quantization(section: &Map<String, Value>, notes: &mut Vec<String>) -> Result<QuantizationConfig, String> {
    if let Some(key) = section.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let nearest = KEYS.iter().max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)));
        return Err(format!(
            "quantization.{}: unknown key; did you mean `{}`? Known are {}",
            mert_arch::printable_line(key),
            nearest.unwrap_or(&KEYS[0]),
            KEYS.join(", ")
        ));
    }
    match section.get("method") {
        None | Some(Value::Null) => {}
        Some(Value::String(method)) if matches!(method.as_str(), "kmeans" | "k-means") => {}
        Some(other) => {
            return Err(format!("quantization.method: {other}, expected kmeans, the only method of a vocabulary here"));
        }
    }
    let number = |key: &str, least: u64| match section.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().filter(|&number| number >= least && number <= u64::from(u32::MAX)) {
            Some(number) => Ok(Some(number)),
            None => Err(format!("quantization.{key}: {value}, expected a whole number from {least}")),
        },
    };
    let normalize = match section.get("distance_metric") {
        None | Some(Value::Null) => None,
        Some(Value::String(metric)) => Some(match metric.as_str() {
            "euclidean" | "l2" => Normalize::None,
            "cosine" => {
                notes.push(
                    "distance_metric cosine: frames are divided by their length (--normalize l2) and compared with the centres by \
                     Euclidean distance"
                        .into(),
                );
                Normalize::L2
            }
            other => {
                return Err(format!(
                    "quantization.distance_metric: `{}`, expected euclidean or cosine",
                    mert_arch::printable_line(other)
                ));
            }
        }),
        Some(other) => return Err(format!("quantization.distance_metric: {other}, expected euclidean or cosine")),
    };
    let as_size = |number: Option<u64>| number.and_then(|number| usize::try_from(number).ok());
    Ok(QuantizationConfig {
        n_clusters: as_size(number("n_clusters", 1)?),
        normalize,
        random_state: number("random_state", 0)?,
        max_iter: as_size(number("max_iter", 1)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TrainConfig> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        TrainConfig::read(file.path())
    }

    const EXTRACTION: &str = "feature_extraction:\n  mert: {model_name: m-a-p/MERT-v1-95M, layer: -1}\n";

    #[test]
    fn the_section_of_mert_users() {
        let section = "quantization: {method: kmeans, n_clusters: 2048, distance_metric: euclidean}\n";
        let config = read(&format!("{EXTRACTION}{section}")).unwrap();
        let expected = QuantizationConfig {
            n_clusters: Some(2048),
            normalize: Some(Normalize::None),
            ..QuantizationConfig::default()
        };
        assert_eq!(config.quantization, expected);
        assert_eq!(config.extraction.encoders()[0].model_name.as_deref(), Some("m-a-p/MERT-v1-95M"));
        assert!(config.notes.is_empty());
        let config =
            read(&format!("{EXTRACTION}quantization: {{distance_metric: cosine, random_state: 7}}\n")).unwrap();
        assert_eq!((config.quantization.normalize, config.quantization.random_state), (Some(Normalize::L2), Some(7)));
        assert!(config.notes[0].contains("Euclidean"));
    }

    #[test]
    fn wrong_sections_are_refused_by_key() {
        for (section, words) in [
            ("quantization: {n_cluster: 5}", "did you mean `n_clusters`"),
            ("quantization: {distance: cosine}", "did you mean `distance_metric`"),
            ("quantization: {method: gmm}", "quantization.method: \"gmm\""),
            ("quantization: {n_clusters: 0}", "quantization.n_clusters: 0"),
            ("quantization: {n_clusters: many}", "expected a whole number from 1"),
            ("quantization: {distance_metric: manhattan}", "`manhattan`, expected euclidean or cosine"),
            ("quantization: kmeans", "`quantization` is \"kmeans\""),
            ("other: 1", "no section `quantization`"),
        ] {
            let error = read(&format!("{EXTRACTION}{section}\n")).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let error = read("quantization: {n_clusters: 5}\n").unwrap_err().to_string();
        assert!(error.contains("feature_extraction.mert"), "{error}");
    }
}
