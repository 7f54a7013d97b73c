//! The forward pass on the processor in f32: packed weights, fused steps, no tensor between them.
//!
//! It computes what [`crate::candle`] computes, in the same modules, with `ndarray`-like slices
//! `(clips · frames, channels)` in the place of tensors. Everything is a product with packed weights
//! ([`gemm`], around one [`microkernel`]) or a pass over frames while they are in the cache; code is
//! compiled for each instruction set and chosen at run time ([`isa`]). Work is shared out with rayon, on
//! the pool that the caller runs in. A result does not depend on the number of threads.

mod attention;
mod buffer;
mod conv1d;
mod encoder;
mod feature_extractor;
mod feature_projection;
mod gemm;
mod isa;
mod layer_norm;
mod linear;
mod math;
mod microkernel;
mod packed;
mod patch_norm;
mod positional_conv;
mod scratch;
mod weights;

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::VarBuilder;
use mert_spec::Config;
use rayon::prelude::*;

use buffer::Buffer;
use encoder::{Encoder, State};
use feature_extractor::FeatureExtractor;
use feature_projection::FeatureProjection;
use isa::Isa;
use weights::Weights;

/// The model's weights, packed for this processor.
#[derive(Debug)]
pub(crate) struct CpuModel {
    isa: Isa,
    feature_extractor: FeatureExtractor,
    feature_projection: FeatureProjection,
    encoder: Encoder,
    config: Config,
}

impl CpuModel {
    /// Loads weights, which are kept as `stored`; the arithmetic is in f32 whatever that is.
    pub(crate) fn load(vb: VarBuilder<'_>, stored: DType, config: &Config) -> Result<Self> {
        Self::load_for(Isa::detect(), vb, stored, config)
    }

    fn load_for(isa: Isa, vb: VarBuilder<'_>, stored: DType, config: &Config) -> Result<Self> {
        let weights = Weights::new(vb, stored);
        Ok(CpuModel {
            isa,
            feature_extractor: FeatureExtractor::load(isa, &weights.pp("feature_extractor"), config)?,
            feature_projection: FeatureProjection::load(isa, &weights.pp("feature_projection"), config)?,
            encoder: Encoder::load(isa, &weights.pp("encoder"), config)?,
            config: config.clone(),
        })
    }

    /// The hidden states up to `last` of `input` `(clips, samples)`: `keep` is shown each in turn.
    pub(crate) fn forward(
        &self,
        input: &Tensor,
        last: usize,
        mut keep: impl FnMut(usize, &dyn Fn() -> Result<Tensor>) -> Result<()>,
    ) -> Result<()> {
        let (clips, samples) = input.dims2()?;
        let frames = self.config.frames(samples).unwrap_or(0);
        let width = self.config.hidden_size;
        let mut state = {
            let _span = tracing::trace_span!("features").entered();
            let input = input.flatten_all()?.to_vec1::<f32>()?;
            let mut features = Buffer::zeroed(clips * frames * self.config.feature_size());
            self.feature_extractor.forward(self.isa, &input, samples, &mut features)?;
            let mut x = Buffer::zeroed(clips * frames * width);
            self.feature_projection.forward(self.isa, &mut features, &mut x);
            State::new(self.isa, x, frames, width)
        };
        self.encoder.first_hidden_state(self.isa, &mut state);
        for index in 0..=last {
            if index > 0 {
                self.encoder.layer(self.isa, index, &mut state);
                self.encoder.finish(self.isa, index, &mut state);
            }
            keep(index, &|| Tensor::from_vec(copy(&state.x), (clips, frames, width), &Device::Cpu))?;
        }
        Ok(())
    }

    /// Hidden state `index` from `previous`, hidden state `index` − 1 `(clips, frames, width)`.
    pub(crate) fn layer(&self, index: usize, previous: &Tensor) -> Result<Tensor> {
        let (clips, frames, _) = previous.dims3()?;
        let width = self.config.hidden_size;
        let expected = Shape::from((clips, frames, width));
        if previous.shape() != &expected || previous.elem_count() == 0 {
            let (msg, got) = ("the previous hidden state".to_string(), previous.shape().clone());
            return Err(candle_core::Error::UnexpectedShape { msg, expected, got }.bt());
        }
        let x = Buffer::from(&previous.flatten_all()?.to_vec1::<f32>()?[..]);
        let mut state = State::new(self.isa, x, frames, width);
        self.encoder.layer(self.isa, index, &mut state);
        self.encoder.finish(self.isa, index, &mut state);
        Tensor::from_vec(copy(&state.x), previous.dims(), &Device::Cpu)
    }
}

/// A copy made on all threads: most of its cost is that its pages are new.
fn copy(x: &[f32]) -> Vec<f32> {
    x.par_iter().with_min_len(1 << 16).copied().collect()
}
