//! The transformer encoder and its layers.

use std::sync::Arc;

use candle_core::Result;
use mert_arch::Config;

use super::super::kernels::pack::pack_tile;
use super::super::memory::HiddenState;
use super::attention::Attention;
use super::context::Context;
use super::feed_forward::FeedForward;
use super::layer_norm::LayerNorm;
use super::linear::Linear;
use super::position_bias::PositionBias;
use super::positional_conv::PositionalConvEmbedding;
use super::weight_loader::WeightLoader;

/// The position embedding, the layers, and one LayerNorm before (post-LN) or after (pre-LN) all of them: transformers'
/// `HubertEncoder` and `HubertEncoderStableLayerNorm`.
#[derive(Debug, Clone)]
pub(crate) struct Encoder {
    pos_conv_embed: Arc<PositionalConvEmbedding>,
    layer_norm: Arc<LayerNorm>,
    layers: Vec<Arc<EncoderLayer>>,
    position_bias: Option<Arc<PositionBias>>,
    pre_norm: bool,
}

impl Encoder {
    pub(crate) fn load(weights: &WeightLoader<'_>, config: &Config) -> Result<Self> {
        let layer_weights = weights.pp("layers");
        let layers =
            (0..config.num_hidden_layers).map(|i| Ok(Arc::new(EncoderLayer::load(&layer_weights.pp(i), config)?)));
        Ok(Encoder {
            pos_conv_embed: Arc::new(PositionalConvEmbedding::load(&weights.pp("pos_conv_embed"), config)?),
            layer_norm: Arc::new(weights.layer_norm("layer_norm", config.hidden_size, config.layer_norm_eps)?),
            layers: layers.collect::<Result<_>>()?,
            position_bias: PositionBias::load(&layer_weights, config)?.map(Arc::new),
            pre_norm: config.do_stable_layer_norm,
        })
    }

    /// The same encoder with the weights of layer `layer`, where 1 is the first, from `weights`, which holds it under its
    /// usual name. All other weights are shared.
    pub(crate) fn with_layer(&self, layer: usize, weights: &WeightLoader<'_>, config: &Config) -> Result<Self> {
        let mut encoder = self.clone();
        encoder.layers[layer - 1] = Arc::new(EncoderLayer::load(&weights.pp("layers").pp(layer - 1), config)?);
        Ok(encoder)
    }

    /// The same encoder with the position embedding from `weights`.
    pub(crate) fn with_position_embedding(&self, weights: &WeightLoader<'_>, config: &Config) -> Result<Self> {
        let pos_conv_embed = Arc::new(PositionalConvEmbedding::load(&weights.pp("pos_conv_embed"), config)?);
        Ok(Encoder { pos_conv_embed, ..self.clone() })
    }

    /// Turns the projected features into hidden state 0: adds the position embedding and, in a post-LN model,
    /// normalises.
    pub(crate) fn first_hidden_state(&self, context: &mut Context<'_>, hidden_state: &mut HiddenState) {
        let (x, packed) = hidden_state.parts();
        self.pos_conv_embed.add_to(context, x);
        if !self.pre_norm {
            match self.layer_input(0) {
                Some(next) => self.layer_norm.forward_packed(&context.executor, x, packed, next),
                None => self.layer_norm.forward(context.executor.arithmetic.isa, x),
            }
        }
    }

    /// Replaces the hidden state by `values` `(clips · frames, width)`, which may be any hidden state.
    /// `layer` is the first layer that takes them, where 1 is the first.
    pub(crate) fn resume(&self, context: &Context<'_>, hidden_state: &mut HiddenState, values: &[f32], layer: usize) {
        hidden_state.resize(values.len());
        let (x, packed) = hidden_state.parts();
        x.copy_from_slice(values);
        if let Some(next) = self.layer_input(layer - 1) {
            let (arithmetic, width) = (context.executor.arithmetic, next.inputs());
            next.resize_input(arithmetic, packed, values.len() / width);
            packed.fill_from(x, |x, tile| pack_tile(arithmetic.isa, tile, x, width));
        }
    }

    /// Computes what the layers of a pass share; it precedes the first [`Encoder::layer`].
    pub(crate) fn prepare(&self, context: &mut Context<'_>) {
        if let Some(bias) = &self.position_bias {
            bias.fill(context);
        }
    }

    /// Turns the output of layer `layer` − 1 into that of `layer`, where 1 is the first layer.
    ///
    /// The last hidden state of a pre-LN model is [`Encoder::finish`] of this.
    pub(crate) fn layer(&self, context: &mut Context<'_>, layer: usize, hidden_state: &mut HiddenState) {
        let _span = tracing::trace_span!("encoder_layer", layer).entered();
        let next = self.layer_input(layer);
        self.layers[layer - 1].forward(context, hidden_state, next);
    }

    /// Turns the output of layer `layer` into hidden state `layer`: a pre-LN model normalises the last one.
    pub(crate) fn finish(&self, context: &Context<'_>, layer: usize, hidden_state: &mut HiddenState) {
        if self.pre_norm && layer == self.layers.len() {
            self.layer_norm.forward(context.executor.arithmetic.isa, hidden_state.parts().0);
        }
    }

    /// The map that takes the input of the layer at `index`, if there is one.
    fn layer_input(&self, index: usize) -> Option<&Linear> {
        self.layers.get(index).map(|layer| layer.attention.input())
    }
}

/// One layer: transformers' `HubertEncoderLayer` and `HubertEncoderLayerStableLayerNorm`, and MERT's DeepNorm.
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
    fn load(weights: &WeightLoader<'_>, config: &Config) -> Result<Self> {
        let norm = |name| weights.layer_norm(name, config.hidden_size, config.layer_norm_eps);
        Ok(EncoderLayer {
            attention: Attention::load(&weights.pp("attention"), config)?,
            layer_norm: norm("layer_norm")?,
            feed_forward: FeedForward::load(&weights.pp("feed_forward"), config)?,
            final_layer_norm: norm("final_layer_norm")?,
            pre_norm: config.do_stable_layer_norm,
            residual_scale: config.residual_scale() as f32,
        })
    }

    /// Transforms the hidden state in place. A post-LN layer reads its packed input from `hidden_state` and leaves the
    /// next layer's there, as the input of `next`; a pre-LN layer packs its own.
    fn forward(&self, context: &mut Context<'_>, hidden_state: &mut HiddenState, next: Option<&Linear>) {
        let isa = context.executor.arithmetic.isa;
        let (attention, feed_forward) = (self.attention.input(), self.feed_forward.input());
        let (x, packed) = hidden_state.parts();
        if self.pre_norm {
            self.layer_norm.to_packed(&context.executor, x, packed, attention);
            self.attention.add_to(context, packed, x);
            self.final_layer_norm.to_packed(&context.executor, x, packed, feed_forward);
            self.feed_forward.add_to(context, packed, x);
        } else {
            self.scale_residual(x);
            self.attention.add_to(context, packed, x);
            self.layer_norm.forward_packed(&context.executor, x, packed, feed_forward);
            self.scale_residual(x);
            self.feed_forward.add_to(context, packed, x);
            match next {
                Some(next) => self.final_layer_norm.forward_packed(&context.executor, x, packed, next),
                None => self.final_layer_norm.forward(isa, x),
            }
        }
    }

    fn scale_residual(&self, x: &mut [f32]) {
        if self.residual_scale != 1.0 {
            x.iter_mut().for_each(|x| *x *= self.residual_scale);
        }
    }
}
