//! The run of each part of a bundle on what PyTorch fed its own, and the comparison.

use mert_musicgen::bundle::Bundle;
use mert_musicgen::generate::{Piece, Sampler, Sampling};
use mert_musicgen::{ChannelCodec, Codes, Conditioning, CpEncoder, CpPrefix, LanguageModel, LayerPrefix, Session};
use ndarray::{ArrayD, ArrayView2, Axis};

use super::divergence::divergence;
use super::limits::BundleLimits;
use super::missing::BundlePart;
use super::precision::Precision;
use super::reference::{MusicgenReference, PREFIX};
use super::verdict::{Figure, PartVerdict};
use crate::Result;
use crate::metrics::LayerMetrics;

/// An opened bundle with the limits for its language model.
pub(super) struct Parts<'a> {
    pub(super) bundle: &'a Bundle,
    pub(super) lm: &'a LanguageModel,
    pub(super) cp: Option<&'a CpEncoder>,
    pub(super) limits: BundleLimits,
    /// The precision of each part, from which the limits for its states follow.
    pub(super) precision: Precision,
    /// The parts that the bundle may lack.
    pub(super) allow_missing: &'a [BundlePart],
    /// The hidden states to compare.
    pub(super) layers: Vec<usize>,
}

/// The verdicts on a part, or the reason why it is not compared.
type Compared = Result<std::result::Result<Vec<PartVerdict>, String>>;

/// The factor of guidance of the reference's `tokens`.
const GUIDANCE: f32 = 3.0;

/// T5's states of the reference's token numbers.
pub(super) fn text_states(parts: &Parts<'_>, reference: &MusicgenReference, limits: &BundleLimits) -> Compared {
    let (Some(ids), Some(expected)) = (&reference.text_ids, &reference.text_states) else {
        return Ok(Err("text_states: the reference has no text_ids or no text_states".into()));
    };
    if let Some(missing) = BundlePart::T5.missing(parts.bundle.folder(), "text_states", parts.allow_missing) {
        return Ok(missing);
    }
    let states = parts.bundle.text_encoder()?.states(ids).map_err(mert_musicgen::MusicgenError::from)?;
    Ok(Ok(vec![states_verdict("text_states", &states, expected, limits.states)]))
}

/// The tokens of the reference's text.
pub(super) fn text_ids(parts: &Parts<'_>, reference: &MusicgenReference) -> Compared {
    let (Some(text), Some(expected)) = (&reference.text, &reference.text_ids) else {
        return Ok(Err("text_ids: the reference has no text or no text_ids".into()));
    };
    if let Some(missing) = BundlePart::T5.missing(parts.bundle.folder(), "text_ids", parts.allow_missing) {
        return Ok(missing);
    }
    let ids = parts.bundle.text_encoder()?.tokens(text).map_err(mert_musicgen::MusicgenError::from)?;
    if ids.len() != expected.len() {
        let fault = format!(
            "the text has {} tokens, expected {}: tokenizer.json is of another vocabulary",
            ids.len(),
            expected.len()
        );
        return Ok(Ok(vec![PartVerdict::fault("text_ids", fault)]));
    }
    let differing = ids.iter().zip(expected).filter(|(found, expected)| found != expected).count();
    let figures = vec![
        Figure { name: "differing tokens", value: differing as f64, limit: Some(0.0) },
        Figure { name: "of", value: ids.len() as f64, limit: None },
    ];
    Ok(Ok(vec![PartVerdict { part: "text_ids".into(), figures, fault: None }]))
}

/// The projection of the text.
pub(super) fn conditioning(parts: &Parts<'_>, reference: &MusicgenReference) -> Compared {
    let (Some(states), Some(expected)) = (&reference.text_states, &reference.cond) else {
        return Ok(Err("cond: the reference has no text_states or no cond".into()));
    };
    let found = parts.lm.condition(&states.iter().copied().collect::<Vec<_>>())?;
    Ok(Ok(vec![states_verdict("cond", found.states(), expected, parts.precision.projection())]))
}

