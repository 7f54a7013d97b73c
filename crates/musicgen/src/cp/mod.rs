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
        let frames = codes.frames();
        if frames == 0 || frames > self.max_frames() {
            let most = self.max_frames();
            let message = format!("the input has {frames} frames of codes, expected 1 to {most}");
            return Err(MusicgenError::Request(message));
        }
        lm.check_codes(codes)?;
        let (width, heads, steps) = (self.config.hidden_size, lm.config().num_attention_heads, frames + 1);
        let head_width = width / heads;
        let special = lm.config().vocab_size as u32;
        let mut embedded = vec![0.0; steps * width];
        for (frame, out) in embedded.chunks_exact_mut(width).enumerate() {
            let code = |k: usize| if frame < frames { codes.get(k, frame) } else { special };
            lm.embed(code, out);
        }
        // The first layer's input is the positions alone: the codes enter through `merge_linear`.
        let mut states = vec![0.0; steps * width];
        self.add_positions(0, &mut states);
        let mut layers = Vec::with_capacity(self.merge_linear.len());
        let [mut x, mut q, mut k, mut v, mut inner] = [const { Vec::new() }; 5];
        for (i, (layer, merge)) in lm.layers().iter().zip(&self.merge_linear).enumerate() {
            layer.norm1.forward(&states, &mut x);
            merge.forward_add(&embedded, &mut x);
            self.add_positions(i + 1, &mut x);
            layer.self_attn.project(&x, [&mut q, &mut k, &mut v]);
            let [queries, keys, values] = [&q, &k, &v].map(|rows| {
                let mut stored = HeadRows::new(lm.precision(), heads, steps, head_width);
                stored.extend(rows);
                stored
            });
            // The states after the last layer are not used.
            if i + 1 < self.merge_linear.len() {
                x.fill(0.0);
                let seen = |step: usize, head: usize, out: &mut [f32]| {
                    out.copy_from_slice(&q[step * width + head * head_width..][..head_width]);
                    Attended { keys: &keys, values: &values, count: step + 1, factor: 1.0 }
                };
                attend(&mut x, heads, &[&seen], head_width);
                layer.self_attn.out_proj.forward_add(&x, &mut states);
                layer.norm2.forward(&states, &mut x);
                layer.feed_forward.add(&x, &mut inner, &mut states);
            }
            layers.push(LayerPrefix { queries, keys, values, gate: self.gates[i] });
        }
        Ok(CpPrefix { layers, frames })
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
