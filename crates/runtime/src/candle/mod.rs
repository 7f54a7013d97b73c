//! The candle engine: the forward pass in candle's own operations, on any device and in any dtype.
//!
//! Its modules bear the names of the checkpoint's own, as in transformers'
//! [`modeling_hubert.py`](https://github.com/huggingface/transformers/blob/main/src/transformers/models/hubert/modeling_hubert.py);
//! [`ops`] holds what they compute with. Activations are channels-last, `(batch, frames, channels)`, between all
//! modules.

mod attention;
mod encoder;
mod feature_extractor;
mod feature_projection;
mod feed_forward;
mod ops;
mod position_bias;
mod positional_conv;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use mert_arch::Config;

use encoder::Encoder;
use feature_extractor::FeatureExtractor;
use feature_projection::FeatureProjection;

/// The model as candle modules.
#[derive(Debug, Clone)]
pub(crate) struct CandleModel {
    feature_extractor: FeatureExtractor,
    feature_projection: FeatureProjection,
    encoder: Encoder,
}

impl CandleModel {
    /// Loads the weights that `vb` holds, in its dtype on its device.
    pub(crate) fn load(vb: VarBuilder, config: &Config) -> Result<Self> {
        Ok(CandleModel {
            feature_extractor: FeatureExtractor::load(vb.pp("feature_extractor"), config)?,
            feature_projection: FeatureProjection::load(vb.pp("feature_projection"), config)?,
            encoder: Encoder::load(vb.pp("encoder"), config)?,
        })
    }

    /// The same model with the weights of layer `layer`, where 1 is the first, from `vb`. All other weights are shared.
    pub(crate) fn with_layer(&self, layer: usize, vb: VarBuilder, config: &Config) -> Result<Self> {
        Ok(CandleModel { encoder: self.encoder.with_layer(layer, vb.pp("encoder"), config)?, ..self.clone() })
    }

    /// Computes the hidden states `indices` of `input` `(batch, samples)`. `on_state` gets each once, in ascending
    /// order.
    pub(crate) fn forward<E: From<candle_core::Error>>(
        &self,
        input: &Tensor,
        indices: &[usize],
        mut on_state: impl FnMut(usize, Tensor) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let mut x = self.first_hidden_state(input)?;
        let relative = self.encoder.relative_bias(x.dim(1)?)?;
        for index in indices.iter().max().map_or(0..0, |&last| 0..last + 1) {
            if index > 0 {
                x = self.encoder.layer(index, &x, relative.as_ref())?;
            }
            if indices.contains(&index) {
                on_state(index, self.encoder.finish(index, &x)?)?;
            }
        }
        Ok(())
    }

    /// Computes hidden state `index` from `previous`, hidden state `index` − 1.
    pub(crate) fn layer(&self, index: usize, previous: &Tensor) -> Result<Tensor> {
        let relative = self.encoder.relative_bias(previous.dim(1)?)?;
        self.encoder.finish(index, &self.encoder.layer(index, previous, relative.as_ref())?)
    }

    fn first_hidden_state(&self, input: &Tensor) -> Result<Tensor> {
        let _span = tracing::trace_span!("features").entered();
        let features = self.feature_extractor.forward(input)?;
        let features = self.feature_projection.forward(&features)?;
        self.encoder.first_hidden_state(&features)
    }
}
