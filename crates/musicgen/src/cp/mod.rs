//! The transformer over the input's codes ("CP transformer") of
//! [Instruct-MusicGen](https://github.com/ldzhangyx/instruct-MusicGen): its queries, keys and values in each layer are a
//! prefix to which the language model attends.
//!
//! It runs through the language model's own layers, without their cross-attention. The codes enter each layer through a linear
//! layer of its own ("merge_linear"), and so do learned positions.

mod prefix;

use mert_linear::Linear;

pub use self::prefix::{CpPrefix, LayerPrefix};
use crate::bundle::Weights;
use crate::lm::{Codes, LanguageModel};
use crate::transformer::{Attended, HeadRows, attend};
use crate::{MusicgenError, Result};
use mert_arch::CpTransformer;

/// The input's codes as the layers get them, `(frames + 1, width)` each.
pub(crate) struct Input {
    /// The embeddings, which every layer adds through its `merge_linear`.
    pub(crate) embedded: Vec<f32>,
    /// The states before the first layer.
    pub(crate) states: Vec<f32>,
}

/// Memory that the layers reuse.
#[derive(Default)]
pub(crate) struct Scratch {
    x: Vec<f32>,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    inner: Vec<f32>,
}

/// The weights that the instruct model has beside the language model's.
pub struct CpEncoder {
    config: CpTransformer,
    /// Positions as rows `(layers + 1) · max_frames` of `width` values: first those of the input, then those of each layer.
    pos_emb: Linear,
    gates: Vec<f32>,
    merge_linear: Vec<Linear>,
}

impl CpEncoder {
    pub(crate) fn open(weights: &Weights, config: CpTransformer) -> Result<Self> {
        let CpTransformer { num_layers, max_frames, hidden_size } = config;
        let merge = |i| weights.linear(&format!("cp_transformer.merge_linear.{i}"), hidden_size, hidden_size);
        Ok(CpEncoder {
            config,
            pos_emb: weights.table("cp_transformer.pos_emb", &[num_layers + 1, max_frames, hidden_size])?,
            gates: weights.vector("cp_transformer.gates", num_layers)?,
            merge_linear: (0..num_layers).map(merge).collect::<Result<_>>()?,
        })
    }

    /// The most frames of codes that an input may have: a special frame follows them.
    pub fn max_frames(&self) -> usize {
        self.config.max_frames - 1
    }

    /// Runs the transformer over the codes of the input.
    ///
    /// # Errors
    /// [`MusicgenError::Request`] if there are no frames, or more than [`CpEncoder::max_frames`], or codes that the model
    /// does not have.
    pub fn prefix(&self, lm: &LanguageModel, codes: &Codes) -> Result<CpPrefix> {
        self.check(lm, codes)?;
        let Input { embedded, mut states } = self.input(lm, codes);
        let mut scratch = Scratch::default();
        let layers = 0..self.merge_linear.len();
        let layers = layers.map(|i| self.layer(lm, i, &embedded, &mut states, &mut scratch)).collect();
        Ok(CpPrefix { layers, frames: codes.frames() })
    }

    /// Checks that the input is not too long, and that the model has its codes.
    pub(crate) fn check(&self, lm: &LanguageModel, codes: &Codes) -> Result<()> {
        let (frames, most) = (codes.frames(), self.max_frames());
        if frames == 0 || frames > most {
            let message = format!("the input has {frames} frames of codes, expected 1 to {most}");
            return Err(MusicgenError::Request(message));
        }
        lm.check_codes(codes)
    }

    /// What the first layer gets for the codes of the input, which are checked.
    pub(crate) fn input(&self, lm: &LanguageModel, codes: &Codes) -> Input {
        let (width, frames) = (self.config.hidden_size, codes.frames());
        let special = lm.config().vocab_size as u32;
        let mut embedded = vec![0.0; (frames + 1) * width];
        for (frame, out) in embedded.chunks_exact_mut(width).enumerate() {
            let code = |k: usize| if frame < frames { codes.get(k, frame) } else { special };
            lm.embed(code, out);
        }
        // The first layer's input is the positions alone: the codes enter through `merge_linear`.
        let mut states = vec![0.0; (frames + 1) * width];
        self.add_positions(0, &mut states);
        Input { embedded, states }
    }

    /// Computes layer `i`: the prefix that it has for the language model. `states` become those before the next layer.
    pub(crate) fn layer(
        &self,
        lm: &LanguageModel,
        i: usize,
        embedded: &[f32],
        states: &mut [f32],
        scratch: &mut Scratch,
    ) -> LayerPrefix {
        let (width, heads) = (self.config.hidden_size, lm.config().num_attention_heads);
        let (head_width, steps) = (width / heads, states.len() / width);
        let (layer, Scratch { x, q, k, v, inner }) = (&lm.layers()[i], scratch);
        layer.norm1.forward(states, x);
        self.merge_linear[i].forward_add(embedded, x);
        self.add_positions(i + 1, x);
        layer.self_attn.project(x, [&mut *q, &mut *k, &mut *v]);
        let [queries, keys, values] = [&*q, &*k, &*v].map(|rows| {
            let mut stored = HeadRows::new(lm.precision(), heads, steps, head_width);
            stored.extend(rows);
            stored
        });
        // The states after the last layer are not used.
        if i + 1 < self.merge_linear.len() {
            let seen = |step: usize, head: usize, out: &mut [f32]| {
                out.copy_from_slice(&q[step * width + head * head_width..][..head_width]);
                Attended { keys: &keys, values: &values, count: step + 1, factor: 1.0 }
            };
            attend(x, heads, &[&seen], head_width);
            layer.self_attn.out_proj.forward_add(x, states);
            layer.norm2.forward(states, x);
            layer.feed_forward.add(x, inner, states);
        }
        LayerPrefix { queries, keys, values, gate: self.gates[i] }
    }

    /// Adds the positions of an input (0) or of a layer (from 1) to the rows of `states`.
    fn add_positions(&self, part: usize, states: &mut [f32]) {
        let mut position = vec![0.0; self.config.hidden_size];
        for (frame, state) in states.chunks_exact_mut(self.config.hidden_size).enumerate() {
            self.pos_emb.row(part * self.config.max_frames + frame, &mut position);
            state.iter_mut().zip(&position).for_each(|(state, position)| *state += position);
        }
    }
}
