//! The arrays of a MusicGen reference: what PyTorch fed each part, and what it returned.

use std::path::{Path, PathBuf};

use mert_musicgen::Codes;
use ndarray::ArrayD;

use crate::npz::Archive;
use crate::{Result, VerifyError};

/// A reference in a `.npz`: any subset of the arrays, each with its inputs.
///
/// | array | shape | |
/// |---|---|---|
/// | `codes` | (K, n) | the input's codes (Instruct-MusicGen) |
/// | `prefix_q`, `prefix_k`, `prefix_v` | (layers, heads, n + 1, head width) | what the language model attends to for them |
/// | `text` | a str | the text of `text_ids`, for the tokenizer |
/// | `text_ids`, `text_states` | (L), (L, d_t5) | T5 |
/// | `cond` | (L, D) | the projected states |
/// | `seq` | (K, n + K − 1) | the language model's input in the delay pattern |
/// | `hidden_states`, `hidden_states_null` | (layers + 1, n + K − 1, D) | with the text, and without |
/// | `logits`, `logits_null` | (K, n + K − 1, card) | |
/// | `tokens` | (K, n) | greedy, guidance 3 |
/// | `input_values`, `clip_codes`, `clip_wave` | (N), (K, frames), (samples) | EnCodec; in stereo (2, N) and (2, samples) |
///
/// In stereo, K counts the codebooks of both channels, which alternate, and the delay pattern has n + K/2 − 1 steps.
pub struct MusicgenReference {
    /// The file.
    pub path: PathBuf,
    pub(super) codes: Option<Codes>,
    pub(super) seq: Option<Codes>,
    pub(super) tokens: Option<Codes>,
    pub(super) clip_codes: Option<Codes>,
    pub(super) text: Option<String>,
    pub(super) text_ids: Option<Vec<u32>>,
    pub(super) text_states: Option<ArrayD<f32>>,
    pub(super) cond: Option<ArrayD<f32>>,
    /// Channel by channel.
    pub(super) input_values: Option<Vec<Vec<f32>>>,
    /// Channel by channel.
    pub(super) clip_wave: Option<Vec<Vec<f32>>>,
    pub(super) prefix: [Option<ArrayD<f32>>; 3],
    /// With the text, and without.
    pub(super) hidden_states: [Option<ArrayD<f32>>; 2],
    pub(super) logits: [Option<ArrayD<f32>>; 2],
}

/// The names of the prefix's arrays.
pub(super) const PREFIX: [&str; 3] = ["prefix_q", "prefix_k", "prefix_v"];

impl MusicgenReference {
    /// Reads a reference.
    ///
    /// # Errors
    /// [`VerifyError::Read`] and [`VerifyError::Array`].
    pub fn read(path: &Path) -> Result<Self> {
        let mut archive = Archive::open(path)?;
        let mut codes = |name: &str| -> Result<Option<Codes>> {
            let Some(array) = archive.integers(name)? else { return Ok(None) };
            let shape = array.shape().to_vec();
            let rows = array.outer_iter().map(|row| row.iter().copied().collect()).collect();
            let codes = if shape.len() == 2 { Codes::new(rows) } else { None };
            let wrong = || VerifyError::array(path, format!("array `{name}` has shape {shape:?}, expected (K, n)"));
            codes.ok_or_else(wrong).map(Some)
        };
        let (input, seq, tokens, clip_codes) = (codes("codes")?, codes("seq")?, codes("tokens")?, codes("clip_codes")?);
        let text = archive.text("text")?;
        let text_ids = archive.integers("text_ids")?.map(|ids| ids.into_iter().collect());
        let mut get = |name: &str| archive.get(name);
        Ok(MusicgenReference {
            path: path.to_path_buf(),
            codes: input,
            seq,
            tokens,
            clip_codes,
            text,
            text_ids,
            text_states: get("text_states")?,
            cond: get("cond")?,
            input_values: get("input_values")?.map(channels),
            clip_wave: get("clip_wave")?.map(channels),
            prefix: [get(PREFIX[0])?, get(PREFIX[1])?, get(PREFIX[2])?],
            hidden_states: [get("hidden_states")?, get("hidden_states_null")?],
            logits: [get("logits")?, get("logits_null")?],
        })
    }
}

/// The channels of samples: the rows of a matrix, or one.
fn channels(samples: ArrayD<f32>) -> Vec<Vec<f32>> {
    match samples.ndim() {
        2 => samples.outer_iter().map(|channel| channel.iter().copied().collect()).collect(),
        _ => vec![samples.into_iter().collect()],
    }
}
