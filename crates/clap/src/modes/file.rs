//! The file of modes: JSON with the vectors of each mode's texts, and the digest of the checkpoint that computed them.

use std::path::Path;

use mert_fs::is_sha256;
use serde::Deserialize;

use crate::config::parse;
use crate::model::unit;
use crate::{ClapError, Result};

/// Modes, each with the vectors of its texts at length 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Modes {
    checkpoint_sha256: String,
    modes: Vec<Mode>,
    width: usize,
}

/// A mode.
#[derive(Debug, Clone, PartialEq)]
struct Mode {
    name: String,
    texts: Vec<String>,
    vectors: Vec<Vec<f32>>,
}

/// The file; a list of modes, because a JSON object would lose one of two of the same name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    checkpoint_sha256: String,
    modes: Vec<FileMode>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileMode {
    name: String,
    texts: Vec<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    text: String,
    vector: Vec<f32>,
}

impl Modes {
    /// Reads a file of modes; `docs/clap.md` has the Python that writes one.
    ///
    /// # Errors
    /// [`ClapError::Read`], and [`ClapError::Json`] with the field and the reason.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|source| ClapError::Read { path: path.into(), source })?;
        let file: File = parse(path, &text)?;
        Self::of(file).map_err(|problem| ClapError::Json { path: path.into(), problem })
    }

    fn of(file: File) -> Result<Self, String> {
        if !is_sha256(&file.checkpoint_sha256) {
            return Err("checkpoint_sha256: expected 64 hexadecimal digits, the digest of the file of weights".into());
        }
        let (mut modes, mut width) = (Vec::<Mode>::new(), None);
        for (index, FileMode { name, texts }) in file.modes.into_iter().enumerate() {
            let at = format!("modes[{index}]");
            if name.trim().is_empty() || modes.iter().any(|mode| mode.name == name) {
                return Err(format!("{at}.name: expected a name that no other mode has, found {name:?}"));
            }
            if texts.is_empty() {
                return Err(format!("{at}.texts: expected at least one text for mode {name:?}"));
            }
            let vectors = texts.iter().map(|Text { text, vector }| {
                let expected = *width.get_or_insert(vector.len());
                if vector.len() != expected {
                    return Err(format!(
                        "{at}: the vector of {text:?} has {} values, expected {expected} as the first",
                        vector.len()
                    ));
                }
                unit(vector)
                    .ok_or_else(|| format!("{at}: the vector of {text:?} has no direction (empty, NaN or zero)"))
            });
            let vectors = vectors.collect::<Result<_, _>>()?;
            modes.push(Mode { name, texts: texts.into_iter().map(|text| text.text).collect(), vectors });
        }
        let width = width.ok_or("modes: expected at least one mode")?;
        Ok(Modes { checkpoint_sha256: file.checkpoint_sha256, modes, width })
    }

    /// Checks that the vectors are of the checkpoint with this SHA-256: those of another lie elsewhere, and every score would
    /// be meaningless.
    ///
    /// # Errors
    /// [`ClapError::OtherCheckpoint`].
    pub fn check_checkpoint(&self, sha256: &str) -> Result<()> {
        if self.checkpoint_sha256 == sha256 {
            return Ok(());
        }
        Err(ClapError::OtherCheckpoint { expected: self.checkpoint_sha256.clone(), found: sha256.to_string() })
    }

    /// The names, in the order of the file.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.modes.iter().map(|mode| mode.name.as_str())
    }

    /// The texts of a mode; none for one that does not exist.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.modes.iter().filter(move |mode| mode.name == name).flat_map(|mode| mode.texts.iter().map(String::as_str))
    }

    /// The width of the vectors.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The name of mode `index`; empty for one that does not exist.
    pub(super) fn name(&self, index: usize) -> &str {
        self.modes.get(index).map_or("", |mode| &mode.name)
    }

    /// The score of each mode for the vector of a sound, in the order of the file: the largest cosine with one of its texts'
    /// vectors.
    ///
    /// # Errors
    /// [`ClapError::Width`], and [`ClapError::NoDirection`] for a vector that has none.
    pub fn scores(&self, sound: &[f32]) -> Result<Vec<f32>> {
        if sound.len() != self.width {
            return Err(ClapError::Width { expected: self.width, found: sound.len() });
        }
        let sound = unit(sound).ok_or(ClapError::NoDirection)?;
        let cosine = |vector: &Vec<f32>| {
            vector.iter().zip(&sound).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() as f32
        };
        Ok(self.modes.iter().map(|mode| mode.vectors.iter().map(cosine).fold(-1.0, f32::max)).collect())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const SHA256: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    pub(in crate::modes) fn read(modes: &str) -> Result<Modes> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("modes.json");
        std::fs::write(&path, format!(r#"{{"checkpoint_sha256": "{SHA256}", "modes": {modes}}}"#)).unwrap();
        Modes::read(&path)
    }

    #[test]
    fn scores_are_the_largest_cosine_of_a_modes_texts() {
        let modes = read(
            r#"[{"name": "b", "texts": [{"text": "x", "vector": [3, 0]}, {"text": "y", "vector": [0, 0.5]}]},
                {"name": "a", "texts": [{"text": "z", "vector": [-1, -1]}]}]"#,
        )
        .unwrap();
        assert_eq!(modes.names().collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(modes.scores(&[0.0, 2.0]).unwrap()[0], 1.0);
        let scores = modes.scores(&[3.0, 4.0]).unwrap();
        assert!((scores[0] - 0.8).abs() < 1e-6 && (scores[1] + 1.4 / 2f32.sqrt()).abs() < 1e-6, "{scores:?}");
        assert!(matches!(modes.scores(&[1.0]), Err(ClapError::Width { expected: 2, found: 1 })));
        assert!(matches!(modes.scores(&[0.0, 0.0]), Err(ClapError::NoDirection)));
        assert!(modes.check_checkpoint(SHA256).is_ok());
        let error = modes.check_checkpoint(&SHA256.replace('b', "c")).unwrap_err().to_string();
        assert!(error.contains("write the modes file again"), "{error}");
    }

    #[test]
    fn files_that_mean_nothing_are_refused() {
        for (modes, words) in [
            ("[]", "at least one mode"),
            (r#"[{"name": "", "texts": []}]"#, "modes[0].name"),
            (r#"[{"name": "a", "texts": []}]"#, "at least one text"),
            (r#"[{"name": "a", "texts": [{"text": "x", "vector": []}]}]"#, "no direction"),
            (r#"[{"name": "a", "texts": [{"text": "x", "vector": [0, 0]}]}]"#, "no direction"),
            (r#"[{"name": "a", "texts": [{"text": "x", "vector": [1, 1e39]}]}]"#, ""),
            (
                r#"[{"name": "a", "texts": [{"text": "x", "vector": [1]}, {"text": "y", "vector": [1, 2]}]}]"#,
                "2 values, expected 1",
            ),
            (
                r#"[{"name": "a", "texts": [{"text": "x", "vector": [1]}]}, {"name": "a", "texts": [{"text": "x", "vector": [1]}]}]"#,
                "no other mode has",
            ),
            (r#"[{"name": "a", "texts": [{"text": "x", "vectors": [1]}]}]"#, "modes[0].texts[0]"),
        ] {
            let error = read(modes).unwrap_err().to_string();
            assert!(error.contains(words), "{words}: {error}");
        }
    }
}