/// The queries, keys and values of the input's codes in each layer.
pub(super) fn prefix(parts: &Parts<'_>, reference: &MusicgenReference) -> Compared {
    let Some(cp) = parts.cp else { return Ok(Err("prefix: the bundle is plain MusicGen".into())) };
    let Some(codes) = &reference.codes else { return Ok(Err("prefix: the reference has no codes".into())) };
    if reference.prefix.iter().all(Option::is_none) {
        return Ok(Err("prefix: the reference has no prefix_q, prefix_k or prefix_v".into()));
    }
    let prefix = cp.prefix(parts.lm, codes)?;
    let mut verdicts = Vec::new();
    let values: [fn(&LayerPrefix) -> Vec<f32>; 3] = [LayerPrefix::queries, LayerPrefix::keys, LayerPrefix::values];
    for ((name, expected), values) in PREFIX.into_iter().zip(&reference.prefix).zip(values) {
        let Some(expected) = expected else { continue };
        if expected.shape().first() != Some(&prefix.layers().len()) {
            let (found, layers) = (expected.shape(), prefix.layers().len());
            verdicts.push(PartVerdict::fault(name, format!("shape {found:?}, expected {layers} layers")));
            continue;
        }
        for (i, layer) in prefix.layers().iter().enumerate() {
            let expected = expected.index_axis(Axis(0), i).to_owned();
            let limit = parts.precision.prefix(i);
            verdicts.push(states_verdict(&format!("{name}, layer {i}"), &values(layer), &expected, limit));
        }
    }
    Ok(Ok(verdicts))
}

/// The hidden states and logits of a fixed sequence, with the text and without.
pub(super) fn language_model(parts: &Parts<'_>, reference: &MusicgenReference) -> Compared {
    let Some(seq) = &reference.seq else { return Ok(Err("logits: the reference has no seq".into())) };
    let prefix = match input_prefix(parts, reference)? {
        Ok(prefix) => prefix,
        Err(reason) => return Ok(Err(format!("logits: {reason}"))),
    };
    let Some(cond) = conditioning_of(parts, reference) else {
        return Ok(Err("logits: the reference has no cond, or one of another width".into()));
    };
    if reference.logits.iter().chain(&reference.hidden_states).all(Option::is_none) {
        return Ok(Err("logits: the reference has no logits and no hidden_states".into()));
    }
    let mut session = Session::new(parts.lm, &cond, prefix.as_ref(), true, seq.frames())?;
    let (logits, trace) = session.trace(seq)?;
    let mut verdicts = Vec::new();
    for (row, (label, expected)) in ["", " without the text"].into_iter().zip(&reference.hidden_states).enumerate() {
        let Some(expected) = expected else { continue };
        if expected.shape().first() != Some(&trace.hidden_states.len()) {
            let (found, count) = (expected.shape(), trace.hidden_states.len());
            let fault = format!("shape {found:?}, expected {count} hidden states");
            verdicts.push(PartVerdict::fault(format!("hidden states{label}"), fault));
            continue;
        }
        for &i in &parts.layers {
            let (states, expected) = (&trace.hidden_states[i], expected.index_axis(Axis(0), i).to_owned());
            let found = half(states, row);
            let limit = parts.precision.hidden_state(i);
            verdicts.push(states_verdict(&format!("hidden state {i}{label}"), found, &expected, limit));
        }
    }
    let card = parts.lm.config().vocab_size;
    for (row, (name, expected)) in ["logits", "logits_null"].into_iter().zip(&reference.logits).enumerate() {
        let Some(expected) = expected else { continue };
        verdicts.push(logits_verdict(name, half(&logits, row), expected, card, &parts.limits));
    }
    Ok(Ok(verdicts))
}

