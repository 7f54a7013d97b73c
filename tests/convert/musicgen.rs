//! Bundles of MusicGen and Instruct-MusicGen: every name, the values of merged, split, fused and quantized tensors against
//! values computed here in f64, what is left out and why, and what is refused.

mod agreement;
mod beside;
mod files;
mod names;
mod other_models;
mod quantized;
mod refusals;
mod training;
mod values;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use half::f16;
use mert_checkpoint::{open_plain, read_f32};
use mert_testkit::{Tensor, fixture, write_torch_zip};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::scratch::{Scratch, mert_convert};

/// The width of the fixtures' language model, and the number of Instruct-MusicGen's layers and of plain MusicGen's.
const WIDTH: usize = 64;
const LAYERS: usize = 3;
const PLAIN_LAYERS: usize = 2;
const CODEBOOKS: usize = 4;

/// The prefix of the language model's keys in the Lightning checkpoint, and that of its layers.
const LM: &str = "model.peft_model.lm.";

fn peft_layer(layer: usize) -> String {
    format!("{LM}transformer.base_model.model.layers.{layer}.")
}

/// The values of a matrix or a vector.
type Values = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// A file of Instruct-MusicGen's fixture.
fn upstream(name: &str) -> PathBuf {
    fixture(&format!("musicgen/instruct/{name}"))
}

fn plain() -> PathBuf {
    fixture("musicgen/plain")
}

/// The tensors of a checkpoint by key, as the reader of checkpoints returns them.
fn checkpoint(path: &Path) -> Values {
    let opened = open_plain(path).unwrap();
    let tensors = &opened.checkpoint.listing().tensors;
    let tensors = tensors.iter().filter(|(_, info)| info.dtype.size().is_some());
    tensors
        .map(|(name, info)| (name.clone(), (info.shape.clone(), read_f32(opened.checkpoint.as_ref(), name).unwrap())))
        .collect()
}

/// The float tensors of a written file by name.
fn written(path: &Path) -> Values {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values = |view: &safetensors::tensor::TensorView<'_>| match view.dtype() {
        Dtype::F32 => view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
        Dtype::F16 => view.data().as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()).collect(),
        _ => Vec::new(),
    };
    file.tensors().into_iter().map(|(name, view)| (name, (view.shape().to_vec(), values(&view)))).collect()
}

fn config(bundle: &Path) -> Value {
    serde_json::from_slice(&fs::read(bundle.join("config.json")).unwrap()).unwrap()
}

/// The options that give all files of Instruct-MusicGen's fixture.
fn all_files() -> Vec<String> {
    let path = |name: &str| upstream(name).to_str().unwrap().to_string();
    let pairs = [("--base", "state_dict.bin"), ("--codec", "compression_state_dict.bin"), ("--t5", "t5")];
    pairs.into_iter().flat_map(|(option, name)| [option.to_string(), path(name)]).collect()
}

/// Converts and requires success. Returns what is printed.
#[track_caller]
fn convert(input: &Path, output: &Path, options: &[&str]) -> String {
    let run = mert_convert(input, output, options);
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.stdout
}

/// Converts Instruct-MusicGen's fixture with all its files.
#[track_caller]
fn convert_instruct(output: &Path, options: &[&str]) -> String {
    let files = all_files();
    let options: Vec<&str> = files.iter().map(String::as_str).chain(options.iter().copied()).collect();
    convert(&upstream("finetuned.ckpt"), output, &options)
}

/// Converts, requires a refusal whose message has all of `words`, and nothing left behind.
#[track_caller]
fn refused(scratch: &Scratch, input: &Path, options: &[&str], words: &[&str]) {
    let before = scratch.listing();
    let run = mert_convert(input, &scratch.path("out"), options);
    assert_eq!(run.code, 2, "{}", run.stdout);
    for word in words {
        assert!(run.stderr.contains(word), "`{word}` is not in: {}", run.stderr);
    }
    assert_eq!(scratch.listing(), before, "something was left behind");
}

/// Writes the tensors of Instruct-MusicGen's checkpoint after a change, as f32 and without shared storages.
fn changed(scratch: &Scratch, change: impl FnOnce(&mut Values)) -> PathBuf {
    let mut tensors = checkpoint(&upstream("finetuned.ckpt"));
    change(&mut tensors);
    let path = scratch.path("changed.ckpt");
    let tensors: Vec<_> = tensors.into_iter().map(|(name, (shape, values))| (name, Tensor { shape, values })).collect();
    write_torch_zip(&path, &tensors).unwrap();
    path
}

/// Third `third` of the rows of a stacked weight.
fn third((shape, values): &(Vec<usize>, Vec<f32>), third: usize) -> Vec<f32> {
    assert_eq!(shape[..], [3 * WIDTH, WIDTH]);
    values[third * WIDTH * WIDTH..][..WIDTH * WIDTH].to_vec()
}

/// W + scale · B · A in f64.
fn merged(base: &[f32], a: &(Vec<usize>, Vec<f32>), b: &(Vec<usize>, Vec<f32>), scale: f64) -> Vec<f64> {
    let (rank, columns) = (a.0[0], a.0[1]);
    let value = |row: usize, column: usize| {
        let product = (0..rank).map(|r| f64::from(b.1[row * rank + r]) * f64::from(a.1[r * columns + column]));
        f64::from(base[row * columns + column]) + scale * product.sum::<f64>()
    };
    (0..b.0[0]).flat_map(|row| (0..columns).map(move |column| (row, column))).map(|(r, c)| value(r, c)).collect()
}

/// The largest difference.
fn difference(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(&found, expected)| (f64::from(found) - expected).abs()).fold(0.0, f64::max)
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}
