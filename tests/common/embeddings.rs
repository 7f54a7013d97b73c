//! Running `mert-embed` in tests, and reading its outputs. Each test program uses only a part of it.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};

use mert_arch::{Dtype, Layout};
use mert_checkpoint::Source;
use mert_convert::{Plan, PlanOptions, write};
use mert_embed::{Embedder, Normalization, Pool};
use mert_runtime::{DeviceKind, Model};
use mert_table::{TableError, TableReader};
use mert_testkit::{fixture, runner};
use tempfile::TempDir;

/// The tiny model in f32, so that only the front end can differ.
pub(crate) fn model(folder: &TempDir) -> PathBuf {
    let source = Source::open(&fixture("mert-tiny/pytorch_model.bin")).unwrap();
    let options = PlanOptions { layout: Layout::Mlx, dtype: Dtype::F32, ..PlanOptions::default() };
    let output = folder.path().join("model.safetensors");
    write::safetensors(&Plan::new(&source, &options).unwrap(), &source, &output, true, &|_| {}).unwrap();
    output
}

/// The path of a fixture track.
pub(crate) fn track(name: &str) -> PathBuf {
    fixture("audio").join(name)
}

/// The samples of a fixture WAV of floats, as bytes.
pub(crate) fn samples_of(name: &str) -> Vec<u8> {
    let bytes = fs::read(track(name)).unwrap();
    let start = bytes.windows(4).position(|id| id == b"data").unwrap() + 8;
    bytes[start..].to_vec()
}

/// An embedder with the model in a file, on the CPU in f32.
pub(crate) fn embedder(model: &Path, layers: &str, pool: Pool, normalization: Normalization) -> Embedder {
    let model = Model::open(model, Dtype::F32, &DeviceKind::Cpu.open().unwrap()).unwrap();
    Embedder::new(model, &layers.parse().unwrap(), pool, normalization).unwrap()
}

/// Runs `mert-embed`; returns its exit status and standard error.
pub(crate) fn run(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> (i32, String) {
    let mut command = runner::command("mert-embed");
    arguments.iter().for_each(|argument| {
        command.arg(argument.as_ref());
    });
    let output = command.output().unwrap();
    assert!(output.stdout.is_empty());
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// The contents of an output in any format.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Rows {
    /// File, window, frame.
    pub(crate) keys: Vec<(String, u64, Option<u64>)>,
    pub(crate) times: Vec<(f64, f64)>,
    /// `(hidden states, dim)` for each row.
    pub(crate) values: Vec<Vec<f32>>,
    pub(crate) layers: Vec<usize>,
    pub(crate) model: String,
}

/// Reads an output with the table's readers.
pub(crate) fn read(path: &Path) -> Rows {
    let mut table = TableReader::open(path).unwrap();
    let mut rows = Rows {
        layers: table.hidden_states().unwrap_or_default().to_vec(),
        model: table.model_sha256().unwrap_or_default().to_string(),
        ..Rows::default()
    };
    let read = table.for_each_row(|row| {
        rows.keys.push((row.file.to_string(), row.window.into(), row.frame.map(u64::from)));
        rows.times.push((row.start, row.end));
        rows.values.push(row.values.to_vec());
        Ok::<(), TableError>(())
    });
    read.unwrap();
    rows
}

/// Output formats, by extension.
pub(crate) const FORMATS: [&str; 5] = ["npz", "npy", "jsonl", "safetensors", "parquet"];
