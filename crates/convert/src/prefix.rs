use std::collections::BTreeSet;
use std::path::Path;

use mert_spec::CONV0_WEIGHT;

use crate::pattern::nearest;
use crate::{ConvertError, Result};

/// Finds what precedes the Hugging Face names in a checkpoint's keys (`model.`, `hubert.`, …).
///
/// The first convolution's weight marks it: every model of the family has exactly one. With `asked`
/// that prefix must be one of those found.
pub(crate) fn find_prefix<'a>(
    path: &Path,
    names: impl Iterator<Item = &'a str> + Clone,
    asked: Option<&str>,
) -> Result<String> {
    let found: BTreeSet<&str> = names
        .clone()
        .filter_map(|name| name.strip_suffix(CONV0_WEIGHT))
        .filter(|prefix| prefix.is_empty() || prefix.ends_with('.'))
        .collect();
    if let Some(asked) = asked {
        let asked = if asked.is_empty() || asked.ends_with('.') { asked.to_string() } else { format!("{asked}.") };
        if found.contains(asked.as_str()) {
            return Ok(asked);
        }
        let hint = match found.iter().map(|p| format!("`{p}`")).collect::<Vec<_>>() {
            none if none.is_empty() => String::new(),
            some => format!(" under prefix `{asked}`; the prefixes that have one are {}", some.join(", ")),
        };
        return Err(ConvertError::NoEncoder {
            path: path.to_path_buf(),
            count: names.count(),
            expected: CONV0_WEIGHT,
            hint,
        });
    }
    match found.len() {
        1 => Ok(found.into_iter().next().unwrap_or_default().to_string()),
        0 => Err(ConvertError::NoEncoder {
            path: path.to_path_buf(),
            count: names.clone().count(),
            expected: CONV0_WEIGHT,
            hint: hint(names),
        }),
        _ => Err(ConvertError::Ambiguous {
            candidates: found.into_iter().map(|prefix| format!("`{prefix}`")).collect(),
            option: "--prefix",
        }),
    }
}

fn hint<'a>(names: impl Iterator<Item = &'a str> + Clone) -> String {
    if names.clone().any(|name| name.ends_with("feature_extractor.conv_layers.0.0.weight")) {
        return " (the names are fairseq's; convert the checkpoint to Hugging Face's HubertModel first)".into();
    }
    match nearest(CONV0_WEIGHT, names) {
        Some(name) => format!(" (the nearest name is `{name}`)"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(names: &[&str], asked: Option<&str>) -> Result<String> {
        find_prefix("x.bin".as_ref(), names.iter().copied(), asked)
    }

    #[test]
    fn prefixes() {
        assert_eq!(find(&[CONV0_WEIGHT, "other"], None).unwrap(), "");
        let a = format!("model.a.{CONV0_WEIGHT}");
        let b = format!("model.b.{CONV0_WEIGHT}");
        assert_eq!(find(&[&a], None).unwrap(), "model.a.");
        assert!(matches!(find(&[&a, &b], None), Err(ConvertError::Ambiguous { .. })));
        assert_eq!(find(&[&a, &b], Some("model.b")).unwrap(), "model.b.");
        assert!(find(&[&a, &b], Some("model.c")).unwrap_err().to_string().contains("model.b."));
        // A name that merely ends in the same letters is no prefix.
        let joined = format!("x{CONV0_WEIGHT}");
        assert!(find(&[&joined], None).unwrap_err().to_string().contains("nearest"));
        let fairseq = find(&["feature_extractor.conv_layers.0.0.weight"], None).unwrap_err();
        assert!(fairseq.to_string().contains("fairseq"), "{fairseq}");
    }
}
