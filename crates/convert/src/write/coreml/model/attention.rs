//! Attention, as one operation of MIL or as several.

use super::Model;
use crate::write::coreml::graph::{Dim, Graph, Tensor};

impl Model<'_> {
    /// The attention module at `at`, whose scores are shifted by `bias` `(1, heads, frames, frames)` after its gate.
    pub(super) fn attention(&self, g: &mut Graph<'_>, x: &Tensor, at: &str, bias: Option<&Tensor>) -> Tensor {
        let (heads, head_dim) = (self.config.num_attention_heads, self.config.head_dim());
        let frames = x.dims[1];
        let split = |g: &mut Graph<'_>, x: &Tensor, name: &str| {
            let dims = vec![Dim::Fixed(1), frames, Dim::Fixed(heads), Dim::Fixed(head_dim)];
            let x = g.reshape(&format!("{at}.{name}.split"), x, dims);
            g.transpose(&format!("{at}.{name}.heads"), &x, &[0, 2, 1, 3])
        };
        let project = |g: &mut Graph<'_>, name: &str| g.linear(&format!("{at}.{name}"), x, &format!("{at}.{name}"));

        let relax = self.config.attention_relax;
        let fused = self.fused_attention && relax <= 0.0;
        let mut q = project(g, "q_proj");
        if !fused {
            let relaxed = if relax > 0.0 { relax } else { 1.0 };
            q = g.scale(&format!("{at}.scale"), &q, (head_dim as f64).powf(-0.5) / relaxed);
        }
        let q = split(g, &q, "q_proj");
        let k = project(g, "k_proj");
        let k = split(g, &k, "k_proj");
        let v = project(g, "v_proj");
        let v = split(g, &v, "v_proj");
        let bias = bias.map(|bias| self.gated_bias(g, x, bias, at));
        let y = if fused {
            g.scaled_dot_product_attention(&format!("{at}.mix"), [&q, &k, &v], bias.as_ref())
        } else {
            let mut logits = g.matmul(&format!("{at}.logits"), &q, &k, true);
            if relax > 0.0 {
                let max = g.reduce_max(&format!("{at}.max"), &logits, 3);
                let centred = g.sub(&format!("{at}.centred"), &logits, &max);
                logits = g.scale(&format!("{at}.relax"), &centred, relax);
            }
            // After the relaxation, which multiplies the scores and removes a number from each row.
            if let Some(bias) = &bias {
                logits = g.add(&format!("{at}.biased"), &logits, bias);
            }
            let weights = g.softmax(&format!("{at}.weights"), &logits);
            g.matmul(&format!("{at}.mix"), &weights, &v, false)
        };
        let y = g.transpose(&format!("{at}.frames"), &y, &[0, 2, 1, 3]);
        let y = g.reshape(&format!("{at}.merge"), &y, x.dims.clone());
        g.linear(&format!("{at}.out_proj"), &y, &format!("{at}.out_proj"))
    }
}
