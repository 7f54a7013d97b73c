//! A spectrogram as an image: steps of loudness below the loudest cell, from white to dark blue.

use std::ops::Range;

use crate::image::png_data_uri;
use crate::palette::loudness;
use crate::{Result, Spectrogram};

/// The steps of loudness, over as many decibels below the loudest cell.
pub(crate) const STEPS: usize = 32;
const DECIBELS: f64 = 80.0;

/// The power below which a recording is silent: −90 dB of full scale, where the noise of 16-bit samples is.
pub(crate) const SILENCE: f64 = 1e-9;

impl Spectrogram {
    /// The times of its first and last column, in seconds of the recording.
    pub fn seconds(&self) -> Range<f64> {
        self.start..self.end
    }

    /// The frequencies of its lowest and highest row, in hertz. Rows are equally high on a logarithmic axis.
    pub fn frequencies(&self) -> Range<f64> {
        self.lowest..self.highest
    }

    /// True if nothing in the spectrogram is louder than −90 dB of full scale.
    pub fn is_silent(&self) -> bool {
        self.loudest() < SILENCE
    }

    /// A PNG as a `data:` URI, low frequencies below: white is 80 dB below the loudest cell or less, dark blue the loudest.
    ///
    /// # Errors
    /// [`PlotsError::Draw`](crate::PlotsError::Draw).
    pub fn png_data_uri(&self) -> Result<String> {
        png_data_uri((self.columns, self.rows), &self.levels(), levels_palette())
    }

    pub(crate) fn loudest(&self) -> f64 {
        self.power.iter().copied().fold(0.0, f64::max)
    }

    /// The step of loudness of each cell, rows from above.
    pub(crate) fn levels(&self) -> Vec<u8> {
        let loudest = self.loudest();
        let rows = self.power.chunks_exact(self.columns.max(1)).rev();
        rows.flatten().map(|power| level(*power, loudest)).collect()
    }
}

/// The colours of the steps.
pub(crate) fn levels_palette() -> Vec<u8> {
    (0..STEPS).flat_map(|step| loudness(step, STEPS)).collect()
}

/// The step of loudness of a power.
fn level(power: f64, loudest: f64) -> u8 {
    if loudest < SILENCE || power <= 0.0 {
        return 0;
    }
    let decibels = 10.0 * (power / loudest).log10();
    ((1.0 + decibels / DECIBELS).clamp(0.0, 1.0) * (STEPS - 1) as f64).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SpectrogramBuilder;

    #[test]
    fn loudness_is_in_steps_below_the_loudest_cell() {
        assert_eq!([1.0, 1e-4, 1e-8, 1e-12, 0.0].map(|power| level(power, 1.0)), [31, 16, 0, 0, 0]);
        assert_eq!(level(1e-10, 1e-10), 0);
    }

    #[test]
    fn low_frequencies_are_below() {
        let mut builder = SpectrogramBuilder::new(24_000, 0.0, 1.0).unwrap();
        builder.push(&(0..24_000).map(|n| (n as f32 * 0.03).sin()).collect::<Vec<f32>>()); // 115 Hz
        let spectrogram = builder.finish();
        let loudest = spectrogram.levels().iter().position(|level| *level == 31).unwrap() / spectrogram.columns;
        assert!(loudest > spectrogram.rows / 2, "row {loudest} from above");
        assert!(!spectrogram.is_silent() && spectrogram.png_data_uri().unwrap().starts_with("data:image/png;base64,"));
        assert_eq!((spectrogram.seconds(), spectrogram.frequencies()), (0.0..1.0, 40.0..12_000.0));
        assert!(SpectrogramBuilder::new(24_000, 0.0, 1.0).unwrap().finish().is_silent());
    }
}
