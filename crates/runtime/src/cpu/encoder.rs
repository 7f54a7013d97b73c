use candle_core::Result;
use mert_arch::{Activation, Config};

use super::attention::{self, Attention};
use super::buffer::Buffer;
use super::gemm::Epilogue;
use super::isa::Isa;
use super::layer_norm::LayerNorm;
use super::linear::Linear;
use super::lists::Lists;
use super::packed::Packed;
use super::positional_conv::PositionalConvEmbedding;
use super::weights::Weights;

/// Frames that go through a feed-forward at a time, a multiple of any tile: its inner activations, four
/// times as wide as the others, take 6 MB at most, however long the clip.
const FEED_FORWARD_FRAMES: usize = 480;

/// The transformer: a positional convolution, the layers, and one LayerNorm before (post-LN) or after
/// (pre-LN) all of them.
#[derive(Debug)]
pub(crate) struct Encoder {
    pos_conv_embed: PositionalConvEmbedding,
    layer_norm: LayerNorm,
    layers: Vec<EncoderLayer>,
    pre_norm: bool,
}

/// The activations of one pass, and what all layers use in turn.
#[derive(Debug, Default)]
pub(crate) struct State {
    x: Buffer,
    /// How much of `x` is this pass's.
    size: usize,
    /// Frames of each clip.
    frames: usize,
    /// What the next product multiplies: `x`, or its norm in a pre-LN model.
    input: Packed,
    inner: Packed,
    attention: attention::Memory,
    lists: Lists,
}

impl State {
    /// Makes room for activations of `size` in all, of clips of `frames` frames.
    pub(crate) fn resize(&mut self, size: usize, frames: usize) {
        (self.size, self.frames) = (size, frames);
        self.x.reserve(size);
    }

    /// Continues from `x` `(clips · frames, width)`, which may be any hidden state.
    pub(crate) fn resume(&mut self, isa: Isa, x: &[f32], frames: usize, width: usize) {
        self.resize(x.len(), frames);
        let (own, input, _) = self.parts();
        own.copy_from_slice(x);
        input.resize(isa, x.len() / width, width);
        input.copy_from(own);
    }

    /// Sees to it that the same pass again needs no more memory.
    pub(crate) fn settle(&mut self) {
        self.lists.clear();
    }

    /// The activations `(clips · frames, width)`.
    pub(crate) fn x(&self) -> &[f32] {
        &self.x[..self.size]
    }

    /// The activations, and what the step that makes them from the features works in.
    pub(crate) fn parts(&mut self) -> (&mut [f32], &mut Packed, &mut Lists) {
        (&mut self.x[..self.size], &mut self.input, &mut self.lists)
    }
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
    pub(crate) fn first_hidden_state(&self, isa: Isa, state: &mut State) {
        let frames = state.frames;
        let (x, input, lists) = state.parts();
        self.pos_conv_embed.add_to(isa, x, frames, lists);
        if !self.pre_norm {
            self.layer_norm.forward_packed(isa, x, input);
        }
    }

    /// Turns the output of layer `layer` − 1 into that of `layer` (1 is the first).
    ///
    /// In a pre-LN model the last hidden state is [`Encoder::finish`] of this.
    pub(crate) fn layer(&self, isa: Isa, layer: usize, state: &mut State) {
        let _span = tracing::trace_span!("encoder_layer", layer).entered();
        self.layers[layer - 1].forward(isa, state);
    }

    /// Turns the output of layer `layer` into hidden state `layer`: a pre-LN model normalises the last.
    pub(crate) fn finish(&self, isa: Isa, layer: usize, state: &mut State) {
        if self.pre_norm && layer == self.layers.len() {
            self.layer_norm.forward(isa, state.parts().0);
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

    /// Both halves add to `x` in place. A post-LN layer finds its packed input in `state` and leaves the
    /// next one's there.
    fn forward(&self, isa: Isa, state: &mut State) {
        let State { x, size, frames, input, inner, attention, lists } = state;
        let x = &mut x[..*size];
        if self.pre_norm {
            self.layer_norm.to_packed(isa, x, input);
            self.attention.add_to(isa, input, *frames, attention, x, lists);
            self.final_layer_norm.to_packed(isa, x, input);
            self.feed_forward.add_to(isa, input, inner, x, lists);
        } else {
            self.scale_residual(x);
            self.attention.add_to(isa, input, *frames, attention, x, lists);
            self.layer_norm.forward_packed(isa, x, input);
            self.scale_residual(x);
            self.feed_forward.add_to(isa, input, inner, x, lists);
            self.final_layer_norm.forward_packed(isa, x, input);
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
    fn add_to(&self, isa: Isa, x: &Packed, inner: &mut Packed, out: &mut [f32], lists: &mut Lists) {
        let outs = out.chunks_mut(FEED_FORWARD_FRAMES * self.output_dense.outputs());
        for (x, out) in x.parts(FEED_FORWARD_FRAMES).zip(outs) {
            self.intermediate_dense.forward_packed(isa, x, inner, self.activation, lists);
            self.output_dense.forward(isa, inner.all(), out, Epilogue { accumulate: true, activation: None }, lists);
        }
    }
}
