//! The configuration of a checkpoint: from a file, or inferred from the tensors' shapes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mert_arch::{CONFIG_FILE, Config, InferredConfig, infer_config};
use mert_checkpoint::{Listing, Source, read_named_text};
use serde::Serialize;

use super::options::PlanOptions;
use crate::{ConvertError, Result};

/// The origin of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigOrigin {
    /// A `config.json`, by its path.
    File(PathBuf),
    /// The tensors' shapes, with assumptions about what they do not determine.
    Inferred {
        /// The assumptions, one sentence each.
        assumptions: Vec<String>,
    },
}

impl std::fmt::Display for ConfigOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConfigOrigin::File(path) => write!(f, "{}", path.display()),
            ConfigOrigin::Inferred { .. } => f.write_str("inferred from the tensors' shapes"),
        }
    }
}

/// Reads or infers the configuration of the encoder under `prefix`.
///
/// # Errors
/// [`ConvertError::Config`] or [`ConvertError::SetField`] for an invalid one, [`ConvertError::Infer`] if the shapes do not
/// imply one.
pub(super) fn find_config(
    source: &Source,
    listing: &Listing,
    prefix: &str,
    options: &PlanOptions,
) -> Result<(Config, ConfigOrigin)> {
    let fields = &options.config_set;
    match options.config_file.as_ref().or(source.config_file.as_ref()) {
        Some(path) => {
            let text = read_named_text(path, CONFIG_FILE)?;
            let config = Config::from_json_with(&text, fields).map_err(|source| {
                let is_set = fields.iter().any(|field| source.field() == Some(&field.name));
                match is_set || !fields.is_empty() && Config::from_json(&text).is_ok() {
                    true => ConvertError::SetField { source },
                    false => ConvertError::config(path, source),
                }
            });
            Ok((config?, ConfigOrigin::File(path.clone())))
        }
        None => {
            let shapes: BTreeMap<String, Vec<usize>> = listing
                .tensors
                .iter()
                .filter_map(|(name, info)| Some((name.strip_prefix(prefix)?.to_string(), info.shape.clone())))
                .collect();
            let InferredConfig { config, assumptions } = infer_config(&shapes, prefix, fields)?;
            Ok((config, ConfigOrigin::Inferred { assumptions }))
        }
    }
}
