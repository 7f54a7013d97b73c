//! The runtime allocates nothing for a clip like an earlier one.
//!
//! The test is alone in its program, whose allocator counts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "common/counting_allocator.rs"]
mod counting_allocator;

use std::collections::HashMap;
use std::time::Duration;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use counting_allocator::allocated;
use mert_arch::{Config, QuantizationConfig, inventory};
use mert_runtime::{ComputeType, Dtype, Model, Workspace};
use mert_testkit::{ConvertedModel, QuantizedModel, fixture};

const PASSES: usize = 20;

fn clip(samples: usize) -> Vec<f32> {
    (0..samples).map(|i| ((i * 7919) % 2003) as f32 / 1001.5 - 1.0).collect()
}

/// A model of each kind that a fixture has: weights in f16, in f32 and quantized, each in f32, bf16 and int8 arithmetic, a norm over time and one over channels,
/// pre-LN, DeepNorm, a position bias, several positional
/// convolutions and a BatchNorm.
fn models() -> Vec<(String, Model)> {
    let path = fixture("mert-tiny/model.safetensors");
    let folder = tempfile::tempdir().unwrap();
    let f32_path = folder.path().join("f32.safetensors");
    let mut converted = ConvertedModel::read(&path).unwrap();
    converted.metadata.dtype = Dtype::F32;
    converted.write(&f32_path).unwrap();
    let quantized_path = folder.path().join("quantized.safetensors");
    // Two layers of a joined product quantized alike and one otherwise; the projection's rows are half a group.
    let quantization = r#"{"bits": 3, "group_size": 64, "encoder.layers.1.attention.v_proj": {"bits": 8, "group_size": 32},
        "feature_projection.projection": false}"#;
    let config = QuantizationConfig::from_json(quantization).unwrap();
    QuantizedModel::new(&converted, config).0.write(&quantized_path).unwrap();
    let computes = [ComputeType::F32, ComputeType::BF16, ComputeType::Int8];
    let files = [path, f32_path, quantized_path].into_iter().flat_map(|path| {
        computes.map(|compute| {
            (format!("{} in {compute}", path.display()), Model::open(&path, compute, &Device::Cpu).unwrap())
        })
    });
    let configs = ["stable-layer-norm", "deepnorm"].map(|name| {
        let config = std::fs::read_to_string(fixture(name).join("config.json")).unwrap();
        (name.to_string(), Config::from_json(&config).unwrap())
    });
    let mechanisms = [
        r#"{"model_type": "wavlm", "num_buckets": 16, "max_bucket_distance": 24"#,
        r#"{"model_type": "data2vec-audio""#,
        r#"{"model_type": "hubert", "conv_pos_batch_norm": true"#,
    ];
    let mechanisms = mechanisms.map(|fields| {
        let sizes = r#""hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 80"#;
        let convolutions = r#""conv_dim": [16, 16, 24, 16, 24, 16, 24], "num_conv_pos_embedding_groups": 4"#;
        let config = Config::from_json(&format!("{fields}, {sizes}, {convolutions}}}")).unwrap();
        (config.family().model_type.to_string(), config)
    });
    let generated = configs.into_iter().chain(mechanisms).map(|(name, config)| {
        let tensor = |(seed, spec): (usize, mert_arch::TensorSpec)| {
            let value = |i: usize| (((i + seed) * 2_654_435_761) % 65_521) as f32 / 327_600.0 - 0.1;
            let positive = if spec.name.ends_with("running_var") { 1.0 } else { 0.0 };
            let values: Vec<f32> = (0..spec.shape.iter().product()).map(|i| positive + value(i)).collect();
            (spec.name, Tensor::from_vec(values, spec.shape.as_slice(), &Device::Cpu).unwrap())
        };
        let tensors: HashMap<_, _> = inventory(&config).into_iter().enumerate().map(tensor).collect();
        let vb = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
        (name, Model::load(vb, &config).unwrap())
    });
    files.into_iter().chain(generated).collect()
}

/// Checks that a pass in a workspace gives the hidden states of [`Model::hidden_states`].
fn check(model: &Model, workspace: &mut Workspace, clip: &[f32], wanted: &[usize]) {
    let expected = model.hidden_states(clip, wanted).unwrap();
    let mut expected = wanted.iter().zip(&expected);
    let on_state = |index: usize, state: &[f32]| {
        let (&wanted, expected) = expected.next().expect("only requested states are returned");
        let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
        let bits = |state: &[f32]| state.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(index, wanted);
        assert!(bits(state) == bits(&expected), "hidden state {index} of {} samples", clip.len());
    };
    model.hidden_states_in(workspace, clip, wanted, on_state).unwrap();
    assert!(expected.next().is_none(), "every requested state is returned");
}

/// Counts the allocations in `PASSES` rounds of `clips`.
fn allocations(model: &Model, workspace: &mut Workspace, clips: &[Vec<f32>], wanted: &[usize]) -> usize {
    // Threads of a new pool set themselves up in their own time.
    std::thread::sleep(Duration::from_millis(50));
    let mut sum = 0.0;
    let before = allocated();
    for _ in 0..PASSES {
        for clip in clips {
            model.hidden_states_in(workspace, clip, wanted, |_, state| sum += state[0]).unwrap();
        }
    }
    let count = allocated() - before;
    assert!(sum.is_finite());
    count
}

#[test]
fn a_repeated_clip_allocates_nothing_and_gives_the_same_bits() {
    // Longer and shorter ones in turn, which leave tiles, blocks and parts incomplete; the shortest is one frame.
    let lengths = [24_000, 400, 13_579, 60_001, 4000].map(clip);
    let models = models();
    for (name, model) in &models {
        let last = model.config().num_hidden_layers;
        let all: Vec<usize> = (0..=last).collect();
        for wanted in [&[last / 2][..], &all] {
            for threads in [1, 2, 5] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    for clips in [&lengths[..1], &lengths] {
                        let mut workspace = Workspace::default();
                        for clip in clips {
                            model.hidden_states_in(&mut workspace, clip, wanted, |_, _| {}).unwrap();
                        }
                        let mut count = || allocations(model, &mut workspace, clips, wanted);
                        // On a busy machine, threads of the pools dropped above are still ending in the first rounds.
                        let count = (0..3).map(|_| count()).find(|&count| count == 0);
                        assert!(count.is_some(), "{name}, {threads} threads, {} lengths, {wanted:?}", clips.len());
                        clips.iter().for_each(|clip| check(model, &mut workspace, clip, wanted));
                    }
                });
            }
            // From a thread outside the pool: a block of rayon's queue for every 63 states.
            let mut workspace = Workspace::default();
            (0..3).for_each(|_| check(model, &mut workspace, &lengths[0], wanted));
            // The best of three: on a busy machine, threads of the pools dropped above are still ending in the first.
            let count = (0..3).map(|_| allocations(model, &mut workspace, &lengths[..1], wanted)).min().unwrap();
            println!("{name}, {} states, from outside the pool: {count} in {PASSES} clips", wanted.len());
            assert!(count <= (PASSES * wanted.len()).div_ceil(63), "{name}, {wanted:?}: {count}");
        }
    }
    // One workspace for models of different widths and norms.
    let mut workspace = Workspace::default();
    for clip in [&lengths[0], &lengths[4]] {
        for (_, model) in &models {
            check(model, &mut workspace, clip, &[0, model.config().num_hidden_layers]);
        }
    }
}
