//! `mert-embed` and the embedding library: from files and live sound to tables of vectors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../common/embeddings.rs"]
mod embeddings;
#[path = "../common/independent_readers.rs"]
mod independent_readers;
#[path = "../common/voice.rs"]
mod voice;

mod command;
#[cfg(unix)]
mod ffmpeg;
mod hybrid;
#[cfg(unix)]
mod interrupted;
mod library;
mod preprocessor;
mod refusals;
mod streaming;
mod voice_conversion;
