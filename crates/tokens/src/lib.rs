//! A vocabulary of tokens for the frames of an audio encoder: k-means, vocabulary files, token outputs.

pub mod kmeans;