/// The greedy codes.
pub(super) fn tokens(parts: &Parts<'_>, reference: &MusicgenReference) -> Compared {
    let Some(expected) = &reference.tokens else { return Ok(Err("tokens: the reference has no tokens".into())) };
    let prefix = match input_prefix(parts, reference)? {
        Ok(prefix) => prefix,
        Err(reason) => return Ok(Err(format!("tokens: {reason}"))),
    };
    let Some(text) = conditioning_of(parts, reference) else {
        return Ok(Err("tokens: the reference has no cond, or one of another width".into()));
    };
    let (frames, prefix) = (expected.frames(), prefix.as_ref());
    let piece = Piece { lm: parts.lm, text: &text, prefix, prompt: None, frames, guidance_scale: GUIDANCE };
    let found = piece.generate(&mut Sampler::new(Sampling::Greedy, 0), || Ok(()))?;
    Ok(Ok(vec![codes_verdict("tokens", &found, expected, &parts.limits)]))
}

/// EnCodec: codes of samples, and samples of codes.
pub(super) fn codec(parts: &Parts<'_>, reference: &MusicgenReference, limits: &BundleLimits) -> Compared {
    let Some(codes) = &reference.clip_codes else { return Ok(Err("codec: the reference has no clip_codes".into())) };
    if let Some(missing) = BundlePart::Encodec.missing(parts.bundle.folder(), "clip_codes", parts.allow_missing) {
        return Ok(missing);
    }
    let codec = ChannelCodec::open(parts.bundle)?;
    let count = codec.channels();
    let mut verdicts = Vec::new();
    if let Some(samples) = &reference.input_values {
        verdicts.push(match samples.len() == count {
            true => codes_verdict("clip_codes", &codec.encode(samples)?, codes, limits),
            false => PartVerdict::fault("clip_codes", other_channels("input_values", samples.len(), count)),
        });
    }
    if let Some(expected) = &reference.clip_wave {
        if expected.len() == count && codes.codebooks() == parts.lm.config().num_codebooks {
            for (channel, (found, expected)) in codec.decode(codes)?.iter().zip(expected).enumerate() {
                let part = if count == 1 { "clip_wave".into() } else { format!("clip_wave, channel {channel}") };
                verdicts.push(wave_verdict(part, found, expected, limits));
            }
        } else {
            verdicts.push(PartVerdict::fault("clip_wave", other_channels("clip_wave", expected.len(), count)));
        }
    }
    match verdicts.is_empty() {
        true => Ok(Err("codec: the reference has neither input_values nor clip_wave".into())),
        false => Ok(Ok(verdicts)),
    }
}

fn other_channels(array: &str, found: usize, expected: usize) -> String {
    format!("`{array}` of {found} channels and its codes, expected {expected} channels with all codebooks of the model")
}

/// The prefix of the reference's codes; `None` for plain MusicGen.
fn input_prefix(
    parts: &Parts<'_>,
    reference: &MusicgenReference,
) -> Result<std::result::Result<Option<CpPrefix>, String>> {
    match (parts.cp, &reference.codes) {
        (None, _) => Ok(Ok(None)),
        (Some(_), None) => Ok(Err("the reference has no codes, to which the instruct model attends".into())),
        (Some(cp), Some(codes)) => Ok(Ok(Some(cp.prefix(parts.lm, codes)?))),
    }
}

fn conditioning_of(parts: &Parts<'_>, reference: &MusicgenReference) -> Option<Conditioning> {
    let cond = reference.cond.as_ref()?;
    Conditioning::new(cond.iter().copied().collect(), parts.lm.config().hidden_size)
}

/// One of the two rows.
fn half(values: &[f32], row: usize) -> &[f32] {
    &values[row * values.len() / 2..][..values.len() / 2]
}

/// The verdict on states whose last axis is their width.
fn states_verdict(part: &str, found: &[f32], expected: &ArrayD<f32>, limit: f64) -> PartVerdict {
    let width = expected.shape().last().copied().unwrap_or(1).max(1);
    let rows = expected.len() / width;
    let expected: Vec<f32> = expected.iter().copied().collect();
    let view = |values| ArrayView2::from_shape((rows, width), values).ok();
    let (Some(found_view), Some(expected)) = (view(found), view(&expected)) else {
        let fault = format!("{} values, expected {} rows of {width}", found.len(), rows);
        return PartVerdict::fault(part, fault);
    };
    let Some(metrics) = LayerMetrics::compare(found_view, expected) else {
        return PartVerdict::fault(part, "it is empty");
    };
    let nmse = if metrics.non_finite + metrics.non_finite_reference > 0 { f64::NAN } else { metrics.nmse };
    let figures = vec![
        Figure { name: "nmse", value: nmse, limit: Some(limit) },
        Figure { name: "1 - cosine", value: 1.0 - metrics.min_frame_cosine, limit: None },
    ];
    PartVerdict { part: part.to_string(), figures, fault: None }
}

