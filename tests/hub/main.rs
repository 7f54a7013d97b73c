//! Models of the Hugging Face hub as inputs of the commands, from a local server.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../common/hub.rs"]
mod hub;

mod commands;
mod convert;
mod musicgen;
mod transfer;
