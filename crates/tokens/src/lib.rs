//! A vocabulary of tokens for the frames of an audio encoder: k-means, vocabulary files, token outputs.

mod config;
mod error;
pub mod kmeans;
mod npy;
pub mod output;
pub mod vocabulary;

pub use config::{QuantizationConfig, TrainConfig};
pub use error::TokensError;

pub(crate) type Result<T, E = TokensError> = std::result::Result<T, E>;