/// The verdict on logits `(steps, codebooks, card)`, of which the reference has `(codebooks, steps, card)`.
fn logits_verdict(
    part: &str,
    found: &[f32],
    expected: &ArrayD<f32>,
    card: usize,
    limits: &BundleLimits,
) -> PartVerdict {
    let &[codebooks, steps, width] = expected.shape() else {
        return PartVerdict::fault(part, format!("shape {:?}, expected (K, steps, card)", expected.shape()));
    };
    if width != card || found.len() != expected.len() {
        let found = found.len() / card;
        let fault = format!("shape {:?}, expected {found} positions of {card} codes", expected.shape());
        return PartVerdict::fault(part, fault);
    }
    let by_codebook: Vec<f32> = (0..codebooks)
        .flat_map(|k| (0..steps).map(move |step| (step * codebooks + k) * card))
        .flat_map(|at| &found[at..at + card])
        .copied()
        .collect();
    let mut verdict = states_verdict(part, &by_codebook, expected, limits.states);
    let expected: Vec<f32> = expected.iter().copied().collect();
    match divergence(&by_codebook, &expected, card) {
        Some(found) => {
            verdict.figures.insert(0, Figure { name: "kl", value: found.mean, limit: Some(limits.kl) });
            verdict.figures.push(Figure { name: "largest kl", value: found.max, limit: None });
            verdict.figures.push(Figure { name: "other choice", value: found.other_choice, limit: None });
        }
        None => return PartVerdict::fault(part, "a logit is not finite"),
    }
    verdict
}

/// The verdict on codes.
fn codes_verdict(part: &str, found: &Codes, expected: &Codes, limits: &BundleLimits) -> PartVerdict {
    if (found.codebooks(), found.frames()) != (expected.codebooks(), expected.frames()) {
        let shape = |codes: &Codes| format!("({}, {})", codes.codebooks(), codes.frames());
        return PartVerdict::fault(part, format!("shape {}, expected {}", shape(found), shape(expected)));
    }
    let pairs = || found.rows().iter().flatten().zip(expected.rows().iter().flatten());
    let differing = pairs().filter(|(found, expected)| found != expected).count();
    let limit = limits.equal_codes.then_some(0.0);
    let figures = vec![
        Figure { name: "differing codes", value: differing as f64, limit },
        Figure { name: "of", value: pairs().count() as f64, limit: None },
    ];
    PartVerdict { part: part.to_string(), figures, fault: None }
}

/// The verdict on samples, their edges apart: another padding shows only there.
fn wave_verdict(part: String, found: &[f32], expected: &[f32], limits: &BundleLimits) -> PartVerdict {
    const EDGE: usize = 2048;
    if found.len() != expected.len() || expected.is_empty() {
        return PartVerdict::fault(part, format!("{} samples, expected {}", found.len(), expected.len()));
    }
    let peak = expected.iter().fold(0.0f64, |peak, &x| peak.max(f64::from(x).abs()));
    let largest = |range: std::ops::Range<usize>| {
        let pairs = found[range.clone()].iter().zip(&expected[range]);
        let largest = pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
        // A NaN must not vanish in the maximum.
        largest.fold(0.0, |most: f64, x| if x.is_nan() || most.is_nan() { f64::NAN } else { most.max(x) }) / peak
    };
    let (len, edge) = (expected.len(), EDGE.min(expected.len()));
    let limit = Some(limits.wave);
    let figures = vec![
        Figure { name: "largest difference of the peak", value: largest(0..len), limit },
        Figure { name: "at the start", value: largest(0..edge), limit },
        Figure { name: "at the end", value: largest(len - edge..len), limit },
    ];
    PartVerdict { part, figures, fault: None }
}
