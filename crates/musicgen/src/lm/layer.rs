//! One layer of the language model: attention to the codes so far and to the input's, attention to the text, feed-forward.

use super::session::{Cross, Scratch};
use crate::Result;
use crate::bundle::Weights;
use crate::cp::LayerPrefix;
use crate::transformer::{Attended, Attention, FeedForward, HeadRows, LayerNorm, attend};
use mert_arch::MusicgenDecoder;
use rayon::prelude::*;

/// The weights of a layer, pre-norm.
pub(crate) struct Layer {
    pub(crate) norm1: LayerNorm,
    pub(crate) self_attn: Attention,
    norm_cross: LayerNorm,
    pub(super) cross_attn: Attention,
    pub(crate) norm2: LayerNorm,
    pub(crate) feed_forward: FeedForward,
}

/// The keys and values of a row of the batch up to now.
#[derive(Clone)]
pub(super) struct Cache {
    pub(super) keys: HeadRows,
    pub(super) values: HeadRows,
}

/// The context of the steps that a layer computes.
pub(super) struct Steps<'a> {
    /// The number of steps of each row.
    pub(super) count: usize,
    /// The number of steps before these.
    pub(super) before: usize,
    pub(super) heads: usize,
    /// The input's codes in this layer and the number of their frames.
    pub(super) prefix: Option<(&'a LayerPrefix, usize)>,
    /// The text. Only the first row attends to it: that of the others is zero, and so is what they would read.
    pub(super) cross: &'a Cross,
}

impl Layer {
    pub(super) fn open(weights: &Weights, layer: &str, config: &MusicgenDecoder) -> Result<Self> {
        let width = config.hidden_size;
        let norm = |name: &str| LayerNorm::open(weights, &format!("{layer}.{name}"), width);
        Ok(Layer {
            norm1: norm("norm1")?,
            self_attn: Attention::open(weights, &format!("{layer}.self_attn"), width)?,
            norm_cross: norm("norm_cross")?,
            cross_attn: Attention::open(weights, &format!("{layer}.cross_attn"), width)?,
            norm2: norm("norm2")?,
            feed_forward: FeedForward::open(weights, layer, config)?,
        })
    }

    /// Computes the layer for the states `(rows, steps, width)` in place. `caches` has an entry for each row of the batch.
    pub(super) fn forward(&self, states: &mut [f32], steps: &Steps<'_>, caches: &mut [Cache], scratch: &mut Scratch) {
        let row = states.len() / caches.len();
        let Scratch { x, q, k, v, inner } = scratch;
        self.norm1.forward(states, x);
        self.self_attn.project(x, [q, k, v]);
        let new = k.par_chunks_exact(row).zip(v.par_chunks_exact(row));
        caches.par_iter_mut().zip(new).for_each(|(Cache { keys, values }, (k, v))| {
            rayon::join(|| keys.extend(k), || values.extend(v));
        });
        self.attend_to_codes(x, q, steps, caches);
        self.self_attn.out_proj.forward_add(x, states);
        self.attend_to_text(&mut states[..row], steps, [x, q]);
        self.norm2.forward(states, x);
        self.feed_forward.add(x, inner, states);
    }

    /// Writes to `out` the attention to the codes so far, and to the input's codes if there are any.
    fn attend_to_codes(&self, out: &mut [f32], q: &[f32], steps: &Steps<'_>, caches: &[Cache]) {
        let &Steps { count, before, heads, prefix, .. } = steps;
        let width = q.len() / (count * caches.len());
        let head_width = width / heads;
        let query = |step: usize, head: usize| &q[step * width + head * head_width..][..head_width];
        let codes = |step: usize, head: usize, out: &mut [f32]| {
            out.copy_from_slice(query(step, head));
            let Cache { keys, values } = &caches[step / count];
            Attended { keys, values, count: before + step % count + 1, factor: 1.0 }
        };
        let Some((prefix, frames)) = prefix else { return attend(out, heads, &[&codes], head_width) };
        // The steps after the last frame have the query of the last frame; the special frame's query is not used.
        let input = |step: usize, head: usize, out: &mut [f32]| {
            prefix.queries.row(head, (before + step % count).min(frames - 1), out);
            out.iter_mut().zip(query(step, head)).for_each(|(out, q)| *out += q);
            let LayerPrefix { keys, values, gate, .. } = prefix;
            Attended { keys, values, count: keys.len(), factor: *gate }
        };
        attend(out, heads, &[&codes, &input], head_width);
    }

    /// Adds to the states of one row what they read in the text.
    fn attend_to_text(&self, states: &mut [f32], steps: &Steps<'_>, [x, q]: [&mut Vec<f32>; 2]) {
        let width = states.len() / steps.count;
        let head_width = width / steps.heads;
        self.norm_cross.forward(states, x);
        q.resize(states.len(), 0.0);
        self.cross_attn.q_proj.forward(x, q);
        let text = |step: usize, head: usize, out: &mut [f32]| {
            out.copy_from_slice(&q[step * width + head * head_width..][..head_width]);
            let Cross { keys, values } = steps.cross;
            Attended { keys, values, count: keys.len(), factor: 1.0 }
        };
        attend(x, steps.heads, &[&text], head_width);
        self.cross_attn.out_proj.forward_add(x, states);
    }
}
