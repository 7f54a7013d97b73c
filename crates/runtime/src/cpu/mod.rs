//! The CPU engine: the forward pass in f32, bf16 or int8, with packed weights, fused steps and no tensor between them. Only the
//! factors of products are bf16 numbers or integers ([`arithmetic`]); all else is f32.
//!
//! It computes what [`crate::candle`] computes, in modules of the same names, with slices `(clips · frames, channels)`
//! instead of tensors. [`modules`] bear the names of the checkpoint's own and split each step among the threads,
//! [`kernels`] compute on one thread, [`memory`] holds the data of both. Threads are those of the rayon pool that the
//! caller runs in. A result does not depend on their number.

mod arithmetic;
mod kernels;
mod memory;
mod modules;

use std::sync::Arc;

use candle_core::{Device, Result};
use candle_nn::VarBuilder;
use mert_arch::{Config, Dtype, FeatureExtractorNorm};
use mert_simd::{Factors, Isa};

use arithmetic::Arithmetic;
pub(crate) use arithmetic::{ModuleFactors, fast_compute_types, instruction_set, uses_tile_registers};
pub(crate) use memory::Workspace;
use memory::{HiddenState, Intermediates, TaskArena};
pub(crate) use modules::FinalProj;
use modules::{Context, Encoder, Executor, FeatureExtractor, FeatureProjection, WeightLoader};

use crate::ConvertedFile;

/// Loads the head `final_proj` of `file`, with `size` outputs.
pub(crate) fn load_final_proj(file: &ConvertedFile, size: usize) -> Result<FinalProj> {
    let vb = file.var_builder(Dtype::F32, &Device::Cpu);
    let arithmetic = Arithmetic::new(Isa::detect(), Factors::F32);
    FinalProj::load(&WeightLoader::new(arithmetic, vb, Some(file)), file.metadata().config.hidden_size, size)
}

/// The model's weights, packed for this processor.
#[derive(Debug)]
pub(crate) struct CpuModel {
    arithmetic: Arithmetic,
    feature_extractor: Arc<FeatureExtractor>,
    feature_projection: Arc<FeatureProjection>,
    encoder: Encoder,
    config: Config,
}

impl CpuModel {
    /// Whether this engine supports `config`. A norm over time takes the covariance of all samples of a patch, which is
    /// out of proportion for a kernel many times longer than those of published models.
    pub(crate) fn supports(config: &Config) -> bool {
        const MAX_KERNEL: usize = 256;
        config.feat_extract_norm == FeatureExtractorNorm::Layer
            || config.conv_kernel.first().is_some_and(|&kernel| kernel <= MAX_KERNEL)
    }

    /// Loads the weights of `vb`. Those of `file`, if `vb` is its, keep their encoding. Products multiply `factors`, but those of
    /// `modules`.
    pub(crate) fn load(
        vb: VarBuilder<'_>,
        file: Option<&ConvertedFile>,
        config: &Config,
        (factors, modules): (Factors, &ModuleFactors),
    ) -> Result<Self> {
        let weights = WeightLoader::new(Arithmetic::new(Isa::detect(), factors), vb, file);
        Self::load_from(&weights.with_modules(modules), config)
    }

    fn load_from(weights: &WeightLoader<'_>, config: &Config) -> Result<Self> {
        let arithmetic = weights.arithmetic();
        Ok(CpuModel {
            arithmetic,
            feature_extractor: Arc::new(FeatureExtractor::load(&weights.pp("feature_extractor"), config)?),
            feature_projection: Arc::new(FeatureProjection::load(&weights.pp("feature_projection"), config)?),
            encoder: Encoder::load(&weights.pp("encoder"), config)?,
            config: config.clone(),
        })
    }

    /// The same model with the weights of layer `layer`, where 1 is the first, from `vb`. All other weights are shared.
    pub(crate) fn with_layer(&self, layer: usize, vb: VarBuilder<'_>) -> Result<Self> {
        self.with_layer_of(layer, &WeightLoader::new(self.arithmetic, vb, None))
    }

