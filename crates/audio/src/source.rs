//! The interface between what produces samples (files, raw streams) and what consumes them (windows), and the checks
//! that all producers share. A file of its own, so that producers and consumers do not import each other.

use crate::rate::RATES;
use crate::{AudioError, Result};

/// A stream of mono samples that arrives in blocks.
pub trait Source {
    /// The sample rate in hertz.
    fn sample_rate(&self) -> u32;

    /// The next block of samples, which is never empty; `None` at the end.
    ///
    /// # Errors
    /// [`AudioError`] if the source cannot be read.
    fn next_block(&mut self) -> Result<Option<&[f32]>>;

    /// Skips up to `samples` samples without decoding more than needed, and returns how many were skipped. The samples
    /// that follow are the same as if the skipped ones had been read.
    ///
    /// # Errors
    /// Those of [`Source::next_block`], as far as they show without decoding.
    fn skip(&mut self, samples: u64) -> Result<u64> {
        let _ = samples;
        Ok(0)
    }
}

/// Refuses a sample rate outside the supported range.
pub(crate) fn check_rate(rate: u32) -> Result<()> {
    if RATES.contains(&rate) { Ok(()) } else { Err(AudioError::InvalidRate { rate }) }
}

/// Refuses NaN, infinity and values that could overflow in the resampler, in a block that starts at sample `position`.
pub(crate) fn check_finite(block: &[f32], position: u64, rate: u32) -> Result<()> {
    /// Far above any scale in use, and low enough that a filter that overshoots stays finite.
    const LARGEST: f32 = 1e30;
    match block.iter().enumerate().find(|(_, x)| x.is_nan() || x.abs() > LARGEST) {
        None => Ok(()),
        Some((index, &value)) => {
            let index = position + index as u64;
            Err(AudioError::NotFinite { index, seconds: index as f64 / f64::from(rate), value })
        }
    }
}
