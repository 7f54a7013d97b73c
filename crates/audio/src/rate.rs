//! The supported sample rates, in a file of their own because both the check and its error message state them.

use std::ops::RangeInclusive;

/// The supported sample rates in hertz. Above them the resampler's block grows out of proportion.
pub(crate) const RATES: RangeInclusive<u32> = 1_000..=768_000;
