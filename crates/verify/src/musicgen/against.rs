//! One bundle against another of the same model: the divergence of their logits on fixed codes.

use std::path::Path;

use mert_musicgen::bundle::Bundle;
use mert_musicgen::{Codes, Conditioning, CpEncoder, DelayPattern, LanguageModel, Session};

use super::codes;
use super::divergence::divergence;
use super::parts::Parts;
use super::verdict::{BundleComparison, Figure, PartVerdict};
use crate::{Result, VerifyError};

/// The number of frames of the fixed codes: 2 s of 50 Hz.
const FRAMES: usize = 100;

/// The number of tokens of the fixed text.
const TOKENS: usize = 8;

/// Compares the logits of both bundles, each fed the same codes and, before the projection, the same text states.
pub(super) fn compare(parts: &Parts<'_>, other: &Path) -> Result<BundleComparison> {
    let bundle = Bundle::open(other)?;
    let (mut lm, cp) = LanguageModel::open(&bundle)?;
    lm.keep_f32();
    let (own, theirs) = (parts.bundle.config(), bundle.config());
    if own.model.decoder != theirs.model.decoder || own.model.cp_transformer != theirs.model.cp_transformer {
        let message = format!("{}: its sizes are not those of {}", other.display(), parts.bundle.folder().display());
        return Err(VerifyError::NothingToCompare(message));
    }
    let found = logits(parts.lm, parts.cp, own.model.text_hidden_size)?;
    let expected = logits(&lm, cp.as_ref(), own.model.text_hidden_size)?;
    let card = own.model.decoder.vocab_size;
    let mut verdicts = Vec::new();
    for (row, part) in ["logits", "logits_null"].into_iter().enumerate() {
        let [found, expected] = [&found, &expected].map(|logits| &logits[row * logits.len() / 2..][..logits.len() / 2]);
        verdicts.push(match divergence(found, expected, card) {
            None => PartVerdict::fault(part, "a logit is not finite"),
            Some(divergence) => PartVerdict {
                part: part.into(),
                figures: vec![
                    Figure { name: "kl", value: divergence.mean, limit: Some(parts.limits.kl) },
                    Figure { name: "largest kl", value: divergence.max, limit: None },
                    Figure { name: "other choice", value: divergence.other_choice, limit: None },
                ],
                fault: None,
            },
        });
    }
    verdicts.extend(codes::compare(parts.bundle.folder(), other)?);
    let reference = format!("{} on {FRAMES} fixed frames", other.display());
    Ok(BundleComparison { reference, parts: verdicts, not_compared: Vec::new() })
}

/// The logits of both rows for fixed codes and a fixed text.
fn logits(lm: &LanguageModel, cp: Option<&CpEncoder>, text_width: usize) -> Result<Vec<f32>> {
    let config = lm.config();
    let frames = cp.map_or(FRAMES, |cp| FRAMES.min(cp.max_frames()));
    let codes = fixed_codes(config.num_codebooks, frames, config.vocab_size as u64);
    // Values as large as those of a T5 with layer norms.
    let states: Vec<f32> = (0..TOKENS * text_width).map(|i| ((i * 7919 + 13) % 1009) as f32 / 2522.5 - 0.2).collect();
    let text: Conditioning = lm.condition(&states)?;
    let prefix = cp.map(|cp| cp.prefix(lm, &codes)).transpose()?;
    let pattern = DelayPattern::new(config.num_codebooks, config.audio_channels, config.vocab_size as u32);
    let input = pattern.input(&codes);
    let mut session = Session::new(lm, &text, prefix.as_ref(), true, input.frames())?;
    Ok(session.trace(&input)?.0)
}

/// Codes of a linear congruential generator, that of Knuth's MMIX.
fn fixed_codes(codebooks: usize, frames: usize, card: u64) -> Codes {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % card) as u32
    };
    let rows = (0..codebooks).map(|_| (0..frames).map(|_| next()).collect()).collect();
    Codes::new(rows).unwrap_or_else(|| unreachable!("rows of equal lengths"))
}
