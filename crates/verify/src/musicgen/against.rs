//! One bundle against another of the same model: the divergence of their logits on fixed codes, and every weight.

use std::path::Path;

use mert_arch::MusicgenConfig;
use mert_arch::naming::MusicgenNames;
use mert_musicgen::bundle::{Bundle, BundleConfig};
use mert_musicgen::{Codes, Conditioning, CpEncoder, DelayPattern, LanguageModel, Session};

use super::divergence::divergence;
use super::missing::BundlePart;
use super::parts::Parts;
use super::tensors::TensorFiles;
use super::verdict::{BundleComparison, Figure, PartVerdict};
use super::{codes, configs, floats};
use crate::{Result, VerifyError};

/// The number of frames of the fixed codes: 2 s of 50 Hz.
const FRAMES: usize = 100;

/// The number of tokens of the fixed text.
const TOKENS: usize = 8;

/// Compares the logits of both bundles, each fed the same codes and, before the projection, the same text states, and then
/// the weights, configurations and tokenizers of all parts.
pub(super) fn compare(parts: &Parts<'_>, other: &Path) -> Result<BundleComparison> {
    let bundle = Bundle::open(other)?;
    let (mut lm, cp) = LanguageModel::open(&bundle)?;
    lm.keep_f32();
    let own = parts.bundle.config();
    if let Some(difference) = other_size(own, bundle.config()) {
        let (other, this) = (other.display(), parts.bundle.folder().display());
        let message = format!("{other}: {difference} in {this}: give a bundle of the same model");
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
    let (found, not_compared) = weights(parts, &bundle)?;
    verdicts.extend(found);
    let reference = format!("{} on {FRAMES} fixed frames", other.display());
    Ok(BundleComparison { reference, parts: verdicts, not_compared })
}

/// The verdicts on the weights of all parts, and what is not compared.
fn weights(parts: &Parts<'_>, other: &Bundle) -> Result<(Vec<PartVerdict>, Vec<String>)> {
    let (ours, theirs) = (parts.bundle, other);
    let files = |bundle: &Bundle| TensorFiles::open(bundle.folder(), bundle.config().names);
    let (our_files, their_files) = (files(ours)?, files(theirs)?);
    let (our_tensors, their_tensors) = (our_files.tensors()?, their_files.tensors()?);
    let (codes, mut not_compared) = codes::compare((&our_tensors, ours.config()), (&their_tensors, theirs.config()));
    let mut verdicts: Vec<PartVerdict> = codes.into_iter().collect();
    verdicts.extend(floats::compare("", &our_tensors, &their_tensors));
    verdicts.push(configs::compare_settings(ours.config(), theirs.config()));
    for part in BundlePart::ALL {
        let [our_folder, their_folder] = [ours, theirs].map(|bundle| bundle.folder().join(part.folder()));
        if !their_folder.is_dir() {
            if our_folder.is_dir() {
                not_compared.push(format!("{part}/: the other bundle has none"));
            }
            continue;
        }
        match part.missing(ours.folder(), &format!("{part}/"), parts.allow_missing) {
            Some(Ok(found)) => verdicts.extend(found),
            Some(Err(reason)) => not_compared.push(reason),
            None => {
                verdicts.extend(configs::compare_part(part, &our_folder, &their_folder));
                let open = |folder: &Path| TensorFiles::open(folder, MusicgenNames::Mlx);
                let (our_files, their_files) = (open(&our_folder)?, open(&their_folder)?);
                verdicts.extend(floats::compare(&format!("{part}/"), &our_files.tensors()?, &their_files.tensors()?));
            }
        }
    }
    Ok((verdicts, not_compared))
}

/// The first size in which two bundles differ, with both values.
fn other_size(own: &BundleConfig, other: &BundleConfig) -> Option<String> {
    let sizes = |config: &BundleConfig| {
        let MusicgenConfig { decoder, cp_transformer, text_hidden_size, .. } = &config.model;
        let frames = cp_transformer.map_or(0, |cp| cp.max_frames);
        [
            ("decoder.num_hidden_layers", decoder.num_hidden_layers),
            ("decoder.hidden_size", decoder.hidden_size),
            ("decoder.num_attention_heads", decoder.num_attention_heads),
            ("decoder.ffn_dim", decoder.ffn_dim),
            ("decoder.num_codebooks", decoder.num_codebooks),
            ("decoder.vocab_size", decoder.vocab_size),
            ("decoder.audio_channels", decoder.audio_channels),
            ("the text encoder's d_model", *text_hidden_size),
            ("cp_transformer.max_frames", frames),
        ]
    };
    let pairs = sizes(own).into_iter().zip(sizes(other));
    let (field, found, expected) = pairs
        .map(|((field, expected), (_, found))| (field, found, expected))
        .find(|(_, found, expected)| found != expected)?;
    let number = |value: usize| if value == 0 { "absent".to_string() } else { value.to_string() };
    Some(format!("`{field}` is {}, but {}", number(found), number(expected)))
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
