//! A vocabulary of tokens for the frames of an audio encoder: k-means, vocabulary files, token outputs.

mod error;
pub mod frames;
pub mod kmeans;
pub mod train;

pub use error::TokensError;
