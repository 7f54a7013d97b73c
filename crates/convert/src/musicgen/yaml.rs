//! The `xp.cfg` of audiocraft's files: a YAML text in which values may refer to others (`${sample_rate}`).

use mert_checkpoint::Listing;
use serde_json::Value;

use super::error::MusicgenError;
use super::kind::RecognizedMusicgen;
use crate::Result;

/// The key of the configuration in audiocraft's files.
const XP_CFG: &str = "xp.cfg";

/// The configuration in a file; `None` if it has none.
///
/// # Errors
/// [`MusicgenError::Yaml`].
pub(super) fn xp_cfg(source: &RecognizedMusicgen) -> Result<Option<Value>> {
    let text = |listing: &Listing| listing.texts.get(XP_CFG).cloned();
    let Some(text) = text(source.listing()) else { return Ok(None) };
    let error = |reason: String| MusicgenError::Yaml { path: source.path.clone(), reason };
    let value: Value = serde_yaml::from_str(&text).map_err(|reason| error(reason.to_string()))?;
    Ok(Some(value))
}

/// The value at a path of names between dots, with the references that lead to it followed.
pub(super) fn lookup<'v>(cfg: &'v Value, path: &str) -> Option<&'v Value> {
    const MAX_REFERENCES: usize = 16;
    let mut path = path.to_string();
    for _ in 0..MAX_REFERENCES {
        let found = path.split('.').try_fold(cfg, |value, name| value.get(name))?;
        match found.as_str().and_then(|text| text.strip_prefix("${")?.strip_suffix('}')) {
            Some(reference) => path = reference.to_string(),
            None => return Some(found),
        }
    }
    None
}

/// The whole number at a path.
pub(super) fn number(cfg: &Value, path: &str) -> Option<usize> {
    lookup(cfg, path)?.as_u64().and_then(|number| usize::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_followed_and_circles_end() {
        let text = "sample_rate: 32000\ntransformer_lm:\n  num_heads: 4\n  rate: ${sample_rate}\na: ${b}\nb: ${a}\n";
        let cfg: Value = serde_yaml::from_str(text).unwrap();
        assert_eq!(number(&cfg, "transformer_lm.num_heads"), Some(4));
        assert_eq!(number(&cfg, "transformer_lm.rate"), Some(32000));
        assert_eq!(number(&cfg, "transformer_lm.none"), None);
        assert_eq!(lookup(&cfg, "a"), None);
    }
}
