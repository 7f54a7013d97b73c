//! Published checkpoints, identified by their SHA-256, with the preprocessors that their files lack.

use serde::Serialize;

use crate::Preprocessor;

/// A published checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct KnownCheckpoint {
    /// The name on the Hugging Face hub; what the model is, for a file that people pass on by itself.
    pub name: &'static str,
    /// The commit on the hub; `None` for a file that people pass on by itself.
    pub revision: Option<&'static str>,
    /// The name of the weights file.
    pub file: &'static str,
    /// The size of the weights file in bytes.
    pub bytes: u64,
    /// The SHA-256 of the weights file, in lower-case hexadecimal.
    pub sha256: &'static str,
    /// The licence (SPDX), which a converted file inherits.
    pub license: &'static str,
    /// The sampling rate of the audio input in hertz.
    pub sampling_rate: u32,
    /// Whether the audio input is normalised to zero mean and unit variance.
    pub do_normalize: bool,
}

impl KnownCheckpoint {
    /// The preprocessing of the audio input.
    pub fn preprocessor(&self) -> Preprocessor {
        Preprocessor { do_normalize: self.do_normalize, sampling_rate: self.sampling_rate }
    }
}

/// The published checkpoints that are recognised by their SHA-256.
pub const KNOWN_CHECKPOINTS: [KnownCheckpoint; 3] = [
    KnownCheckpoint {
        name: "m-a-p/MERT-v1-95M",
        revision: Some("12af15fef9d0ac838c3f475bfbbf26d2060dd4f5"),
        file: "pytorch_model.bin",
        bytes: 377_552_987,
        sha256: "a2b8b747f72c06e0595aeae41ae5473f4364938c6b39b2c58be38c48e6bd3fcd",
        license: "CC-BY-NC-4.0",
        sampling_rate: 24_000,
        do_normalize: true,
    },
    // The same architecture and size as MERT-v1-95M, but another preprocessor.
    KnownCheckpoint {
        name: "m-a-p/MERT-v0-public",
        revision: Some("e8413e398b3180ca488534aea68fd829402044a4"),
        file: "pytorch_model.bin",
        bytes: 377_552_987,
        sha256: "9b25bde740483579d9895f35d074a949f6593ef48449b6d76e26ee3c0e5e9acb",
        license: "CC-BY-NC-4.0",
        sampling_rate: 16_000,
        do_normalize: false,
    },
    // In fairseq's format, in f16 and without the training state. Facebook's HuBERT base, which has the same tensors, gives
    // wrong voices in its place (RVC's issue 2121).
    KnownCheckpoint {
        name: "ContentVec legacy 500 (RVC's hubert_base.pt)",
        revision: None,
        file: "hubert_base.pt",
        bytes: 189_507_909,
        sha256: "f54b40fd2802423a5643779c4861af1e9ee9c1564dc9d32f54f20b5ffba7db96",
        license: "MIT",
        sampling_rate: 16_000,
        do_normalize: false,
    },
];

/// The published checkpoint with this SHA-256 (lower-case hexadecimal), if there is one.
pub fn known_by_sha256(sha256: &str) -> Option<&'static KnownCheckpoint> {
    KNOWN_CHECKPOINTS.iter().find(|known| known.sha256 == sha256)
}
