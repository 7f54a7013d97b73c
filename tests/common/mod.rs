//! Helpers that the tests of `mert-verify` share.

use std::path::{Path, PathBuf};

use mert_arch::{Dtype, Layout};
use mert_checkpoint::Source;
use mert_convert::write::CoreMlOptions;
use mert_convert::{Compression, Plan, PlanOptions, write};
use mert_testkit::{fixture, runner};
use mert_verify::Reference;
use serde_json::Value;
use tempfile::TempDir;

/// Converts a checkpoint into `folder`.
pub(crate) fn convert(checkpoint: &Path, folder: &TempDir, dtype: Dtype, layout: Layout) -> PathBuf {
    let source = Source::open(checkpoint).unwrap();
    let options = PlanOptions { layout, dtype, ..PlanOptions::default() };
    let plan = Plan::new(&source, &options).unwrap();
    let output = folder.path().join(format!("{dtype}-{layout}.safetensors"));
    write::safetensors(&plan, &source, &output, true, &|_| {}).unwrap();
    output
}

/// Converts a checkpoint into a Core ML package in `folder`.
pub(crate) fn convert_coreml(checkpoint: &Path, folder: &TempDir, dtype: Dtype, options: &CoreMlOptions) -> PathBuf {
    let source = Source::open(checkpoint).unwrap();
    let plan = Plan::new(&source, &PlanOptions { layout: Layout::Torch, dtype, ..PlanOptions::default() }).unwrap();
    let output = folder.path().join(format!("{dtype}.mlpackage"));
    write::coreml(&write::coreml_program(&plan, options).unwrap(), &source, &output, true, &|_| {}).unwrap();
    output
}

/// Converts a checkpoint into a Core ML package in half precision with compressed weights.
pub(crate) fn convert_compressed(checkpoint: &Path, output: &Path, compression: Compression, options: &CoreMlOptions) {
    let source = Source::open(checkpoint).unwrap();
    let options_of_plan = PlanOptions { layout: Layout::Torch, compress: Some(compression), ..PlanOptions::default() };
    let plan = Plan::new(&source, &options_of_plan).unwrap();
    write::coreml(&write::coreml_program(&plan, options).unwrap(), &source, output, true, &|_| {}).unwrap();
}

/// Runs `mert-verify` and returns its exit status, standard output and standard error.
pub(crate) fn mert_verify(args: &[&str]) -> (i32, String, String) {
    let run = runner::run("mert-verify", args);
    (run.code, run.stdout, run.stderr)
}

/// A path as a command-line argument.
pub(crate) fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The built-in fixture's model.
pub(crate) fn model() -> PathBuf {
    fixture("mert-tiny/model.safetensors")
}

/// The built-in fixture's reference, computed by transformers.
pub(crate) fn reference() -> PathBuf {
    fixture("mert-tiny/reference.npz")
}

/// Reads a JSON file.
pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Writes the fixture's reference into `folder` after a change.
pub(crate) fn changed_reference(folder: &TempDir, change: impl FnOnce(&mut Reference)) -> PathBuf {
    let mut reference = Reference::read(&reference()).unwrap();
    change(&mut reference);
    let path = folder.path().join("changed.npz");
    reference.write(&path).unwrap();
    path
}