    /// The same model with one part as `file` has it, for products of 8-bit integers, but those of `modules`: layer `layer`,
    /// where 1 is the first, or with 0 all that comes before the layers. All other weights are shared.
    pub(crate) fn with_int8_part(&self, layer: usize, file: &ConvertedFile, modules: &ModuleFactors) -> Result<Self> {
        let vb = file.var_builder(Dtype::F32, &Device::Cpu);
        let weights = WeightLoader::new(self.arithmetic.with(Factors::Int8), vb, Some(file)).with_modules(modules);
        if layer > 0 {
            return self.with_layer_of(layer, &weights);
        }
        let config = &self.config;
        Ok(CpuModel {
            // Those of its products; attention multiplies what it does in this model.
            arithmetic: weights.arithmetic().with(self.arithmetic.factors),
            feature_extractor: Arc::new(FeatureExtractor::load(&weights.pp("feature_extractor"), config)?),
            feature_projection: Arc::new(FeatureProjection::load(&weights.pp("feature_projection"), config)?),
            encoder: self.encoder.with_position_embedding(&weights.pp("encoder"), config)?,
            config: config.clone(),
        })
    }

    fn with_layer_of(&self, layer: usize, weights: &WeightLoader<'_>) -> Result<Self> {
        Ok(CpuModel {
            arithmetic: weights.arithmetic().with(self.arithmetic.factors),
            feature_extractor: Arc::clone(&self.feature_extractor),
            feature_projection: Arc::clone(&self.feature_projection),
            encoder: self.encoder.with_layer(layer, &weights.pp("encoder"), &self.config)?,
            config: self.config.clone(),
        })
    }

    /// Computes the hidden states `indices` of the clips in `input` `(clips, samples)`. `on_state` gets each once, in
    /// ascending order, as `(clips · frames, hidden_size)`, on this thread.
    ///
    /// All steps from one of these hidden states to the next run on the pool as a whole: each step on its own, called
    /// from outside, would be a task to hand over and to wait for.
    pub(crate) fn forward<E>(
        &self,
        workspace: &mut Workspace,
        input: &[f32],
        samples: usize,
        indices: &[usize],
        mut on_state: impl FnMut(usize, &[f32]) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let span = tracing::Span::current();
        let frames = self.config.frames(samples).unwrap_or(0);
        let Workspace { features, hidden_state, intermediates, task_arena, .. } = workspace;
        let mut context = self.context(intermediates, task_arena, frames);
        let rows = input.len() / samples * frames;
        let mut next = 0;
        for index in indices.iter().max().map_or(0..0, |&last| 0..last + 1).filter(|index| indices.contains(index)) {
            rayon::scope(|_| {
                let _span = span.enter();
                if next == 0 {
                    let features = features.take(rows * self.config.feature_size());
                    hidden_state.resize(rows * self.config.hidden_size);
                    self.first_hidden_state(&mut context, input, samples, features, hidden_state);
                    self.encoder.prepare(&mut context);
                    next = 1;
                }
                for layer in next..=index {
                    self.encoder.layer(&mut context, layer, hidden_state);
                    self.encoder.finish(&context, layer, hidden_state);
                }
                next = index + 1;
            });
            on_state(index, hidden_state.rows())?;
        }
        Ok(())
    }

    /// Computes hidden state `index` from `previous`, hidden state `index` − 1 `(clips · frames, hidden_size)`.
    pub(crate) fn layer(&self, index: usize, previous: &[f32], frames: usize) -> Vec<f32> {
        let mut state = Vec::new();
        self.layers(&mut Workspace::default(), index..index + 1, previous, frames, |_, rows| state = rows.to_vec());
        state
    }

    /// Computes the hidden states `indices`, which follow on from `previous` `(clips · frames, hidden_size)`, the hidden
    /// state before the first of them. `on_state` gets each in ascending order.
    pub(crate) fn layers(
        &self,
        workspace: &mut Workspace,
        indices: std::ops::Range<usize>,
        previous: &[f32],
        frames: usize,
        mut on_state: impl FnMut(usize, &[f32]),
    ) {
        let Workspace { hidden_state, intermediates, task_arena, .. } = workspace;
        let mut context = self.context(intermediates, task_arena, frames);
        self.encoder.resume(&context, hidden_state, previous, indices.start);
        self.encoder.prepare(&mut context);
        for index in indices {
            self.encoder.layer(&mut context, index, hidden_state);
            self.encoder.finish(&context, index, hidden_state);
            on_state(index, hidden_state.rows());
        }
    }

