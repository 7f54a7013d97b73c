//! The settings of a run, and their record in outputs.

use mert_audio::{Damage, ReadOptions, Tail, WindowPolicy};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Embedder;

/// How files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Which parts of a track are embedded.
    pub window: WindowPolicy,
    /// What becomes of the remainder that sliding windows do not cover.
    pub tail: Tail,
    /// What to do with damaged files.
    pub damage: Damage,
    /// The version of the installed ffmpeg, if it decodes files that cannot be read otherwise.
    pub ffmpeg: Option<&'static str>,
    /// The sample rate of raw samples on standard input, in hertz.
    pub input_rate: Option<u32>,
}

impl Reading {
    /// Options for decoding a file.
    pub fn options(&self) -> ReadOptions {
        ReadOptions { damage: self.damage, ffmpeg: self.ffmpeg.is_some() }
    }
}

/// All that the numbers of an output depend on, besides the files. It is written into every output, and tells
/// whether an interrupted run can be continued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Name and version of the program.
    pub generator: String,
    /// SHA-256 of the model's file, in hexadecimal.
    pub model_sha256: String,
    /// The checkpoint's licence, where it is known.
    pub license: Option<String>,
    /// The hidden states, ascending: 0 enters the first layer, i is the output of layer i.
    pub hidden_states: Vec<usize>,
    /// How frames became vectors.
    pub pool: String,
    /// `l2` if vectors have length 1, else `none`.
    pub normalize: String,
    /// The window policy.
    pub window: String,
    /// What became of the remainder.
    pub tail: String,
    /// `keep` if damaged files were taken.
    pub damaged: String,
    /// The version of ffmpeg that decoded files that could not be read otherwise, if it was enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ffmpeg: Option<String>,
    /// Samples per second that the model takes, in hertz.
    pub sample_rate: u32,
    /// Whether windows were normalised to zero mean and unit variance before they entered the model. Journals of older
    /// versions, which always normalised, lack the field.
    #[serde(default = "normalized")]
    pub do_normalize: bool,
    /// The length of a vector.
    pub dim: usize,
    /// Samples from the start of a frame to the next, and those that a frame depends on before the transformer.
    pub frame_hop: usize,
    /// See `frame_hop`.
    pub frame_length: usize,
    /// Device and element type of the arithmetic.
    pub arithmetic: String,
}

const fn normalized() -> bool {
    true
}

impl Provenance {
    /// What is known before anything is embedded.
    pub fn new(embedder: &Embedder, reading: &Reading, model: &ModelFile, arithmetic: String) -> Self {
        let config = embedder.config();
        Provenance {
            generator: concat!("mert-embed ", env!("CARGO_PKG_VERSION")).to_string(),
            model_sha256: model.sha256.clone(),
            license: model.license.clone(),
            hidden_states: embedder.layers().to_vec(),
            pool: embedder.pool().to_string(),
            normalize: if embedder.is_l2() { "l2" } else { "none" }.to_string(),
            window: reading.window.to_string(),
            tail: reading.tail.to_string(),
            damaged: if reading.damage == Damage::Keep { "keep" } else { "refuse" }.to_string(),
            ffmpeg: reading.ffmpeg.map(ToString::to_string),
            sample_rate: embedder.sample_rate(),
            do_normalize: embedder.normalizes(),
            dim: embedder.dim(),
            frame_hop: config.conv_stride.iter().product(),
            frame_length: config.receptive_field(),
            arithmetic,
        }
    }

    /// Floats of one row.
    pub(crate) fn values(&self) -> usize {
        self.hidden_states.len() * self.dim
    }

    /// The first 16 hexadecimal digits of the SHA-256 of all settings except the program's version. It identifies the
    /// settings in outputs without room for them.
    pub(crate) fn digest(&self) -> String {
        let settings = Provenance { generator: String::new(), ..self.clone() };
        let json = serde_json::to_vec(&settings).unwrap_or_default();
        Sha256::digest(json).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Like [`Provenance::difference`], but ignores the program's version.
    pub(crate) fn difference_in_values(&self, other: &Provenance) -> Option<String> {
        self.difference(&Provenance { generator: self.generator.clone(), ..other.clone() })
    }

    /// The first setting in which `other` differs, with both values.
    pub(crate) fn difference(&self, other: &Provenance) -> Option<String> {
        let (ours, theirs) = (serde_json::to_value(self).ok()?, serde_json::to_value(other).ok()?);
        let (ours, theirs) = (ours.as_object()?, theirs.as_object()?);
        let (key, value) = ours.iter().find(|(key, value)| theirs.get(*key) != Some(*value))?;
        let found = theirs.get(key).cloned().unwrap_or_default();
        Some(format!("{key}: now {value}, then {found}"))
    }
}

/// What is told of the model's file in an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    /// SHA-256 of the file, in lower-case hexadecimal.
    pub sha256: String,
    /// The checkpoint's licence, where it is known.
    pub license: Option<String>,
}
