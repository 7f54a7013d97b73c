//! The encoder as a program: one function for each module, under the checkpoint's names.
//!
//! Activations are `(1, channels, frames)` inside the feature extractor, as `conv` takes them, and
//! `(1, frames, channels)` after it.

use mert_arch::{Config, FeatureExtractorNorm};

use super::graph::{Conv, Dim, Float, Graph, Tensor};

/// The encoder, with the choices that do not come from its configuration.
pub(super) struct Model<'a> {
    pub(super) config: &'a Config,
    /// The type of the computation.
    pub(super) dtype: Float,
    /// Whether attention is one operation.
    pub(super) fused_attention: bool,
}

impl Model<'_> {
    /// The hidden states 0 to `last`, each `(1, frames, hidden_size)`, of `input_values` `(1, samples)` in f32.
    pub(super) fn hidden_states(&self, g: &mut Graph<'_>, input_values: &Tensor, last: usize) -> Vec<Tensor> {
        let features = self.feature_extractor(g, input_values);
        let features = self.feature_projection(g, &features);
        let positions = self.positional_conv(g, &features);
        let mut x = g.add("encoder.positions", &features, &positions);
        if !self.config.do_stable_layer_norm {
            x = self.layer_norm(g, &x, "encoder.layer_norm");
        }
        let mut states = vec![x.clone()];
        for layer in 1..=last {
            let at = format!("encoder.layers.{}", layer - 1);
            x = if self.config.do_stable_layer_norm { self.pre_norm(g, &x, &at) } else { self.post_norm(g, &x, &at) };
            let closes = self.config.do_stable_layer_norm && layer == self.config.num_hidden_layers;
            states.push(if closes { self.layer_norm(g, &x, "encoder.layer_norm") } else { x.clone() });
        }
        states
    }

    fn feature_extractor(&self, g: &mut Graph<'_>, input_values: &Tensor) -> Tensor {
        let mut x = g.expand_dims("feature_extractor.input", input_values, 1);
        for i in 0..self.config.conv_dim.len() {
            x = self.conv_layer(g, &x, i);
        }
        g.transpose("feature_extractor.frames", &x, &[0, 2, 1])
    }

    /// One layer of the feature extractor. The first convolution and its norm compute in f32, because the norm sums squares
    /// over a whole clip.
    fn conv_layer(&self, g: &mut Graph<'_>, x: &Tensor, i: usize) -> Tensor {
        let at = format!("feature_extractor.conv_layers.{i}");
        let (weight, bias) = (format!("{at}.conv.weight"), format!("{at}.conv.bias"));
        let bias = self.config.conv_bias.then_some(bias.as_str());
        let conv = Conv { bias, stride: self.config.conv_stride[i], pad: [0, 0], groups: 1 };
        let mut x = g.conv(&format!("{at}.conv"), x, &weight, &conv);
        let (norm, eps) = (format!("{at}.layer_norm"), Config::FEATURE_EXTRACTOR_NORM_EPS);
        match self.config.feat_extract_norm {
            FeatureExtractorNorm::Group if i == 0 => x = g.instance_norm(&norm, &x, &norm, eps),
            FeatureExtractorNorm::Group => {}
            FeatureExtractorNorm::Layer => {
                x = g.transpose(&format!("{norm}.frames"), &x, &[0, 2, 1]);
                x = g.layer_norm(&norm, &x, &norm, eps);
                x = g.transpose(&format!("{norm}.channels"), &x, &[0, 2, 1]);
            }
        }
        x = g.cast(&format!("{at}.cast"), &x, self.dtype);
        g.activation(&format!("{at}.activation"), &x, self.config.feat_extract_activation)
    }

    fn feature_projection(&self, g: &mut Graph<'_>, x: &Tensor) -> Tensor {
        let mut x = x.clone();
        if self.config.feat_proj_layer_norm {
            x = self.layer_norm(g, &x, "feature_projection.layer_norm");
        }
        g.linear("feature_projection.projection", &x, "feature_projection.projection")
    }

    /// The positional convolution, from `(1, frames, hidden_size)` to the same shape. PyTorch pads both ends of an even kernel
    /// alike and drops the last frame; here the end has one zero fewer.
    fn positional_conv(&self, g: &mut Graph<'_>, x: &Tensor) -> Tensor {
        let at = "encoder.pos_conv_embed";
        let (weight, bias) = (format!("{at}.conv.weight"), format!("{at}.conv.bias"));
        let kernel = self.config.num_conv_pos_embeddings;
        let conv = Conv {
            bias: Some(&bias),
            stride: 1,
            pad: [kernel / 2, (kernel - 1) / 2],
            groups: self.config.num_conv_pos_embedding_groups,
        };
        let x = g.transpose(&format!("{at}.channels"), x, &[0, 2, 1]);
        let x = g.conv(&format!("{at}.conv"), &x, &weight, &conv);
        let x = g.activation(&format!("{at}.activation"), &x, self.config.feat_extract_activation);
        g.transpose(&format!("{at}.frames"), &x, &[0, 2, 1])
    }

    fn post_norm(&self, g: &mut Graph<'_>, x: &Tensor, at: &str) -> Tensor {
        let y = self.attention(g, x, &format!("{at}.attention"));
        let x = self.residual(g, x, &y, &format!("{at}.attention"));
        let x = self.layer_norm(g, &x, &format!("{at}.layer_norm"));
        let y = self.feed_forward(g, &x, &format!("{at}.feed_forward"));
        let x = self.residual(g, &x, &y, &format!("{at}.feed_forward"));
        self.layer_norm(g, &x, &format!("{at}.final_layer_norm"))
    }

    fn pre_norm(&self, g: &mut Graph<'_>, x: &Tensor, at: &str) -> Tensor {
        let y = self.layer_norm(g, x, &format!("{at}.layer_norm"));
        let y = self.attention(g, &y, &format!("{at}.attention"));
        let x = self.residual(g, x, &y, &format!("{at}.attention"));
        let y = self.layer_norm(g, &x, &format!("{at}.final_layer_norm"));
        let y = self.feed_forward(g, &y, &format!("{at}.feed_forward"));
        self.residual(g, &x, &y, &format!("{at}.feed_forward"))
    }

    fn residual(&self, g: &mut Graph<'_>, x: &Tensor, y: &Tensor, at: &str) -> Tensor {
        let x = g.scale(&format!("{at}.residual_scale"), x, self.config.residual_scale());
        g.add(&format!("{at}.residual"), &x, y)
    }

    fn attention(&self, g: &mut Graph<'_>, x: &Tensor, at: &str) -> Tensor {
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
        let y = if fused {
            g.scaled_dot_product_attention(&format!("{at}.mix"), &q, &k, &v)
        } else {
            let mut logits = g.matmul(&format!("{at}.logits"), &q, &k, true);
            if relax > 0.0 {
                let max = g.reduce_max(&format!("{at}.max"), &logits, 3);
                let centred = g.sub(&format!("{at}.centred"), &logits, &max);
                logits = g.scale(&format!("{at}.relax"), &centred, relax);
            }
            let weights = g.softmax(&format!("{at}.weights"), &logits);
            g.matmul(&format!("{at}.mix"), &weights, &v, false)
        };
        let y = g.transpose(&format!("{at}.frames"), &y, &[0, 2, 1, 3]);
        let y = g.reshape(&format!("{at}.merge"), &y, x.dims.clone());
        g.linear(&format!("{at}.out_proj"), &y, &format!("{at}.out_proj"))
    }

    fn feed_forward(&self, g: &mut Graph<'_>, x: &Tensor, at: &str) -> Tensor {
        let inner = format!("{at}.intermediate_dense");
        let x = g.linear(&inner, x, &inner);
        let x = g.activation(&format!("{at}.activation"), &x, self.config.hidden_act);
        let output = format!("{at}.output_dense");
        g.linear(&output, &x, &output)
    }

    fn layer_norm(&self, g: &mut Graph<'_>, x: &Tensor, module: &str) -> Tensor {
        g.layer_norm(module, x, module, self.config.layer_norm_eps)
    }
}

/// The mean over frames of each state, `(states, hidden_size)`, under the name `output`. Means are computed in f32, because
/// half precision cannot sum 1500 frames.
pub(super) fn pooled(g: &mut Graph<'_>, states: &[(usize, Tensor)], output: &str) -> Tensor {
    if let [(_, only)] = states {
        return g.reduce_mean(output, only, 1);
    }
    let pooled: Vec<Tensor> =
        states.iter().map(|(index, state)| g.reduce_mean(&format!("pooled.{index}"), state, 1)).collect();
    g.concat(output, &pooled)
}

/// The frames of all states, `(states, frames, hidden_size)`, under the name `output`.
pub(super) fn stacked(g: &mut Graph<'_>, states: &[(usize, Tensor)], output: &str) -> Tensor {
    if let [(_, only)] = states {
        return g.identity(output, only);
    }
    let states: Vec<Tensor> = states.iter().map(|(_, state)| state.clone()).collect();
    g.concat(output, &states)
}
