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
mod lists;
mod math;
mod microkernel;
mod packed;
mod patch_norm;
mod positional_conv;
mod scratch;
mod weights;

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::VarBuilder;
use mert_arch::{Config, FeatureExtractorNorm};
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

/// What passes work in. It grows to the largest and stays; nothing in it passes from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    feature_extractor: feature_extractor::Memory,
    features: Buffer,
    state: State,
    evened_out: scratch::Sizes,
}

impl Workspace {
    /// Sees to it that passes like those so far need no more memory, on whichever thread their parts run.
    pub(crate) fn settle(&mut self) {
        self.state.settle();
        scratch::even_out(&mut self.evened_out);
    }
}

impl CpuModel {
    /// Whether `config` is for this engine. A norm over time takes the covariance of all samples of a patch,
    /// which is out of proportion for a kernel many times longer than the family's.
    pub(crate) fn runs(config: &Config) -> bool {
        const LONGEST_KERNEL: usize = 256;
        config.feat_extract_norm == FeatureExtractorNorm::Layer
            || config.conv_kernel.first().is_some_and(|&kernel| kernel <= LONGEST_KERNEL)
    }

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

    /// Shows those hidden states `(clips · frames, width)` of `input` `(clips, samples)` that are `wanted`, each
    /// once, in ascending order and on this thread.
    ///
    /// What lies between two of them runs on the pool as a whole: each step on its own, called from outside, would
    /// be a task to hand over and to wait for.
    pub(crate) fn forward<E>(
        &self,
        workspace: &mut Workspace,
        input: &[f32],
        samples: usize,
        wanted: &[usize],
        mut show: impl FnMut(usize, &[f32]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let span = tracing::Span::current();
        let mut next = 0;
        for index in wanted.iter().max().map_or(0..0, |&last| 0..last + 1).filter(|index| wanted.contains(index)) {
            rayon::scope(|_| {
                let _span = span.enter();
                if next == 0 {
                    self.first_hidden_state(workspace, input, samples);
                    next = 1;
                }
                for layer in next..=index {
                    self.encoder.layer(self.isa, layer, &mut workspace.state);
                    self.encoder.finish(self.isa, layer, &mut workspace.state);
                }
                next = index + 1;
            });
            show(index, workspace.state.x())?;
        }
        Ok(())
    }

    fn first_hidden_state(&self, workspace: &mut Workspace, input: &[f32], samples: usize) {
        let frames = self.config.frames(samples).unwrap_or(0);
        let rows = input.len() / samples * frames;
        let Workspace { feature_extractor, features, state, .. } = workspace;
        state.resize(rows * self.config.hidden_size, frames);
        {
            let _span = tracing::trace_span!("features").entered();
            let features = features.take(rows * self.config.feature_size());
            let (x, packed, lists) = state.parts();
            self.feature_extractor.forward(self.isa, input, samples, feature_extractor, features, lists);
            self.feature_projection.forward(self.isa, features, packed, x, lists);
        }
        self.encoder.first_hidden_state(self.isa, state);
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
        let mut state = State::default();
        state.resume(self.isa, &previous.flatten_all()?.to_vec1::<f32>()?, frames, width);
        self.encoder.layer(self.isa, index, &mut state);
        self.encoder.finish(self.isa, index, &mut state);
        tensor(state.x(), previous.dims())
    }
}

/// A copy made on all threads: most of its cost is that its pages are new.
pub(crate) fn tensor(x: &[f32], shape: impl Into<Shape>) -> Result<Tensor> {
    let copy = x.par_iter().with_min_len(1 << 16).copied().collect();
    Tensor::from_vec(copy, shape.into(), &Device::Cpu)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use mert_arch::{Activation, inventory};

    use super::*;
    use crate::candle::CandleModel;

    /// Weights that make each part matter: norms near 1, matrices that keep the scale of what they map.
    fn tensors(config: &Config) -> HashMap<String, Tensor> {
        let tensor = |(seed, spec): (usize, mert_arch::TensorSpec)| {
            let count: usize = spec.shape.iter().product();
            let is_norm = spec.name.ends_with("norm.weight");
            let size = 1.5 / (spec.shape[1..].iter().product::<usize>() as f32).sqrt();
            let value = |i: usize| {
                let x = ((i * 7919 + seed * 104_729) % 10_007) as f32 / 5003.5 - 1.0;
                if is_norm { 1.0 + 0.3 * x } else { size.min(0.5) * x }
            };
            let values: Vec<f32> = (0..count).map(value).collect();
            (spec.name, Tensor::from_vec(values, spec.shape.as_slice(), &Device::Cpu).unwrap())
        };
        inventory(config).into_iter().enumerate().map(tensor).collect()
    }

    /// Widths that are no multiples of a line, a tile or a panel, and every variant of the family.
    fn configs() -> Vec<Config> {
        let narrow = Config {
            hidden_size: 40,
            intermediate_size: 72,
            num_attention_heads: 5,
            num_hidden_layers: 3,
            conv_dim: vec![16, 24, 16, 48, 32, 20, 36],
            num_conv_pos_embeddings: 15,
            num_conv_pos_embedding_groups: 4,
            ..Config::mert_v1_95m()
        };
        let pre_norm = Config {
            feat_extract_norm: FeatureExtractorNorm::Layer,
            conv_bias: true,
            do_stable_layer_norm: true,
            hidden_act: Activation::GeluTanh,
            ..narrow.clone()
        };
        let wide = Config { hidden_size: 96, intermediate_size: 192, num_conv_pos_embeddings: 16, ..narrow.clone() };
        let wide = Config { num_attention_heads: 3, deepnorm: true, hidden_act: Activation::Relu, ..wide };
        let one_of_each = Config {
            conv_dim: vec![16],
            conv_kernel: vec![4],
            conv_stride: vec![400],
            num_attention_heads: 1,
            num_conv_pos_embeddings: 1,
            ..narrow.clone()
        };
        // A positional kernel longer than the clip, odd strides.
        let long = Config {
            conv_dim: vec![16, 32, 16],
            conv_kernel: vec![10, 3, 3],
            conv_stride: vec![7, 9, 1],
            num_conv_pos_embeddings: 901,
            ..narrow.clone()
        };
        vec![narrow.clone(), pre_norm, wide, one_of_each, long, Config { feat_proj_layer_norm: false, ..narrow }]
    }

    #[test]
    fn agrees_with_the_other_engine_on_every_instruction_set() {
        // One for all of them: what an earlier pass left must not matter.
        let mut workspace = Workspace::default();
        for config in configs() {
            for samples in [config.receptive_field(), 20_011] {
                check(&config, samples, &mut workspace);
            }
        }
    }

    fn check(config: &Config, samples: usize, workspace: &mut Workspace) {
        let vb = || VarBuilder::from_tensors(tensors(config), DType::F32, &Device::Cpu);
        let candle = CandleModel::load(vb(), config).unwrap();
        let clips = 2;
        let clip: Vec<f32> = (0..clips * samples).map(|i| ((i * 7919) % 2003) as f32 / 1001.5 - 0.9).collect();
        let input = Tensor::from_slice(&clip, (clips, samples), &Device::Cpu).unwrap();
        let values = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let mut expected = Vec::new();
        let keep = |_, state: &dyn Fn() -> Result<Tensor>| {
            expected.push(values(state()?));
            Ok(())
        };
        candle.forward(&input, config.num_hidden_layers, keep).unwrap();
        for isa in Isa::available() {
            let model = CpuModel::load_for(isa, vb(), DType::F32, config).unwrap();
            let mut found = Vec::new();
            let show = |_, state: &[f32]| -> Result<()> {
                found.push(state.to_vec());
                Ok(())
            };
            let all: Vec<usize> = (0..=config.num_hidden_layers).collect();
            model.forward(workspace, &clip, samples, &all, show).unwrap();
            assert_eq!(found.len(), expected.len());
            for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let error: f64 = found.iter().zip(expected).map(|(a, b)| f64::from(a - b).powi(2)).sum();
                let size: f64 = expected.iter().map(|b| f64::from(*b).powi(2)).sum();
                // A few units in the last place of f32 in each, as between PyTorch and either.
                assert!(error <= 1e-10 * size, "{isa:?}, hidden state {index}: NMSE {:e}", error / size);
            }
        }
    }
}