    fn first_hidden_state(
        &self,
        context: &mut Context<'_>,
        input: &[f32],
        samples: usize,
        features: &mut [f32],
        hidden_state: &mut HiddenState,
    ) {
        {
            let _span = tracing::trace_span!("features").entered();
            self.feature_extractor.forward(context, input, samples, features);
            self.feature_projection.forward(context, features, hidden_state);
        }
        self.encoder.first_hidden_state(context, hidden_state);
    }

    fn context<'a>(
        &self,
        intermediates: &'a mut Intermediates,
        task_arena: &'a mut TaskArena,
        frames: usize,
    ) -> Context<'a> {
        Context { executor: Executor { arithmetic: self.arithmetic, task_arena }, intermediates, frames }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::{DType, Tensor};
    use mert_arch::Dtype as MertDtype;
    use mert_arch::{
        Activation, Data2VecAudioConfig, HubertConfig, Int8Exceptions, ModelConfig, WavLmConfig, int8_modules,
        inventory,
    };

    use super::*;
    use crate::candle::CandleModel;

    /// Weights with which each part affects the result: norms near 1, matrices that keep the scale of their input.
    fn tensors(config: &Config) -> HashMap<String, Tensor> {
        let tensor = |(seed, spec): (usize, mert_arch::TensorSpec)| {
            let count: usize = spec.shape.iter().product();
            // Gains, and variances, which are positive.
            let is_norm = spec.name.ends_with("norm.weight") || spec.name.ends_with("running_var");
            let is_bias_table = spec.name.ends_with("rel_attn_embed.weight");
            let size = 1.5 / (spec.shape[1..].iter().product::<usize>() as f32).sqrt();
            let value = |i: usize| {
                let x = ((i * 7919 + seed * 104_729) % 10_007) as f32 / 5003.5 - 1.0;
                match (is_norm, is_bias_table) {
                    (true, _) => 1.0 + 0.3 * x,
                    (_, true) => 3.0 * x,
                    _ => size.min(0.5) * x,
                }
            };
            let values: Vec<f32> = (0..count).map(value).collect();
            (spec.name, Tensor::from_vec(values, spec.shape.as_slice(), &Device::Cpu).unwrap())
        };
        inventory(config).into_iter().enumerate().map(tensor).collect()
    }

    /// Configurations with widths that are not multiples of a line, a tile or a panel, and every mechanism of the families.
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
        let group_pre_norm = Config { do_stable_layer_norm: true, ..narrow.clone() };
        let no_norm = Config { feat_proj_layer_norm: false, ..narrow.clone() };
        // The head widths of XLS-R, and those of a group of its positional convolution.
        let head_80 = Config { hidden_size: 160, num_attention_heads: 2, ..pre_norm.clone() };
        let head_120 = Config { hidden_size: 240, num_attention_heads: 2, ..pre_norm.clone() };
        // Buckets of every kind at 62 frames, and heads that share lines of their input.
        let wavlm = ModelConfig::WavLm(WavLmConfig { num_buckets: 16, max_bucket_distance: 24 });
        let biased = Config { model: wavlm, ..narrow.clone() };
        let biased_pre_norm = Config { model: wavlm, ..pre_norm.clone() };
        let biased_head_120 = Config { model: wavlm, ..head_120.clone() };
        // More frames than the scores of a block have keys.
        let biased_long = Config { model: wavlm, conv_stride: vec![5, 3, 2], ..long.clone() };
        let batch_norm = ModelConfig::Hubert(HubertConfig { conv_pos_batch_norm: true });
        let batch_norm = Config { model: batch_norm, ..narrow.clone() };
        let stack = |layers, kernel| Config {
            model: ModelConfig::Data2VecAudio(Data2VecAudioConfig { conv_pos_kernel_size: kernel }),
            num_conv_pos_embeddings: layers,
            feat_extract_norm: FeatureExtractorNorm::Layer,
            ..narrow.clone()
        };
        let mechanisms = [
            [group_pre_norm, no_norm, head_80, head_120],
            [biased, biased_pre_norm, biased_head_120, biased_long],
            [batch_norm, stack(5, 19), stack(2, 6), stack(1, 1)],
        ];
        [narrow, pre_norm, wide, one_of_each, long].into_iter().chain(mechanisms.into_iter().flatten()).collect()
    }

    #[test]
    fn agrees_with_the_other_engine_on_every_instruction_set() {
        // One for all passes: the values that an earlier pass left must not affect the next.
        let mut workspace = Workspace::default();
        for config in configs() {
            for samples in [config.receptive_field(), 20_011] {
                check(&config, samples, &mut workspace);
            }
        }
    }

    /// Floats in every module are nearer to f32 than integers, and those of one module change what comes after it.
    #[test]
    fn modules_keep_floats() {
        for config in configs() {
            let samples = 20_011;
            let vb = || VarBuilder::from_tensors(tensors(&config), DType::F32, &Device::Cpu);
            let clip: Vec<f32> = (0..samples).map(|i| ((i * 7919) % 2003) as f32 / 1001.5 - 0.9).collect();
            let last = config.num_hidden_layers;
            let run = |factors, modules: &[(String, MertDtype)]| {
                let modules = ModuleFactors::of(&Int8Exceptions::new(modules.to_vec()));
                let weights = WeightLoader::new(Arithmetic::new(Isa::detect(), factors), vb(), None);
                let model = CpuModel::load_from(&weights.with_modules(&modules), &config).unwrap();
                let mut found = Vec::new();
                let on_state = |_, state: &[f32]| -> Result<()> {
                    found = state.to_vec();
                    Ok(())
                };
                model.forward(&mut Workspace::default(), &clip, samples, &[last], on_state).unwrap();
                found
            };
            let expected = run(Factors::F32, &[]);
            let nmse = |found: &[f32]| {
                let error: f64 = found.iter().zip(&expected).map(|(a, b)| f64::from(a - b).powi(2)).sum();
                error / expected.iter().map(|b| f64::from(*b).powi(2)).sum::<f64>()
            };
            let modules = int8_modules(&config, samples);
            let all = |dtype| modules.iter().map(|module| (module.path.clone(), dtype)).collect::<Vec<_>>();
            let int8 = run(Factors::Int8, &[]);
            let [f32, bf16] = [MertDtype::F32, MertDtype::Bf16].map(|dtype| nmse(&run(Factors::Int8, &all(dtype))));
            assert!(f32 <= bf16 && 2.0 * bf16 < nmse(&int8), "{f32:e} {bf16:e} {:e}", nmse(&int8));
            for module in all(MertDtype::F32) {
                assert_ne!(run(Factors::Int8, std::slice::from_ref(&module)), int8, "{module:?} does nothing");
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
        let all: Vec<usize> = (0..=config.num_hidden_layers).collect();
        let on_state = |_, state: Tensor| -> Result<()> {
            expected.push(values(state));
            Ok(())
        };
        candle.forward(&input, &all, on_state).unwrap();
        // A few units in the last place of f32 in each, as between PyTorch and either. With bf16, each factor is off by 2⁻⁹ of
        // its size at most, with integers by 1/254 of the largest.
        let factors = [(Factors::F32, 1e-10), (Factors::Bf16, 3e-3), (Factors::Int8, 2e-2)];
        for (isa, (factors, limit)) in Isa::available().into_iter().flat_map(|isa| factors.map(|f| (isa, f))) {
            let model =
                CpuModel::load_from(&WeightLoader::new(Arithmetic::new(isa, factors), vb(), None), config).unwrap();
            let mut found = Vec::new();
            let on_state = |_, state: &[f32]| -> Result<()> {
                found.push(state.to_vec());
                Ok(())
            };
            model.forward(workspace, &clip, samples, &all, on_state).unwrap();
            assert_eq!(found.len(), expected.len());
            for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let error: f64 = found.iter().zip(expected).map(|(a, b)| f64::from(a - b).powi(2)).sum();
                let size: f64 = expected.iter().map(|b| f64::from(*b).powi(2)).sum();
                assert!(error <= limit * size, "{isa:?}, {factors:?}, hidden state {index}: NMSE {:e}", error / size);
            }
        }
    }
}
