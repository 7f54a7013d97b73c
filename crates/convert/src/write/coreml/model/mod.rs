//! The encoder as a program: one function for each module, under the checkpoint's names.
//!
//! - this file: the feature extractor, the layers and the outputs.
//! - `positional_conv.rs`: the variants of the positional convolution.
//! - `attention.rs`: attention; `position_bias.rs`: the bias of its scores by the distance of query and key.
//!
//! Activations are `(1, channels, frames)` inside the feature extractor, as `conv` takes them, and
//! `(1, frames, channels)` after it.

mod attention;
mod position_bias;
mod positional_conv;

use mert_arch::{Config, FeatureExtractorNorm};

use super::graph::{Conv, Float, Graph, Tensor};

/// The encoder, with the choices that do not come from its configuration.
pub(super) struct Model<'a> {
    pub(super) config: &'a Config,
    /// The type of the computation.
    pub(super) dtype: Float,
    /// Whether attention is one operation.
    pub(super) fused_attention: bool,
    /// The number of frames of the longest clip.
    pub(super) longest: usize,
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
        let bias = self.config.position_bias().filter(|_| last > 0).map(|bias| self.position_bias(g, &x, bias));
        let mut states = vec![x.clone()];
        for layer in 1..=last {
            let at = format!("encoder.layers.{}", layer - 1);
            x = if self.config.do_stable_layer_norm {
                self.pre_norm(g, &x, &at, bias.as_ref())
            } else {
                self.post_norm(g, &x, &at, bias.as_ref())
            };
            let closes = self.config.do_stable_layer_norm && layer == self.config.num_hidden_layers;
            states.push(if closes { self.layer_norm(g, &x, "encoder.layer_norm") } else { x.clone() });
        }
        states
    }

    /// Whether the hidden states 0 to `last` depend on a tensor of the model.
    pub(super) fn needs(&self, tensor: &str, last: usize) -> bool {
        if let Some(in_layer) = tensor.strip_prefix("encoder.layers.") {
            let layer = in_layer.split('.').next().and_then(|layer| layer.parse::<usize>().ok());
            return layer.is_none_or(|layer| layer < last);
        }
        let is_last_norm = self.config.do_stable_layer_norm && tensor.starts_with("encoder.layer_norm.");
        !is_last_norm || last == self.config.num_hidden_layers
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

    fn post_norm(&self, g: &mut Graph<'_>, x: &Tensor, at: &str, bias: Option<&Tensor>) -> Tensor {
        let y = self.attention(g, x, &format!("{at}.attention"), bias);
        let x = self.residual(g, x, &y, &format!("{at}.attention"));
        let x = self.layer_norm(g, &x, &format!("{at}.layer_norm"));
        let y = self.feed_forward(g, &x, &format!("{at}.feed_forward"));
        let x = self.residual(g, &x, &y, &format!("{at}.feed_forward"));
        self.layer_norm(g, &x, &format!("{at}.final_layer_norm"))
    }

    fn pre_norm(&self, g: &mut Graph<'_>, x: &Tensor, at: &str, bias: Option<&Tensor>) -> Tensor {
        let y = self.layer_norm(g, x, &format!("{at}.layer_norm"));
        let y = self.attention(g, &y, &format!("{at}.attention"), bias);
        let x = self.residual(g, x, &y, &format!("{at}.attention"));
        let y = self.layer_norm(g, &x, &format!("{at}.final_layer_norm"));
        let y = self.feed_forward(g, &y, &format!("{at}.feed_forward"));
        self.residual(g, &x, &y, &format!("{at}.feed_forward"))
    }

    fn residual(&self, g: &mut Graph<'_>, x: &Tensor, y: &Tensor, at: &str) -> Tensor {
        let x = g.scale(&format!("{at}.residual_scale"), x, self.config.residual_scale());
        g.add(&format!("{at}.residual"), &x, y)
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
