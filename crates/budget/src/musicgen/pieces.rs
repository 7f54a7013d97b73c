//! The pieces whose codes are given: fixed ones, and ones that the unquantized model draws. What is chosen by and what is held out
//! have other codes and other texts.

use mert_musicgen::bundle::Bundle;
use mert_musicgen::{Codes, CpEncoder, ForcedPiece, LanguageModel};

use super::drawn::Drawing;
use crate::{Progress, Result};

/// The number of frames of each piece that sensitivities are measured on, 1 s: every frame counts in hundreds of passes.
pub(super) const CALIBRATION_FRAMES: usize = 50;

/// The number of frames of each piece that mixes are measured on, 2 s, as in `mert-verify --against`.
const HELD_OUT_FRAMES: usize = 100;

/// The number of pieces of each kind.
pub(super) const PIECES: usize = 2;

/// The number of tokens of a fixed text.
const TOKENS: usize = 8;

/// The seed of the held-out codes: `mert-verify --against` feeds the same, so that its figure is that of the report.
const HELD_OUT_SEED: u64 = 1;

/// The seed of the codes that sensitivities are measured on.
const CALIBRATION_SEED: u64 = 2;

/// The pieces of a budget, in the order of [`Pieces::names`].
pub(super) struct Pieces {
    pub(super) calibration: Vec<ForcedPiece>,
    pub(super) held_out: Vec<ForcedPiece>,
}

impl Pieces {
    /// The names of the pieces.
    pub(super) fn names() -> Vec<String> {
        ["fixed codes", "drawn codes"].map(String::from).to_vec()
    }

    /// Makes the pieces. `lm` and `cp` are the unquantized model of `bundle`.
    pub(super) fn new(
        bundle: &Bundle,
        lm: &LanguageModel,
        cp: Option<&CpEncoder>,
        progress: &(dyn Fn(Progress<'_>) + Sync),
    ) -> Result<Self> {
        let width = bundle.config().model.text_hidden_size;
        let drawing = Drawing::open(bundle, lm, cp)?;
        let pieces = |frames: usize, seed: u64| {
            let frames = cp.map_or(frames, |cp| frames.min(cp.max_frames()));
            progress(Progress::Preparing(&format!("drawing {frames} frames of codes from the unquantized model")));
            Ok::<_, crate::BudgetError>(vec![fixed(lm, cp, frames, seed, width), drawing.draw(frames, seed)?])
        };
        Ok(Pieces {
            calibration: pieces(CALIBRATION_FRAMES, CALIBRATION_SEED)?,
            held_out: pieces(HELD_OUT_FRAMES, HELD_OUT_SEED)?,
        })
    }
}

/// Codes of a linear congruential generator, that of Knuth's MMIX, with a fixed text.
fn fixed(lm: &LanguageModel, cp: Option<&CpEncoder>, frames: usize, seed: u64, text_width: usize) -> ForcedPiece {
    let config = lm.config();
    let (mut state, card) = (seed, config.vocab_size.max(1) as u64);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % card) as u32
    };
    let rows = (0..config.num_codebooks).map(|_| (0..frames).map(|_| next()).collect()).collect();
    let codes = Codes::new(rows).unwrap_or_else(|| unreachable!("rows of equal lengths"));
    let text_states = fixed_text(text_width);
    ForcedPiece { text_states, input: cp.is_some().then(|| codes.clone()), codes }
}

/// Text states `(tokens, width)` as large as those of a T5 with layer norms.
pub(super) fn fixed_text(width: usize) -> Vec<f32> {
    (0..TOKENS * width).map(|i| ((i * 7919 + 13) % 1009) as f32 / 2522.5 - 0.2).collect()
}
