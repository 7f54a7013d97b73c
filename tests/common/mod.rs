//! What the tests of `mert-verify` share. Each test program uses its own part of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use mert_convert::{Plan, PlanOptions, Source, write};
use mert_spec::{Dtype, Layout};
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

/// Runs `mert-verify` and gives its exit status and what it printed.
pub(crate) fn mert_verify(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_mert-verify")).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// A path as an argument.
pub(crate) fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}
