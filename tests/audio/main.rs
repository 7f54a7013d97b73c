//! From an audio file to windows of samples, through the API of `mert-audio`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../common/sound.rs"]
mod sound;

mod containers;
mod faults;
mod field;
mod formats;
mod tracks;
mod windows;
