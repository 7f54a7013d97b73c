//! `mert-search` through the binary: changes of a catalogue, queries, analysis, and the server.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../common/embeddings.rs"]
mod embeddings;

mod analysis;
#[cfg(unix)]
mod catalogue;
mod query;
mod serve;
