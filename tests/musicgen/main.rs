//! Bundles of MusicGen: generation with `mert-generate`, budgets, and what `mert-verify` says of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../common/bundles.rs"]
mod bundles;

mod budget;
mod configs;
mod gate;
mod generate;
mod generate_config;
mod generate_windows;
mod stereo;
