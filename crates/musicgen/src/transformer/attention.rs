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

/// One of the things that steps attend to: writes the query of a step and head, and returns what it attends to.
pub(crate) type Source<'a> = &'a (dyn Fn(usize, usize, &mut [f32]) -> Attended<'a> + Sync);

/// Adds the attention of each step and head to each source to `out` `(steps, heads · width)`:
/// `factor · softmax(q · kᵀ / √width) · v`.
///
/// Each element of the result is computed by one thread in a fixed order.
pub(crate) fn attend(out: &mut [f32], heads: usize, sources: &[Source<'_>], width: usize) {
    let (isa, scale) = (isa(), (width as f32).powf(-0.5));
    out.par_chunks_mut(width).enumerate().for_each_init(
        || (vec![0.0; width], Vec::new()),
        |(q, scores), (chunk, out)| {
            let (step, head) = (chunk / heads, chunk % heads);
            for source in sources {
                let Attended { keys, values, count, factor } = source(step, head, q);
                scores.resize(count, 0.0);
                let (keys, values) = (keys.rows(head, count), values.rows(head, count));
                attention::attend(isa, q, keys, values, scale, factor, scores, out);
            }
        },
    );
}
