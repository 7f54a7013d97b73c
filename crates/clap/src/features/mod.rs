//! From samples to the log-mel spectrogram, as transformers' `ClapFeatureExtractor` computes it with `rand_trunc`.
//!
//! - `mel.rs`: the mel bands.
//! - `log_mel.rs`: padding, frames, spectra, decibels.

mod log_mel;
mod mel;

pub use log_mel::LogMel;
