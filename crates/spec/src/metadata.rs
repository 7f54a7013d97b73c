use std::collections::BTreeMap;

use thiserror::Error;

use crate::{Config, ConfigError, Dtype, Layout};

/// What a converted file says about itself, in the string-to-string `__metadata__` of safetensors.
#[derive(Debug, Clone, PartialEq)]
pub struct Metadata {
    /// How Conv1d weights are ordered.
    pub layout: Layout,
    /// The element type of every tensor.
    pub dtype: Dtype,
    /// The architecture.
    pub config: Config,
    /// Whether the architecture was worked out from shapes, with assumptions, for want of a
    /// `config.json`.
    pub config_inferred: bool,
    /// SHA-256 of the checkpoint, in hexadecimal; of a sharded one, of its files' digests in order.
    pub source_sha256: String,
    /// The checkpoint's licence, where it is known.
    pub license: Option<String>,
    /// Name and version of the program that wrote the file.
    pub generator: String,
}

/// Why a file's metadata cannot be used.
#[derive(Debug, Error)]
pub enum MetadataError {
    /// The file was not written by the converter.
    #[error(
        "the file's metadata has no `{0}`, so it was not written by mert-convert; convert the original checkpoint first"
    )]
    Missing(&'static str),
    /// A value is not one of those that the converter writes.
    #[error("the file's metadata entry `{key}` is wrong: {reason}")]
    Invalid {
        /// The entry's key.
        key: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// The embedded configuration cannot be used.
    #[error("the file's embedded configuration: {0}")]
    Config(#[from] ConfigError),
}

impl Metadata {
    /// The entries, sorted by key.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        let mut map = BTreeMap::from([
            ("format".into(), self.layout.format().into()),
            ("layout".into(), self.layout.name().into()),
            ("dtype".into(), self.dtype.name().into()),
            ("config".into(), self.config.to_json()),
            ("source_sha256".into(), self.source_sha256.clone()),
            ("generator".into(), self.generator.clone()),
        ]);
        if self.config_inferred {
            map.insert("config_inferred".into(), "true".into());
        }
        if let Some(license) = &self.license {
            map.insert("license".into(), license.clone());
        }
        map
    }

    /// Reads the entries of a converted file; `get` looks one up by key.
    ///
    /// # Errors
    /// [`MetadataError`] if the file is not a converted one or its entries contradict each other.
    pub fn from_lookup<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Self, MetadataError> {
        let entry = |key: &'static str| get(key).ok_or(MetadataError::Missing(key));
        let layout: Layout =
            entry("layout")?.parse().map_err(|reason| MetadataError::Invalid { key: "layout", reason })?;
        let dtype = entry("dtype")?.parse().map_err(|reason| MetadataError::Invalid { key: "dtype", reason })?;
        if let Some(format) = get("format").filter(|&format| format != layout.format()) {
            return Err(MetadataError::Invalid {
                key: "format",
                reason: format!("{format:?} does not go with layout `{layout}`, which has `{}`", layout.format()),
            });
        }
        Ok(Metadata {
            layout,
            dtype,
            config: Config::from_json(entry("config")?)?,
            config_inferred: get("config_inferred").is_some(),
            source_sha256: sha256(entry("source_sha256")?)?,
            license: get("license").map(str::to_string),
            generator: entry("generator")?.to_string(),
        })
    }
}

fn sha256(text: &str) -> Result<String, MetadataError> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_string());
    }
    let reason = format!("{text:?} is not 64 hexadecimal digits");
    Err(MetadataError::Invalid { key: "source_sha256", reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Metadata {
        Metadata {
            layout: Layout::Mlx,
            dtype: Dtype::F16,
            config: Config::mert_v1_95m(),
            config_inferred: true,
            source_sha256: "ab".repeat(32),
            license: Some("CC-BY-NC-4.0".into()),
            generator: "mert-convert 0.1.0".into(),
        }
    }

    #[test]
    fn round_trip() {
        let map = example().to_map();
        let read = Metadata::from_lookup(|key| map.get(key).map(String::as_str)).unwrap();
        assert_eq!(read, example());
    }

    #[test]
    fn a_contradiction_is_refused() {
        let mut map = example().to_map();
        map.insert("layout".into(), "candle".into());
        let error = Metadata::from_lookup(|key| map.get(key).map(String::as_str)).unwrap_err();
        assert!(error.to_string().contains("format"), "{error}");
    }
}
