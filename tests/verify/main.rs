//! `mert-verify`: verdicts, reports and timing, and defects that the gate must find.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;

mod arithmetic;
mod bench;
mod command;
mod coreml;
mod coreml_mutants;
mod families;
#[cfg(feature = "tch")]
mod full_size;
mod int8_budget;
#[cfg(feature = "tch")]
mod libtorch;
mod mutants;
mod reports;
