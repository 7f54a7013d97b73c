//! Published checkpoints, identified by their SHA-256, with the preprocessors that their files lack.

use crate::Preprocessor;

/// A published checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownCheckpoint {
    /// The name on the Hugging Face hub.
    pub name: &'static str,
    /// The commit on the hub.
    pub revision: &'static str,
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
pub const KNOWN_CHECKPOINTS: [KnownCheckpoint; 2] = [
    KnownCheckpoint {
        name: "m-a-p/MERT-v1-95M",
        revision: "12af15fef9d0ac838c3f475bfbbf26d2060dd4f5",
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
        revision: "e8413e398b3180ca488534aea68fd829402044a4",
        file: "pytorch_model.bin",
        bytes: 377_552_987,
        sha256: "9b25bde740483579d9895f35d074a949f6593ef48449b6d76e26ee3c0e5e9acb",
        license: "CC-BY-NC-4.0",
        sampling_rate: 16_000,
        do_normalize: false,
    },
];

/// The published checkpoint with this SHA-256 (lower-case hexadecimal), if there is one.
pub fn known_by_sha256(sha256: &str) -> Option<&'static KnownCheckpoint> {
    KNOWN_CHECKPOINTS.iter().find(|known| known.sha256 == sha256)
}
