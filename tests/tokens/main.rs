//! `mert-tokens` through the binary: training, tokens, events, oracles, live sessions, modes and plots.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../common/embeddings.rs"]
mod embeddings;
#[path = "../common/studio.rs"]
mod studio;

mod command;
mod live;
mod modes;
mod oracle;
mod plot;
mod train;
