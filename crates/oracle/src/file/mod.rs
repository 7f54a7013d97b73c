//! The oracle file: a performer's memory with its links, as JSON to read or in a binary form of the same content.

mod arrays;
mod binary;
mod binary_events;
pub(crate) mod check;
mod json;
mod material;
mod reader;
mod source;

use std::io::Write;

pub use self::binary::MAGIC;
pub use self::material::{Matching, Material};
pub use self::source::Source;
use crate::{Links, Result};

/// The name of the format, in the field `format` of the JSON form.
pub const FORMAT: &str = "mert-oracle";

/// The version of both forms.
pub const VERSION: u32 = 1;

/// A memory with the links that its matching rule gives.
#[derive(Debug, Clone)]
pub struct OracleFile {
    vocabulary_sha256: Option<String>,
    model_sha256: Option<String>,
    matching: Matching,
    sources: Vec<Source>,
    material: Material,
    links: Links,
}

impl OracleFile {
    /// Builds the links of a memory. `sources` are the recordings, one after another; symbols and vectors need none.
    ///
    /// # Errors
    /// [`crate::OracleError::Empty`], [`crate::OracleError::Field`] for a value that no oracle file may have (not a finite
    /// number, a key above 127, sources that do not cover the events), and the errors of building.
    pub fn build(matching: Matching, material: Material, sources: Vec<Source>) -> Result<Self> {
        check::check_material(&material)?;
        check::check_sources(&sources, &material)?;
        let links = matching.build(&material)?;
        Ok(OracleFile { vocabulary_sha256: None, model_sha256: None, matching, sources, material, links })
    }

    /// Records what the tokens come from, as SHA-256 in hexadecimal.
    ///
    /// # Errors
    /// [`crate::OracleError::Field`] for what is not a SHA-256.
    pub fn with_digests(mut self, vocabulary: Option<String>, model: Option<String>) -> Result<Self> {
        check::check_digest("vocabulary_sha256", vocabulary.as_deref())?;
        check::check_digest("model_sha256", model.as_deref())?;
        (self.vocabulary_sha256, self.model_sha256) = (vocabulary, model);
        Ok(self)
    }

    /// The SHA-256 of the vocabulary, if it is known.
    pub fn vocabulary_sha256(&self) -> Option<&str> {
        self.vocabulary_sha256.as_deref()
    }

    /// The SHA-256 of the model, if it is known.
    pub fn model_sha256(&self) -> Option<&str> {
        self.model_sha256.as_deref()
    }

    /// The rule by which events match.
    pub fn matching(&self) -> &Matching {
        &self.matching
    }

    /// The recordings, in the order of the events.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The events, symbols or vectors.
    pub fn material(&self) -> &Material {
        &self.material
    }

    /// The links by state.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// Writes the JSON form, which ends in a line feed.
    ///
    /// # Errors
    /// [`crate::OracleError::Write`].
    pub fn write_json(&self, output: impl Write) -> Result<()> {
        json::write(self, output)
    }

    /// The binary form.
    ///
    /// # Errors
    /// [`crate::OracleError::Write`] if the header cannot be written as JSON.
    pub fn to_binary(&self) -> Result<Vec<u8>> {
        binary::write(self)
    }

    /// Reads either form, told apart by the first bytes, and checks it: the version, each array by itself, the CRC-32 of the
    /// binary form, and that building from the events gives the same arrays.
    ///
    /// # Errors
    /// Those that name the field, and for arrays the state.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let content = if bytes.starts_with(binary::MAGIC) { binary::read(bytes)? } else { json::read(bytes)? };
        content.into_file()
    }
}

/// The content of a file before the check.
struct Content {
    header: Header,
    material: Material,
    arrays: arrays::Arrays,
}

/// The part of a file that is JSON in both forms.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    vocabulary_sha256: Option<String>,
    model_sha256: Option<String>,
    #[serde(rename = "match")]
    matching: Matching,
    feature_names: Option<Vec<String>>,
    sources: Vec<Source>,
}

impl Header {
    fn of(file: &OracleFile) -> Self {
        let names = mert_events::FEATURES.iter().map(|feature| feature.name.to_string());
        Header {
            vocabulary_sha256: file.vocabulary_sha256.clone(),
            model_sha256: file.model_sha256.clone(),
            matching: file.matching.clone(),
            feature_names: matches!(file.material, Material::Events(_)).then(|| names.collect()),
            sources: file.sources.clone(),
        }
    }
}

impl Content {
    fn into_file(self) -> Result<OracleFile> {
        let Content { header, material, arrays } = self;
        check::check_feature_names(header.feature_names.as_deref(), &material)?;
        arrays.check(material.len())?;
        let file = OracleFile::build(header.matching, material, header.sources)?;
        arrays.compare(&file.links)?;
        file.with_digests(header.vocabulary_sha256, header.model_sha256)
    }
}

#[cfg(test)]
mod tests;
