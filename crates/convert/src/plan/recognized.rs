//! How the family of a checkpoint was recognized, and which published model it is.

use mert_arch::naming::NamingScheme;
use mert_arch::{Config, KnownCheckpoint, ModelConfig, inventory};
use mert_checkpoint::{Listing, Source};
use serde::Serialize;

use super::config::ConfigOrigin;

/// The family of a checkpoint and the evidence for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recognized {
    /// The family's `model_type` in transformers.
    pub family: &'static str,
    /// The evidence.
    pub by: Evidence,
    /// The implementation whose names the tensors have in the file.
    pub names: NamingScheme,
}

/// The evidence for a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// A `config.json`.
    ConfigJson,
    /// The training configuration in the checkpoint.
    Cfg,
    /// The names of the tensors.
    TensorNames,
}

impl Recognized {
    pub(super) fn new(config: &Config, origin: &ConfigOrigin, listing: &Listing, prefix: &str) -> Self {
        let by = match origin {
            ConfigOrigin::File(_) => Evidence::ConfigJson,
            ConfigOrigin::Cfg { .. } => Evidence::Cfg,
            ConfigOrigin::Inferred { .. } => Evidence::TensorNames,
        };
        let names = listing.naming.get(prefix).copied().unwrap_or_default();
        Recognized { family: config.family().model_type, by, names }
    }
}

impl std::fmt::Display for Recognized {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by = match self.by {
            Evidence::ConfigJson => "config.json",
            Evidence::Cfg => "the cfg in the checkpoint",
            Evidence::TensorNames => "the names of its tensors",
        };
        write!(f, "{}, by {by}; names as in {}", self.family, self.names)
    }
}

/// The published checkpoint with these bytes, if the file may be one: its digest is computed only if its size is that of one.
pub(super) fn known(source: &Source, listing: &Listing) -> Option<&'static KnownCheckpoint> {
    // The digest takes half as long as a conversion: files under Hugging Face names have a config.json that tells as much.
    source.known(!listing.naming.is_empty())
}

/// A note that the shapes of HuBERT base are not a model's name; `None` for other shapes, and where the name is known.
pub(super) fn ambiguity(config: &Config, origin: &ConfigOrigin, known: Option<&KnownCheckpoint>) -> Option<String> {
    let is_named = matches!(origin, ConfigOrigin::Cfg { name: Some(name), .. } if name == "contentvec");
    let is_base = || inventory(config) == inventory(&Config::default());
    if known.is_some() || is_named || !matches!(config.model, ModelConfig::Hubert(_)) || !is_base() {
        return None;
    }
    Some(
        "HuBERT base and ContentVec have the same tensors, which do not tell them apart, and a voice model works with the one \
         that it was trained with only; this file is no published one that is known by its SHA-256"
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use mert_arch::KNOWN_CHECKPOINTS;

    use super::*;

    /// RVC's issue 2121: HuBERT base in place of ContentVec loads, and gives wrong voices.
    #[test]
    fn a_model_of_hubert_base_s_shape_may_be_contentvec() {
        let cfg = |name: &str| ConfigOrigin::Cfg { name: Some(name.into()), assumptions: Vec::new() };
        let base = Config::default();
        let note = ambiguity(&base, &cfg("hubert"), None).unwrap();
        assert!(note.contains("ContentVec") && note.contains("HuBERT base"), "{note}");
        assert!(ambiguity(&base, &ConfigOrigin::File("config.json".into()), None).is_some());
        assert_eq!(ambiguity(&base, &cfg("contentvec"), None), None);
        assert_eq!(ambiguity(&base, &cfg("hubert"), Some(&KNOWN_CHECKPOINTS[2])), None);
        assert_eq!(ambiguity(&Config { num_hidden_layers: 11, ..base }, &cfg("hubert"), None), None);
        assert_eq!(ambiguity(&Config::mert_v1_95m(), &cfg("mert"), None), None);
    }
}
