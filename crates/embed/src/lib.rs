//! Embeddings of audio files with a converted MERT or HuBERT model.
//!
//! Data flows one way: [`inputs`] says which files, [`run`] decodes them on threads of their own while the
//! [`Embedder`] runs the model, a [`Journal`] keeps what is done, and [`output::write`] makes the table.
//! [`Encoder`] is for live sound: it takes blocks of samples as they arrive.

mod config;
mod embedder;
mod encoder;
mod error;
pub mod failures;
mod file_name;
pub mod inputs;
mod journal;
pub mod output;
mod pipeline;
mod pool;
mod settings;
mod update;

pub use config::EmbedConfig;
pub use embedder::{Embedder, Embedding};
pub use encoder::{Encoder, EncoderOptions, Hop};
pub use error::EmbedError;
pub use file_name::{escape, unescape};
pub use journal::Journal;
pub use pipeline::{Event, Summary, run};
pub use pool::Pool;
pub use settings::{ModelFile, Provenance, Reading};
pub use update::Update;
