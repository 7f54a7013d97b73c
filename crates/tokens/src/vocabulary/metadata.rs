//! The record of a vocabulary as the metadata of its file: text by name, each field checked when it is read.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

use super::{Normalize, Record, Training, Vocabulary};
use crate::{Result, TokensError};

/// The value of `format`.
pub(super) const FORMAT: &str = "mert-tokens vocabulary";

/// The value of `version`, which rises when an older reader would misunderstand the file.
pub(super) const VERSION: &str = "1";

/// The metadata of a vocabulary.
pub(super) fn to_metadata(vocabulary: &Vocabulary) -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    let mut put = |name: &str, value: &dyn Display| drop(entries.insert(name.to_string(), value.to_string()));
    put("format", &FORMAT);
    put("version", &VERSION);
    put("k", &vocabulary.k());
    put("dim", &vocabulary.input_dim());
    put("normalize", &vocabulary.normalize);
    if let Some(projection) = &vocabulary.projection {
        let steps: Vec<&str> = projection.steps().iter().map(|step| step.name()).collect();
        put("steps", &steps.join(" "));
    }
    if let Some(record) = &vocabulary.record {
        put("model_sha256", &record.model_sha256);
        record.model_name.iter().for_each(|name| put("model_name", name));
        record.license.iter().for_each(|license| put("license", license));
        put("hidden_state", &record.hidden_state);
        put("sample_rate", &record.sample_rate);
        put("do_normalize", &record.do_normalize);
        put("frame_hop", &record.frame_hop);
        put("frame_length", &record.frame_length);
        put("window", &record.window);
        put("hop", &record.hop);
        put("lookahead", &record.lookahead);
        put("arithmetic", &record.arithmetic);
        put("generator", &record.generator);
        if let Some(training) = &record.training {
            put("algorithm", &training.algorithm);
            put("seed", &training.seed);
            put("passes", &training.passes);
            put("inertia", &training.inertia);
            training.held_out_inertia.iter().for_each(|inertia| put("held_out_inertia", inertia));
            put("training_files_sha256", &training.files_sha256);
            put("training_files", &training.files);
            put("training_frames", &training.frames);
        }
    }
    entries
}

/// The metadata of a file, whose fields are checked one by one.
pub(super) struct Metadata<'a> {
    path: &'a Path,
    entries: &'a HashMap<String, String>,
}

impl<'a> Metadata<'a> {
    /// The metadata of a vocabulary of this project.
    ///
    /// # Errors
    /// [`TokensError::NotAVocabulary`] if it is something else, or of another version.
    pub(super) fn new(path: &'a Path, entries: &'a HashMap<String, String>) -> Result<Self> {
        let metadata = Metadata { path, entries };
        match (metadata.text("format"), metadata.text("version")) {
            (Some(FORMAT), Some(VERSION)) => Ok(metadata),
            (Some(FORMAT), version) => Err(TokensError::not_a_vocabulary(
                path,
                format!(
                    "its `version` is {}, and this program reads version {VERSION}; use the program that wrote it, or train it \
                     again",
                    version.map_or("missing".into(), |version| format!("`{}`", mert_arch::printable_line(version)))
                ),
            )),
            _ => Err(TokensError::not_a_vocabulary(
                path,
                "it is a safetensors file, but not one of `mert-tokens train`, whose metadata has `format`; a model comes before \
                 the vocabulary, and centres of another program are read from .npy, joblib and faiss files",
            )),
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        self.entries.get(name).map(String::as_str)
    }

    fn required(&self, name: &str, expected: &str) -> Result<&'a str> {
        self.text(name).ok_or_else(|| self.error(name, expected, "missing"))
    }

    pub(super) fn error(&self, field: &str, expected: &str, found: &str) -> TokensError {
        let found = if found == "missing" { found.into() } else { format!("`{}`", mert_arch::printable_line(found)) };
        TokensError::Field { path: self.path.into(), field: field.into(), expected: expected.into(), found }
    }

    /// A field in the form that its type parses.
    pub(super) fn parse<T: FromStr>(&self, name: &str, expected: &str) -> Result<T> {
        let text = self.required(name, expected)?;
        text.parse().map_err(|_| self.error(name, expected, text))
    }

    /// A number that is finite and not negative.
    fn measure(&self, name: &str) -> Result<f64> {
        const EXPECTED: &str = "a number from 0";
        let value: f64 = self.parse(name, EXPECTED)?;
        match value.is_finite() && value >= 0.0 {
            true => Ok(value),
            false => Err(self.error(name, EXPECTED, &value.to_string())),
        }
    }

    fn sha256(&self, name: &str) -> Result<String> {
        const EXPECTED: &str = "64 hexadecimal digits in lower case";
        let text = self.required(name, EXPECTED)?;
        if mert_fs::is_sha256(text) { Ok(text.into()) } else { Err(self.error(name, EXPECTED, text)) }
    }

    /// The normalisation of frames.
    pub(super) fn normalize(&self) -> Result<Normalize> {
        self.parse("normalize", "l2 or none")
    }

    /// The names of the steps in front of the centres.
    pub(super) fn steps(&self) -> Vec<&'a str> {
        self.text("steps").unwrap_or_default().split_whitespace().collect()
    }

    /// The record; `None` if the vocabulary was written without one.
    pub(super) fn record(&self) -> Result<Option<Record>> {
        if self.text("model_sha256").is_none() && self.text("hidden_state").is_none() {
            return Ok(None);
        }
        const NUMBER: &str = "a whole number from 0";
        let record = Record {
            model_sha256: self.sha256("model_sha256")?,
            model_name: self.text("model_name").map(str::to_string),
            license: self.text("license").map(str::to_string),
            hidden_state: self.parse("hidden_state", NUMBER)?,
            sample_rate: self.parse("sample_rate", NUMBER)?,
            do_normalize: self.parse("do_normalize", "true or false")?,
            frame_hop: self.parse("frame_hop", NUMBER)?,
            frame_length: self.parse("frame_length", NUMBER)?,
            window: self.parse("window", NUMBER)?,
            hop: self.parse("hop", NUMBER)?,
            lookahead: self.parse("lookahead", NUMBER)?,
            arithmetic: self.required("arithmetic", "the model's arithmetic")?.into(),
            generator: self.required("generator", "the program that wrote it")?.into(),
            training: self.training()?,
        };
        record.validate().map_err(|reason| TokensError::not_a_vocabulary(self.path, reason))?;
        Ok(Some(record))
    }

    fn training(&self) -> Result<Option<Training>> {
        let Some(algorithm) = self.text("algorithm") else { return Ok(None) };
        const NUMBER: &str = "a whole number from 0";
        Ok(Some(Training {
            algorithm: algorithm.into(),
            seed: self.parse("seed", NUMBER)?,
            passes: self.parse("passes", NUMBER)?,
            inertia: self.measure("inertia")?,
            held_out_inertia: self.text("held_out_inertia").map(|_| self.measure("held_out_inertia")).transpose()?,
            files_sha256: self.sha256("training_files_sha256")?,
            files: self.parse("training_files", NUMBER)?,
            frames: self.parse("training_frames", NUMBER)?,
        }))
    }
}
