//! `mert-convert` and `mert-test-model` through the binaries: what they read, what they write, and what they refuse.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../common/scratch.rs"]
mod scratch;

mod command;
mod containers;
mod coreml;
mod double_precision;
mod fairseq;
mod files;
mod final_proj;
mod inputs;
mod musicgen;
mod preprocessor;
mod quantized;
mod refusals;
mod targets;
mod test_model;
