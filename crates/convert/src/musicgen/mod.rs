//! Conversions of MusicGen and Instruct-MusicGen to bundles: folders with the language model, T5 and the codec, which
//! `mert-generate` and MLX load.
//!
//! ```
//! use mert_convert::musicgen::RecognizedMusicgen;
//!
//! let encoder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/mert-tiny/pytorch_model.bin");
//! assert!(RecognizedMusicgen::open(encoder.as_ref()).is_none());
//! ```
//!
//! # Map
//! Each line needs only what is below it:
//! - `write.rs`: the bundle; `card.rs`: its model card.
//! - `plan.rs`: the treatment of every tensor of every file; `requantize.rs`: another quantization in it.
//! - `language_model.rs`, `beside.rs` with `t5.rs` and `codec.rs`: the steps of the parts.
//! - `base.rs`, `codec_fit.rs`: what a base model and a codec must have in common with the input.
//! - `lora.rs`: what is merged; `fingerprint.rs`: what the values say about the training.
//! - `config.rs`, `yaml.rs`: the sizes, from a `config.json`, an `xp.cfg` or the shapes; and the bundle's `config.json`.
//! - `pool.rs`, `steps.rs`, `part.rs`: tensors that are used up, the steps that read them, and the folders of steps.
//! - `tensors.rs`: the tensors of a file by what they are in the model.
//! - `source.rs`, `kind.rs`: the files, and the kinds of them.
//! - `options.rs`, `error.rs`: the user's choices, and errors.

mod base;
mod beside;
mod card;
mod codec;
mod codec_fit;
mod config;
mod error;
mod fingerprint;
mod kind;
mod language_model;
mod lora;
mod options;
mod part;
mod plan;
mod pool;
mod requantize;
mod source;
mod steps;
mod t5;
mod tensors;
mod write;
mod yaml;

pub use self::error::{MusicgenError, MusicgenProblem, SizeDifference};
pub use self::fingerprint::{PositionRows, RandomProjections};
pub use self::kind::{MusicgenKind, RecognizedMusicgen};
pub use self::lora::PlannedLora;
pub use self::options::MusicgenOptions;
pub use self::part::MusicgenPart;
pub use self::plan::MusicgenPlan;
pub use self::source::PlannedSource;
pub use self::write::{MusicgenConversion, WrittenMusicgen};
