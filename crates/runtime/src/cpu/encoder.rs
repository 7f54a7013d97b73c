use candle_core::Result;
use mert_spec::{Activation, Config};

use super::attention::{self, Attention};
use super::buffer::Buffer;
use super::gemm::Epilogue;
use super::isa::Isa;
use super::layer_norm::LayerNorm;
use super::linear::Linear;
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
#[derive(Debug)]
pub(crate) struct State {
    /// `(clips · frames, width)`.
    pub(crate) x: Buffer,
    /// Frames of each clip.
    frames: usize,
    /// What the next product multiplies: `x`, or its norm in a pre-LN model.
    input: Packed,
    inner: Packed,
    attention: attention::Memory,
}

impl State {
    /// Starts from `x` `(clips · frames, width)`, which may be any hidden state.
    pub(crate) fn new(isa: Isa, mut x: Buffer, frames: usize, width: usize) -> Self {
        let (mut input, inner) = (Packed::new(isa), Packed::new(isa));
        input.resize(x.len() / width, width);
        input.copy_from(&mut x);
        State { x, frames, input, inner, attention: attention::Memory::new(isa) }
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
        self.pos_conv_embed.add_to(isa, &mut state.x, state.frames);
        if !self.pre_norm {
            self.layer_norm.forward_packed(isa, &mut state.x, &mut state.input);
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
            self.layer_norm.forward(isa, &mut state.x);
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
        let State { x, frames, input, inner, attention } = state;
        if self.pre_norm {
            self.layer_norm.to_packed(isa, x, input);
            self.attention.add_to(isa, input, *frames, attention, x);
            self.final_layer_norm.to_packed(isa, x, input);
            self.feed_forward.add_to(isa, input, inner, x);
        } else {
            self.scale_residual(x);
            self.attention.add_to(isa, input, *frames, attention, x);
            self.layer_norm.forward_packed(isa, x, input);
            self.scale_residual(x);
            self.feed_forward.add_to(isa, input, inner, x);
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
    fn add_to(&self, isa: Isa, x: &Packed, inner: &mut Packed, out: &mut [f32]) {
        let outs = out.chunks_mut(FEED_FORWARD_FRAMES * self.output_dense.outputs());
        for (x, out) in x.parts(FEED_FORWARD_FRAMES).zip(outs) {
            self.intermediate_dense.forward_packed(isa, x, inner, self.activation);
            self.output_dense.forward(isa, inner.all(), out, Epilogue { accumulate: true, activation: None });
        }
    }
}
