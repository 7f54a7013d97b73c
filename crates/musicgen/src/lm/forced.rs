//! Teacher forcing: the logits of a piece of music whose codes are given, from any layer on.
//!
//! A model that differs from another in one layer has the same states before that layer. Measurements of single layers keep them
//! and compute the layers after.

use super::codes::Codes;
use super::conditioning::Conditioning;
use super::delay::DelayPattern;
use super::layer::Steps;
use super::model::LanguageModel;
use super::session::{Cross, Scratch, caches};
use crate::cp::{self, CpEncoder, Input};
use crate::{MusicgenError, Result};

/// The rows: with the text, and without.
const ROWS: usize = 2;

/// A piece of music whose codes are given, and what the model attends to.
#[derive(Debug, Clone, PartialEq)]
pub struct ForcedPiece {
    /// The text's states `(tokens, d_model)`, before the projection.
    pub text_states: Vec<f32>,
    /// The codes of the recording to edit; `None` for plain MusicGen.
    pub input: Option<Codes>,
    /// The codes that the model is fed.
    pub codes: Codes,
}

/// A forward pass over a piece, with the states before each layer.
pub struct ForcedPass {
    text: Conditioning,
    /// The number of steps, as the delay pattern has them.
    steps: usize,
    /// The number of frames of the recording to edit, and its embeddings for the transformer over its codes.
    input: Option<(usize, Vec<f32>)>,
    states: Vec<States>,
    logits: Vec<f32>,
}

/// The states before a layer.
#[derive(Clone)]
struct States {
    /// Of the language model: `(rows, steps, width)`.
    lm: Vec<f32>,
    /// Of the transformer over the input's codes; empty without one.
    cp: Vec<f32>,
}

impl ForcedPass {
    /// Runs a model over a piece.
    ///
    /// # Errors
    /// [`MusicgenError::Request`] for codes and states that the model does not take.
    pub fn new(lm: &LanguageModel, cp: Option<&CpEncoder>, piece: &ForcedPiece) -> Result<Self> {
        let config = lm.config();
        let text = lm.condition(&piece.text_states)?;
        lm.check_codes(&piece.codes)?;
        let pattern = DelayPattern::new(config.num_codebooks, config.audio_channels, config.vocab_size as u32);
        let delayed = pattern.input(&piece.codes);
        let steps = delayed.frames();
        let mut first = States { lm: vec![0.0; steps * config.hidden_size], cp: Vec::new() };
        lm.inputs(&delayed, 0, &mut first.lm);
        first.lm.extend_from_within(..);
        let mut input = None;
        if let (Some(cp), Some(codes)) = (cp, &piece.input) {
            cp.check(lm, codes)?;
            let Input { embedded, states } = cp.input(lm, codes);
            first.cp = states;
            input = Some((codes.frames(), embedded));
        }
        let mut pass = ForcedPass { text, steps, input, states: vec![first], logits: Vec::new() };
        let mut scratch = Default::default();
        for i in 0..lm.layers().len() {
            let mut states = pass.states[i].clone();
            pass.layer(lm, cp, i, &mut states, &mut scratch);
            pass.states.push(states);
        }
        let last = pass.states.pop().map(|states| states.lm).unwrap_or_default();
        pass.logits = finish(lm, last);
        Ok(pass)
    }

    /// The logits `(rows, steps, codebooks, vocab_size)`, the row with the text first.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }

    /// The logits of a model of the same sizes whose weights are equal to those of this pass's model in all layers before
    /// `layer`, in the embeddings and in the text's projection.
    ///
    /// # Errors
    /// [`MusicgenError::Request`] for a model of other sizes.
    pub fn logits_from(&self, layer: usize, lm: &LanguageModel, cp: Option<&CpEncoder>) -> Result<Vec<f32>> {
        let layers = lm.layers().len();
        let width = lm.config().hidden_size;
        let Some(states) = self.states.get(layer).filter(|states| {
            layers == self.states.len()
                && states.lm.len() == ROWS * self.steps * width
                && cp.is_some() >= self.input.is_some()
        }) else {
            let kept = self.states.len();
            let message = format!(
                "layer {layer} of a model of {layers} layers of width {width}: the pass has {kept} layers, or other sizes"
            );
            return Err(MusicgenError::Request(message));
        };
        let (mut states, mut scratch) = (states.clone(), Default::default());
        for i in layer..layers {
            self.layer(lm, cp, i, &mut states, &mut scratch);
        }
        Ok(finish(lm, states.lm))
    }

    /// Computes layer `i` in place.
    fn layer(
        &self,
        lm: &LanguageModel,
        cp: Option<&CpEncoder>,
        i: usize,
        states: &mut States,
        (scratch, cp_scratch): &mut (Scratch, cp::Scratch),
    ) {
        let layer = &lm.layers()[i];
        let prefix = cp
            .zip(self.input.as_ref())
            .map(|(cp, (frames, embedded))| (cp.layer(lm, i, embedded, &mut states.cp, cp_scratch), *frames));
        let context = Steps {
            count: self.steps,
            before: 0,
            heads: lm.config().num_attention_heads,
            prefix: prefix.as_ref().map(|(prefix, frames)| (prefix, *frames)),
            cross: &Cross::new(lm, layer, &self.text),
        };
        layer.forward(&mut states.lm, &context, &mut caches(lm, ROWS, self.steps), scratch);
    }
}

/// The logits of the states after the last layer.
fn finish(lm: &LanguageModel, mut states: Vec<f32>) -> Vec<f32> {
    lm.normalize(&mut states, &mut Vec::new());
    lm.logits(&states)
}
