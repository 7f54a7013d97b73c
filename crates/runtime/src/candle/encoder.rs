//! The transformer encoder and its layers.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use mert_arch::Config;

use super::attention::Attention;
use super::feed_forward::FeedForward;
use super::ops::LayerNorm;
use super::position_bias::{PositionBias, RelativeBias};
use super::positional_conv::PositionalConvEmbedding;

/// The position embedding, the layers, and one LayerNorm before (post-LN) or after (pre-LN) all of them: transformers'
/// `HubertEncoder` and `HubertEncoderStableLayerNorm`, and the same classes of other models.
#[derive(Debug, Clone)]
pub(crate) struct Encoder {
    pos_conv_embed: PositionalConvEmbedding,
    layer_norm: LayerNorm,
    layers: Vec<EncoderLayer>,
    position_bias: Option<PositionBias>,
    pre_norm: bool,
}

impl Encoder {
    pub(crate) fn load(vb: VarBuilder, config: &Config) -> Result<Self> {
        let layers_vb = vb.pp("layers");
        let layers = (0..config.num_hidden_layers).map(|i| EncoderLayer::load(layers_vb.pp(i), config));
        Ok(Encoder {
            pos_conv_embed: PositionalConvEmbedding::load(vb.pp("pos_conv_embed"), config)?,
            layer_norm: load_norm(&vb, "layer_norm", config)?,
            layers: layers.collect::<Result<_>>()?,
            position_bias: PositionBias::load(&layers_vb, config)?,
            pre_norm: config.do_stable_layer_norm,
        })
    }

    /// The same encoder with the weights of layer `layer`, where 1 is the first, from `vb`.
    pub(crate) fn with_layer(&self, layer: usize, vb: VarBuilder, config: &Config) -> Result<Self> {
        let mut encoder = self.clone();
        encoder.layers[layer - 1] = EncoderLayer::load(vb.pp("layers").pp(layer - 1), config)?;
        Ok(encoder)
    }

    /// Computes hidden state 0 from the projected features: adds the position embedding and, in a post-LN model,
    /// normalises.
    pub(crate) fn first_hidden_state(&self, features: &Tensor) -> Result<Tensor> {
        let x = (features + self.pos_conv_embed.forward(features)?)?;
        if self.pre_norm { Ok(x) } else { self.layer_norm.forward(&x) }
    }

    /// Computes the position bias that all layers share for clips of `frames` frames, if the model has one.
    pub(crate) fn relative_bias(&self, frames: usize) -> Result<Option<RelativeBias>> {
        self.position_bias.as_ref().map(|bias| bias.relative(frames)).transpose()
    }

    /// Computes the output of layer `layer`, where 1 is the first, from the output of the layer below and
    /// [`Encoder::relative_bias`].
    ///
    /// The last hidden state of a pre-LN model is [`Encoder::finish`] of this.
    pub(crate) fn layer(&self, layer: usize, x: &Tensor, relative: Option<&RelativeBias>) -> Result<Tensor> {
        let _span = tracing::trace_span!("encoder_layer", layer).entered();
        self.layers[layer - 1].forward(x, relative)
    }

    /// Turns the output of layer `layer` into hidden state `layer`: a pre-LN model normalises the last one.
    pub(crate) fn finish(&self, layer: usize, x: &Tensor) -> Result<Tensor> {
        if self.pre_norm && layer == self.layers.len() { self.layer_norm.forward(x) } else { Ok(x.clone()) }
    }
}

/// One layer: transformers' `HubertEncoderLayer` and `HubertEncoderLayerStableLayerNorm`, and MERT's DeepNorm.
#[derive(Debug, Clone)]
struct EncoderLayer {
    attention: Attention,
    layer_norm: LayerNorm,
    feed_forward: FeedForward,
    final_layer_norm: LayerNorm,
    pre_norm: bool,
    residual_scale: f64,
}

impl EncoderLayer {
    fn load(vb: VarBuilder, config: &Config) -> Result<Self> {
        Ok(EncoderLayer {
            attention: Attention::load(vb.pp("attention"), config)?,
            layer_norm: load_norm(&vb, "layer_norm", config)?,
            feed_forward: FeedForward::load(vb.pp("feed_forward"), config)?,
            final_layer_norm: load_norm(&vb, "final_layer_norm", config)?,
            pre_norm: config.do_stable_layer_norm,
            residual_scale: config.residual_scale(),
        })
    }

    fn forward(&self, x: &Tensor, relative: Option<&RelativeBias>) -> Result<Tensor> {
        if self.pre_norm {
            let x = (x + self.attention.forward(&self.layer_norm.forward(x)?, relative)?)?;
            return &x + self.feed_forward.forward(&self.final_layer_norm.forward(&x)?)?;
        }
        let x = self.layer_norm.forward(&(self.residual(x)? + self.attention.forward(x, relative)?)?)?;
        self.final_layer_norm.forward(&(self.residual(&x)? + self.feed_forward.forward(&x)?)?)
    }

    fn residual(&self, x: &Tensor) -> Result<Tensor> {
        if self.residual_scale == 1.0 { Ok(x.clone()) } else { x * self.residual_scale }
    }
}

fn load_norm(vb: &VarBuilder, name: &str, config: &Config) -> Result<LayerNorm> {
    let vb = vb.pp(name);
    LayerNorm::new(vb.get(config.hidden_size, "weight")?, vb.get(config.hidden_size, "bias")?, config.layer_norm_eps)
}
