//! Multi-head attention over stored keys and values.

use mert_linear::{Linear, attention, isa};
use rayon::prelude::*;

use super::head_rows::HeadRows;
use crate::Result;
use crate::bundle::Weights;

/// The four projections of an attention, without biases.
pub(crate) struct Attention {
    pub(crate) q_proj: Linear,
    pub(crate) k_proj: Linear,
    pub(crate) v_proj: Linear,
    pub(crate) out_proj: Linear,
}

impl Attention {
    /// Reads `{module}.q_proj.weight` and so on, each `(width, width)`.
    pub(crate) fn open(weights: &Weights, module: &str, width: usize) -> Result<Self> {
        let linear = |name: &str| weights.linear(&format!("{module}.{name}_proj"), width, width);
        Ok(Attention { q_proj: linear("q")?, k_proj: linear("k")?, v_proj: linear("v")?, out_proj: linear("out")? })
    }

    /// Writes the queries, keys and values of the rows of `x`.
    pub(crate) fn project(&self, x: &[f32], [q, k, v]: [&mut Vec<f32>; 3]) {
        for out in [&mut *q, &mut *k, &mut *v] {
            out.resize(x.len(), 0.0);
        }
        Linear::forward_all(&[&self.q_proj, &self.k_proj, &self.v_proj], x, &mut [q, k, v]);
    }
}

/// The keys and values that one step attends to.
#[derive(Clone, Copy)]
pub(crate) struct Attended<'a> {
    pub(crate) keys: &'a HeadRows,
    pub(crate) values: &'a HeadRows,
    /// The number of rows that the step sees, from the first.
    pub(crate) count: usize,
    /// The factor of what is added to the output.
    pub(crate) factor: f32,
}

impl Attended<'_> {
    /// True if two steps see the same rows.
    fn is_same_as(&self, other: &Self) -> bool {
        let is_same = |a: &HeadRows, b: &HeadRows| std::ptr::eq(a, b);
        let has_same_rows = is_same(self.keys, other.keys) && is_same(self.values, other.values);
        has_same_rows && self.count == other.count && self.factor == other.factor
    }
}

/// One of the things that steps attend to: writes the query of a step and head, and returns what it attends to.
pub(crate) type Source<'a> = &'a (dyn Fn(usize, usize, &mut [f32]) -> Attended<'a> + Sync);

/// Writes the sum over the sources of each step's and head's attention to `out` `(steps, heads · width)`:
/// `factor · softmax(q · kᵀ / √width) · v`.
///
/// A head is computed for all steps by one thread, in a fixed order. Steps in succession that see the same rows share passes
/// over them.
pub(crate) fn attend(out: &mut [f32], heads: usize, sources: &[Source<'_>], width: usize) {
    let steps = out.len() / (heads * width);
    let mut by_head = vec![0.0; out.len()];
    by_head.par_chunks_exact_mut(steps * width).enumerate().for_each_init(
        || (vec![0.0; steps * width], Vec::new()),
        |(queries, scores), (head, out)| {
            sources.iter().for_each(|source| add_head(*source, head, width, queries, scores, out));
        },
    );
    for (step, out) in out.chunks_exact_mut(heads * width).enumerate() {
        for (head, out) in out.chunks_exact_mut(width).enumerate() {
            out.copy_from_slice(&by_head[(head * steps + step) * width..][..width]);
        }
    }
}

/// Adds the attention of all steps of a head to a source to `out` `(steps, width)`. `queries` `(steps, width)` and `scores` are
/// memory that is reused.
fn add_head(
    source: Source<'_>,
    head: usize,
    width: usize,
    queries: &mut [f32],
    scores: &mut Vec<f32>,
    out: &mut [f32],
) {
    let steps = out.len() / width;
    let (mut first, mut group): (usize, Option<Attended<'_>>) = (0, None);
    for step in 0..=steps {
        let query = queries.chunks_exact_mut(width).nth(step);
        let next = query.map(|query| source(step, head, query));
        if next.zip(group).is_some_and(|(next, group)| next.is_same_as(&group)) {
            continue;
        }
        if let Some(Attended { keys, values, count, factor }) = group {
            let (keys, values) = (keys.rows(head, count), values.rows(head, count));
            let attended = attention::Attended { keys, values, count, scale: (width as f32).powf(-0.5), factor };
            let range = first * width..step * width;
            attended.add(isa(), &queries[range.clone()], scores, &mut out[range]);
        }
        (first, group) = (step, next);
    }
}
