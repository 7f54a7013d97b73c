//! Bands of a semitone over the bins of a spectrum.

use std::ops::Range;

/// The range of the bands in hertz: below it are rumble and hum, and above it is what a rate of 24 kHz does not have, so that
/// a threshold means the same at all usual rates.
const LOWEST: f64 = 30.0;
const HIGHEST: f64 = 11_000.0;

/// The bins of each band, ascending and without overlap: a semitone, or a bin where that is wider.
pub(super) fn bands(rate: u32, frame: usize) -> Vec<Range<usize>> {
    let bin = f64::from(rate) / frame as f64;
    let highest = HIGHEST.min(f64::from(rate) / 2.0);
    let mut bands = Vec::new();
    let mut start = ((LOWEST / bin).round() as usize).max(1);
    let mut edge = LOWEST;
    while edge < highest && start <= frame / 2 {
        edge *= 2.0_f64.powf(1.0 / 12.0);
        let end = ((edge / bin).round() as usize).min(frame / 2 + 1);
        if end > start {
            bands.push(start..end);
            start = end;
        }
    }
    bands
}
