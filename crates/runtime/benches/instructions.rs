//! Instructions of the forward pass on one thread, counted by callgrind; each benchmark's shape makes one kernel
//! dominate. `scripts/bench/instructions.sh` runs this and compares with `instructions.tsv`. valgrind supports AVX2 but
//! not AVX-512, so the AVX2 kernels are counted, and for bf16 f32 multiply-adds.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::hint::black_box;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use gungraun::{library_benchmark, library_benchmark_group, main};
use mert_arch::{Config, Data2VecAudioConfig, ModelConfig, WavLmConfig, inventory};
use mert_runtime::{ComputeType, Model};

/// A model with every tensor of `config`, and an input of `samples` samples.
fn model(config: &Config, samples: usize) -> (Model, Tensor) {
    model_in(ComputeType::F32, config, samples)
}

/// The same in another arithmetic.
fn model_in(compute: ComputeType, config: &Config, samples: usize) -> (Model, Tensor) {
    // On this thread, because callgrind counts from where the benchmark starts, thread by thread.
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().expect("the only pool");
    let tensors: HashMap<String, Tensor> = inventory(config)
        .into_iter()
        .enumerate()
        .map(|(seed, spec)| {
            let count: usize = spec.shape.iter().product();
            let tensor = Tensor::from_vec(values(count, seed, 0.1), spec.shape.as_slice(), &Device::Cpu);
            (spec.name, tensor.unwrap())
        })
        .collect();
    let vb = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let model = Model::load_as(vb, config, compute).unwrap();
    (model, Tensor::from_vec(values(samples, 1000, 1.0), (1, samples), &Device::Cpu).unwrap())
}

fn values(count: usize, seed: usize, size: f32) -> Vec<f32> {
    (0..count).map(|i| (((i + seed) * 2_654_435_761 % 65_521) as f32 / 32_760.0 - 1.0) * size).collect()
}

/// A model of wide convolutions with a narrow encoder after them.
fn convolutions() -> (Model, Tensor) {
    let config = Config {
        hidden_size: 48,
        intermediate_size: 48,
        num_hidden_layers: 1,
        num_attention_heads: 1,
        num_conv_pos_embedding_groups: 1,
        num_conv_pos_embeddings: 16,
        ..Config::mert_v1_95m()
    };
    model(&config, 2_000)
}

/// A model of narrow convolutions before one layer as wide as the published model's.
fn layer(compute: ComputeType) -> (Model, Tensor) {
    let config = Config { num_hidden_layers: 1, conv_dim: vec![16; 7], ..Config::mert_v1_95m() };
    model_in(compute, &config, 24_000)
}

/// A model of one narrow layer with one head, and an input so long that attention dominates.
fn attention() -> (Model, Tensor) {
    one_head(ModelConfig::Mert)
}

/// The same with a gated position bias.
fn biased_attention() -> (Model, Tensor) {
    one_head(ModelConfig::WavLm(WavLmConfig::default()))
}

fn one_head(model: ModelConfig) -> (Model, Tensor) {
    let config = Config {
        model,
        hidden_size: 64,
        intermediate_size: 64,
        num_hidden_layers: 1,
        num_attention_heads: 1,
        num_conv_pos_embedding_groups: 4,
        conv_dim: vec![16; 7],
        ..Config::mert_v1_95m()
    };
    self::model(&config, 240_000)
}

/// A model of narrow convolutions before five positional convolutions as wide as a published model's.
fn positions() -> (Model, Tensor) {
    let family = ModelConfig::Data2VecAudio(Data2VecAudioConfig::default());
    model(
        &Config { num_hidden_layers: 1, intermediate_size: 48, conv_dim: vec![16; 7], ..family.default_config() },
        24_000,
    )
}

#[library_benchmark]
#[bench::convolutions(convolutions())]
#[bench::positions(positions())]
fn features((model, input): (Model, Tensor)) -> Vec<Tensor> {
    black_box(model.forward(&input, &[0]).unwrap())
}

#[library_benchmark]
#[bench::layer(layer(ComputeType::F32))]
#[bench::layer_int8(layer(ComputeType::Int8))]
#[bench::layer_bf16(layer(ComputeType::BF16))]
#[bench::attention(attention())]
#[bench::biased_attention(biased_attention())]
fn forward((model, input): (Model, Tensor)) -> Vec<Tensor> {
    black_box(model.forward(&input, &[1]).unwrap())
}

library_benchmark_group!(name = kernels, benchmarks = [features, forward]);
main!(library_benchmark_groups = kernels);
