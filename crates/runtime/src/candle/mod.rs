//! The forward pass in candle's own operations: any device, any arithmetic.
//!
//! `ops` holds the kernels. Activations are channels-last, `(batch, frames, channels)`, between all
//! modules.

mod attention;
mod encoder;
mod feature_extractor;
mod feature_projection;
mod feed_forward;
mod ops;
mod positional_conv;

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use mert_arch::Config;

use encoder::Encoder;
use feature_extractor::FeatureExtractor;
use feature_projection::FeatureProjection;

/// The model as candle modules.
#[derive(Debug)]
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

    /// The hidden states up to `last` of `input` `(batch, samples)`: `keep` is shown each in turn.
    pub(crate) fn forward(
        &self,
        input: &Tensor,
        last: usize,
        mut keep: impl FnMut(usize, &dyn Fn() -> Result<Tensor>) -> Result<()>,
    ) -> Result<()> {
        let mut x = self.first_hidden_state(input)?;
        for index in 0..=last {
            if index > 0 {
                x = self.encoder.layer(index, &x)?;
            }
            keep(index, &|| self.encoder.finish(index, &x))?;
        }
        Ok(())
    }

    /// Hidden state `index` from `previous`, hidden state `index` − 1.
    pub(crate) fn layer(&self, index: usize, previous: &Tensor) -> Result<Tensor> {
        self.encoder.finish(index, &self.encoder.layer(index, previous)?)
    }

    fn first_hidden_state(&self, input: &Tensor) -> Result<Tensor> {
        let _span = tracing::trace_span!("features").entered();
        let features = self.feature_extractor.forward(input)?;
        let features = self.feature_projection.forward(&features)?;
        self.encoder.first_hidden_state(&features)
    }
}
