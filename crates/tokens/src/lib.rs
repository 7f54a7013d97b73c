//! A vocabulary of tokens for the frames of an audio encoder: k-means, vocabulary files, token outputs.

mod config;
mod error;
pub mod frames;
pub mod kmeans;
mod npy;
pub mod output;
mod tokenizer;
pub mod train;
pub mod vocabulary;
mod window_study;

pub use config::{QuantizationConfig, TrainConfig};
pub use error::TokensError;
pub use tokenizer::Tokenizer;
pub use window_study::{WindowResult, WindowStudy};

pub(crate) type Result<T, E = TokensError> = std::result::Result<T, E>;
