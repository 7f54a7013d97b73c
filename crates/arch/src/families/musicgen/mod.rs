//! MusicGen and Instruct-MusicGen: the sizes of the language model, and the tensors that they imply.
//!
//! Here rather than in [`Config`](crate::Config), because it is a decoder of audio tokens with nothing of HuBERT's encoder.
//!
//! - `config.rs`: the `config.json` of a model; `decoder.rs`, `cp_transformer.rs`: its sections.
//! - `tensors.rs`: the tensors of the sizes, and the sizes of tensors.

mod config;
mod cp_transformer;
mod decoder;
mod tensors;
#[cfg(test)]
mod tests;

pub use self::config::MusicgenConfig;
pub use self::cp_transformer::CpTransformer;
pub use self::decoder::{MUSICGEN_HEAD_DIM, MusicgenDecoder};
