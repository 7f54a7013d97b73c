//! The tokens of one file, and what a reader of an output needs to know about all of them.

/// The tokens of one file, one for each frame.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TokenSequence {
    /// The file's name, as [`mert_table::escape`] writes a path.
    pub file: String,
    /// The tokens, one for each frame, in order of time.
    pub tokens: Vec<u32>,
    /// The samples of the file at the model's rate, if they are known; HuBERT's `.tsv` states them.
    pub samples: Option<u64>,
    /// The vectors of the frames, for the outputs that hold them.
    pub dense: Option<Dense>,
}

/// Vectors of frames, in row-major order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dense {
    /// The width of a vector.
    pub dim: usize,
    /// The values, `(frames, dim)`.
    pub values: Vec<f32>,
}

/// The facts that hold for all files of an output.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputInfo {
    /// The number of tokens of the vocabulary.
    pub k: usize,
    /// The distance between two frames in samples.
    pub frame_hop: usize,
    /// The model's sampling rate in Hz.
    pub sample_rate: u32,
    /// The hidden state.
    pub hidden_state: usize,
    /// The SHA-256 of the model's file.
    pub model_sha256: String,
    /// The SHA-256 of the vocabulary's file.
    pub vocabulary_sha256: String,
    /// The program, with its version.
    pub generator: String,
    /// True if runs of equal tokens become one unit with a duration.
    pub deduplicate: bool,
}

impl OutputInfo {
    /// The metadata of an output, by name.
    pub(super) fn entries(&self) -> Vec<(&'static str, String)> {
        vec![
            ("k", self.k.to_string()),
            ("frame_hop", self.frame_hop.to_string()),
            ("sample_rate", self.sample_rate.to_string()),
            ("hidden_state", self.hidden_state.to_string()),
            ("model_sha256", self.model_sha256.clone()),
            ("vocabulary_sha256", self.vocabulary_sha256.clone()),
            ("generator", self.generator.clone()),
            ("deduplicated", self.deduplicate.to_string()),
        ]
    }
}
