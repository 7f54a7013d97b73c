//! The code of `docs/gguf.md`, compiled and run.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use candle_core::quantized::{QMatMul, gguf_file::Content};
use candle_core::{DType, Device, Module, Tensor};
use mert_arch::Config;
use mert_runtime::{Model, VarBuilder};

use super::super::convert;
use super::gguf_file::GgufFile;
use super::tiny;
use crate::scratch::Scratch;

// docs/gguf.md begins
fn query(path: &Path, hidden_state: &Tensor) -> candle_core::Result<Tensor> {
    let mut file = File::open(path)?;
    let content = Content::read(&mut file)?;
    let layer = "encoder.layers.0.attention.q_proj";
    let weight = content.tensor(&mut file, &format!("{layer}.weight"), &Device::Cpu)?;
    let bias = content.tensor(&mut file, &format!("{layer}.bias"), &Device::Cpu)?.dequantize(&Device::Cpu)?;
    QMatMul::from_qtensor(weight)?.forward(hidden_state)?.broadcast_add(&bias)
}

fn model(path: &Path) -> anyhow::Result<Model> {
    let mut file = File::open(path)?;
    let content = Content::read(&mut file)?;
    let config = Config::from_json(content.metadata["mert_convert.config"].to_string()?)?;
    let mut tensors = HashMap::new();
    for name in content.tensor_infos.keys() {
        let tensor = content.tensor(&mut file, name, &Device::Cpu)?.dequantize(&Device::Cpu)?;
        tensors.insert(name.clone(), tensor);
    }
    Ok(Model::load(VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu), &config)?)
}
// docs/gguf.md ends

#[test]
fn the_document_shows_this_code() {
    let document = include_str!("../../../../docs/gguf.md");
    let blocks: Vec<&str> =
        document.split("```rust\n").skip(1).map(|block| block.split("\n```").next().unwrap()).collect();
    let code = include_str!("documented.rs").split("// docs/gguf.md begins\n").nth(1).unwrap();
    let code = code.split("// docs/gguf.md ends").next().unwrap();
    assert_eq!(blocks.join("\n\n"), code.trim());
}

#[test]
fn the_documented_code_computes() {
    let scratch = Scratch::new();
    for options in [&["--dtype", "f32"][..], &["--quantize", "--q-bits", "8"], &["--quantize", "--q-group-size", "32"]]
    {
        let path = scratch.path("a.gguf");
        convert(&tiny(), &path, &[options, &["--force"]].concat());
        let clip: Vec<f32> = (0..4000).map(|i| (i as f32 * 0.07).sin()).collect();
        let states = model(&path).unwrap().hidden_states(&clip, &[0]).unwrap();
        let frames = states[0].squeeze(0).unwrap();
        let found = query(&path, &frames).unwrap();
        let weights = GgufFile::open(&path);
        let of =
            |name: &str| weights.tensor(&format!("encoder.layers.0.attention.q_proj.{name}")).dequantize(&Device::Cpu);
        let expected = frames.matmul(&of("weight").unwrap().t().unwrap()).unwrap();
        let expected = expected.broadcast_add(&of("bias").unwrap()).unwrap();
        let energy = |tensor: Tensor| tensor.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
        let nmse = energy((found - &expected).unwrap()) / energy(expected);
        // candle rounds the activations to 8 bits in blocks of 32: an error of 0.4% of a block's largest value at most.
        assert!(nmse < 1e-4, "{options:?}: {nmse}");
    }
}
