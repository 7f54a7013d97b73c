//! The record of a vocabulary: everything beside the centres that decides a frame's token, and how they came about.

/// The model and the windows that a vocabulary was trained on, which its use must match.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The SHA-256 of the model's file.
    pub model_sha256: String,
    /// The model's name, such as `m-a-p/MERT-v1-95M`, if it is known.
    pub model_name: Option<String>,
    /// The model's licence, if it is known.
    pub license: Option<String>,
    /// The hidden state: 0 enters the first layer.
    pub hidden_state: usize,
    /// The model's sampling rate in Hz.
    pub sample_rate: u32,
    /// True if each window is normalised to mean 0 and variance 1 before it enters the model.
    pub do_normalize: bool,
    /// The distance between two frames in samples: 320 in MERT and HuBERT.
    pub frame_hop: usize,
    /// The samples that a frame covers before the encoder, its receptive field: 400 in MERT and HuBERT.
    pub frame_length: usize,
    /// The frames of a window.
    pub window: usize,
    /// The frames between the starts of two windows, and the frames of a window that are kept.
    pub hop: usize,
    /// The frames of a window behind the kept ones: 0 keeps the newest.
    pub lookahead: usize,
    /// The arithmetic of the model, such as `f32`.
    pub arithmetic: String,
    /// The training of the centres; `None` if it is not known.
    pub training: Option<Training>,
    /// The program that wrote the record, with its version.
    pub generator: String,
}

/// The training of the centres of a vocabulary.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    /// The algorithm, such as `lloyd` or `mini-batch`, with its settings.
    pub algorithm: String,
    /// The seed of the choice of frames and of the start.
    pub seed: u64,
    /// The passes over the frames, or the batches of a mini-batch training.
    pub passes: u64,
    /// The mean squared distance between a training frame and its centre.
    pub inertia: f64,
    /// The same on files that were held out, if any were.
    pub held_out_inertia: Option<f64>,
    /// One digest of the training files, by [`Training::digest`].
    pub files_sha256: String,
    /// The number of training files.
    pub files: u64,
    /// The number of training frames.
    pub frames: u64,
}

impl Training {
    /// One digest for files in any order: the SHA-256 of their sorted SHA-256 digests, a line each.
    pub fn digest(mut files: Vec<String>) -> String {
        files.sort();
        let lines: String = files.iter().map(|digest| format!("{digest}\n")).collect();
        mert_fs::sha256_bytes(lines.as_bytes())
    }
}

impl Record {
    /// The samples of a window: its first frame takes `frame_length`, each other one `frame_hop` more.
    pub fn window_samples(&self) -> usize {
        self.window.saturating_sub(1).saturating_mul(self.frame_hop).saturating_add(self.frame_length)
    }

    /// The samples between the starts of two windows.
    pub fn hop_samples(&self) -> usize {
        self.hop.saturating_mul(self.frame_hop)
    }

    /// The frames of a window that are kept.
    pub fn kept(&self) -> std::ops::Range<usize> {
        let end = self.window.saturating_sub(self.lookahead);
        end.saturating_sub(self.hop)..end
    }

    /// Checks that the values fit together.
    ///
    /// # Errors
    /// A sentence with the field.
    pub fn validate(&self) -> Result<(), String> {
        if !mert_fs::is_sha256(&self.model_sha256) {
            let found = mert_arch::printable_line(&self.model_sha256);
            return Err(format!("`model_sha256` is `{found}`, expected 64 hexadecimal digits"));
        }
        for (field, value) in [
            ("sample_rate", self.sample_rate as usize),
            ("frame_hop", self.frame_hop),
            ("frame_length", self.frame_length),
            ("window", self.window),
            ("hop", self.hop),
        ] {
            if value == 0 || u32::try_from(value).is_err() {
                return Err(format!("`{field}` is {value}, expected a number from 1 to {}", u32::MAX));
            }
        }
        if self.hop.checked_add(self.lookahead).is_none_or(|end| end > self.window) {
            return Err(format!(
                "`hop` {} and `lookahead` {} are more than the {} frames of a `window`",
                self.hop, self.lookahead, self.window
            ));
        }
        Ok(())
    }
}
