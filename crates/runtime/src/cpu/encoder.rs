use candle_core::Result;
use mert_spec::{Activation, Config};

use super::attention::{self, Attention};
use super::buffer::Buffer;
use super::gemm::{self, Epilogue, Rows};
use super::isa::Isa;
use super::layer_norm::LayerNorm;
use super::linear::Linear;
use super::positional_conv::PositionalConvEmbedding;
use super::weights::Weights;

/// Frames that go through a feed-forward at a time: its inner activations, four times as wide as the
/// others, take 12 MB at most, however long the clip.
const FEED_FORWARD_FRAMES: usize = 960;

/// The transformer: a positional convolution, the layers, and one LayerNorm before (post-LN) or after
/// (pre-LN) all of them.
#[derive(Debug)]
pub(crate) struct Encoder {
    pos_conv_embed: PositionalConvEmbedding,
    layer_norm: LayerNorm,
    layers: Vec<EncoderLayer>,
    pre_norm: bool,
}

/// What all layers use in turn.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    attention: attention::Memory,
    normalised: Buffer,
    inner: Buffer,
}

impl Encoder {
    pub(crate) fn load(isa: Isa, weights: &Weights<'_>, config: &Config) -> Result<Self> {
        let layers = weights.pp("layers");
        let layers = (0..config.num_hidden_layers).map(|i| EncoderLayer::load(isa, &layers.pp(i), config));
        Ok(Encoder {
            pos_conv_embed: PositionalConvEmbedding::load(isa, &weights.pp("pos_conv_embed"), config)?,
            layer_norm: weights.layer_norm("layer_norm", config.hidden_size, config.layer_norm_eps)?,
            layers: layers.collect::<Result<_>>()?,
            pre_norm: config.do_stable_layer_norm,
        })
    }

    /// Turns the projected features into hidden state 0: with positions added, and normalised in a
    /// post-LN model.
    pub(crate) fn first_hidden_state(&self, isa: Isa, x: &mut [f32], frames: usize) {
        self.pos_conv_embed.add_to(isa, x, frames);
        if !self.pre_norm {
            self.layer_norm.forward(isa, x);
        }
    }

    /// Turns the output of layer `layer` − 1 into that of `layer` (1 is the first).
    ///
    /// In a pre-LN model the last hidden state is [`Encoder::finish`] of this.
    pub(crate) fn layer(&self, isa: Isa, layer: usize, x: &mut [f32], frames: usize, memory: &mut Memory) {
        let _span = tracing::trace_span!("encoder_layer", layer).entered();
        self.layers[layer - 1].forward(isa, x, frames, memory);
    }

    /// Turns the output of layer `layer` into hidden state `layer`: a pre-LN model normalises the last.
    pub(crate) fn finish(&self, isa: Isa, layer: usize, x: &mut [f32]) {
        if self.pre_norm && layer == self.layers.len() {
            self.layer_norm.forward(isa, x);
        }
    }
}

#[derive(Debug)]
struct EncoderLayer {
    attention: Attention,
    layer_norm: LayerNorm,
    feed_forward: FeedForward,
    final_layer_norm: LayerNorm,
    pre_norm: bool,
    residual_scale: f32,
}

impl EncoderLayer {
    fn load(isa: Isa, weights: &Weights<'_>, config: &Config) -> Result<Self> {
        let norm = |name| weights.layer_norm(name, config.hidden_size, config.layer_norm_eps);
        Ok(EncoderLayer {
            attention: Attention::load(isa, &weights.pp("attention"), config)?,
            layer_norm: norm("layer_norm")?,
            feed_forward: FeedForward::load(isa, &weights.pp("feed_forward"), config)?,
            final_layer_norm: norm("final_layer_norm")?,
            pre_norm: config.do_stable_layer_norm,
            residual_scale: config.residual_scale() as f32,
        })
    }

    /// Both halves add to `x` in place. They read `x` itself, or a copy where that differs from what is
    /// added to.
    fn forward(&self, isa: Isa, x: &mut [f32], frames: usize, memory: &mut Memory) {
        let Memory { attention, normalised, inner } = memory;
        let input = normalised.take(x.len());
        input.copy_from_slice(x);
        if self.pre_norm {
            self.layer_norm.forward(isa, input);
            self.attention.add_to(isa, input, frames, attention, x);
            input.copy_from_slice(x);
            self.final_layer_norm.forward(isa, input);
            self.feed_forward.add_to(isa, input, inner, x);
        } else {
            self.scale_residual(x);
            self.attention.add_to(isa, input, frames, attention, x);
            self.layer_norm.forward(isa, x);
            input.copy_from_slice(x);
            self.scale_residual(x);
            self.feed_forward.add_to(isa, input, inner, x);
            self.final_layer_norm.forward(isa, x);
        }
    }

    fn scale_residual(&self, x: &mut [f32]) {
        if self.residual_scale != 1.0 {
            x.iter_mut().for_each(|x| *x *= self.residual_scale);
        }
    }
}

/// Two linear maps with an activation between them.
#[derive(Debug)]
struct FeedForward {
    intermediate_dense: Linear,
    output_dense: Linear,
    activation: Activation,
}

impl FeedForward {
    fn load(isa: Isa, weights: &Weights<'_>, config: &Config) -> Result<Self> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        Ok(FeedForward {
            intermediate_dense: weights.linear(isa, "intermediate_dense", width, inner)?,
            output_dense: weights.linear(isa, "output_dense", inner, width)?,
            activation: config.hidden_act,
        })
    }

    /// Adds the map of `x` to `out`; both are `(frames, width)`.
    fn add_to(&self, isa: Isa, x: &[f32], inner: &mut Buffer, out: &mut [f32]) {
        let (width, inner_width) = (self.intermediate_dense.inputs(), self.intermediate_dense.outputs());
        let size = FEED_FORWARD_FRAMES * width;
        for (x, out) in x.chunks(size).zip(out.chunks_mut(size)) {
            let inner = inner.take(x.len() / width * inner_width);
            let activate = Epilogue { accumulate: false, activation: Some(self.activation) };
            gemm::linear(isa, Rows { values: x, row_stride: width }, &self.intermediate_dense, inner, activate);
            let add = Epilogue { accumulate: true, activation: None };
            gemm::linear(isa, Rows { values: inner, row_stride: inner_width }, &self.output_dense, out, add);
        }
    }
}
