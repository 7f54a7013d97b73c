//! The prefix of Hugging Face names in a checkpoint's keys.

use std::collections::BTreeSet;
use std::path::Path;

use mert_arch::{CONV0_WEIGHT, printable_line};

use super::nearest::nearest;
use super::other_models::other_model;
use crate::{CheckpointError, Result};

/// The prefix of the model to convert, and those of the other models in the checkpoint.
#[derive(Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The prefix of the model to convert, with its dot; empty for bare names.
    pub chosen: String,
    /// The prefixes of the other models.
    pub others: Vec<String>,
}

/// Finds the prefix of the Hugging Face names in a checkpoint's keys (`model.`, `hubert.`, …).
///
/// The first convolution's weight marks it: every model of the family has exactly one. A `requested` prefix must be one
/// of those found; its last dot may be left out.
///
/// # Errors
/// [`CheckpointError::NoEncoder`], or [`CheckpointError::Ambiguous`] for several models.
pub fn find_prefix<'a>(
    path: &Path,
    names: impl Iterator<Item = &'a str> + Clone,
    requested: Option<&str>,
) -> Result<Prefix> {
    let found: BTreeSet<&str> = names
        .clone()
        .filter_map(|name| name.strip_suffix(CONV0_WEIGHT))
        .filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
        .collect();
    let no_encoder = |hint| {
        let (path, count) = (path.to_path_buf(), names.clone().count());
        Err(CheckpointError::NoEncoder { path, count, expected: CONV0_WEIGHT, hint })
    };
    let choose = |chosen: &str| {
        let others = found.iter().filter(|prefix| **prefix != chosen).map(|prefix| prefix.to_string()).collect();
        Ok(Prefix { chosen: chosen.to_string(), others })
    };
    if let Some(requested) = requested {
        let requested = match requested.is_empty() || requested.ends_with('.') {
            true => requested.to_string(),
            false => format!("{requested}."),
        };
        if found.contains(requested.as_str()) {
            return choose(&requested);
        }
        let listed: Vec<String> = found.iter().map(|prefix| format!("`{}`", printable_line(prefix))).collect();
        let advice = match listed.as_slice() {
            [] => return no_encoder(hint(names.clone())),
            [_] if found.contains("") => "the model's tensors have no prefix; leave --prefix out".to_string(),
            _ => format!("the prefixes that have one are {}", listed.join(", ")),
        };
        return no_encoder(format!(" under prefix `{}`; {advice}", printable_line(&requested)));
    }
    match found.iter().collect::<Vec<_>>()[..] {
        [only] => choose(only),
        [] => no_encoder(hint(names.clone())),
        _ => Err(CheckpointError::Ambiguous {
            candidates: found.into_iter().map(str::to_string).collect(),
            option: "--prefix",
        }),
    }
}

/// The likely model, or the nearest name.
fn hint<'a>(names: impl Iterator<Item = &'a str> + Clone) -> String {
    if let Some(other) = other_model(names.clone()) {
        return format!("; {other}");
    }
    match nearest(CONV0_WEIGHT, names) {
        Some(name) => format!(" (the nearest name is `{name}`)"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(names: &[&str], requested: Option<&str>) -> Result<String> {
        Ok(find_prefix("x.bin".as_ref(), names.iter().copied(), requested)?.chosen)
    }

    #[test]
    fn prefixes() {
        assert_eq!(find(&[CONV0_WEIGHT, "other"], None).unwrap(), "");
        let a = format!("model.a.{CONV0_WEIGHT}");
        let b = format!("model.b.{CONV0_WEIGHT}");
        assert_eq!(find(&[&a], None).unwrap(), "model.a.");
        assert!(matches!(find(&[&a, &b], None), Err(CheckpointError::Ambiguous { .. })));
        assert_eq!(find(&[&a, &b], Some("model.b")).unwrap(), "model.b.");
        let chosen = find_prefix("x.bin".as_ref(), [a.as_str(), b.as_str()].into_iter(), Some("model.b.")).unwrap();
        assert_eq!(chosen.others, ["model.a."]);
        assert!(find(&[&a, &b], Some("model.c")).unwrap_err().to_string().contains("model.b."));
        let message = find(&[CONV0_WEIGHT], Some("model")).unwrap_err().to_string();
        let words = " under prefix `model.`; the model's tensors have no prefix; leave --prefix out";
        assert!(message.ends_with(words), "{message}");
        // A name that merely ends in the same letters does not mark a prefix.
        let joined = format!("x{CONV0_WEIGHT}");
        assert!(find(&[&joined], None).unwrap_err().to_string().contains("nearest"));
        let fairseq = find(&["post_extract_proj.weight"], None).unwrap_err();
        assert!(fairseq.to_string().contains("fairseq"), "{fairseq}");
    }
}
