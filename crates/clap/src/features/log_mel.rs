//! Padding, frames, spectra and decibels: the input of the audio tower.

use std::sync::Arc;

use rayon::prelude::*;
use realfft::{RealFftPlanner, RealToComplex};

use super::mel::{Band, bank};
use crate::preprocessor::Preprocessor;
use crate::{ClapError, Result};

/// The power that decibels do not go below: -100 dB.
const FLOOR: f64 = 1e-10;

/// The log-mel spectrogram of one window of sound.
///
/// transformers takes a random window of a sound that is longer than the model's; here such a sound is refused. Everything
/// else is its arithmetic in f64, with spectra rounded to f32 as there.
pub struct LogMel {
    preprocessor: Preprocessor,
    bands: Vec<Band>,
    /// The periodic Hann window.
    window: Vec<f64>,
    fft: Arc<dyn RealToComplex<f64>>,
}

impl LogMel {
    /// The spectrogram with a model's settings.
    pub fn new(preprocessor: Preprocessor) -> Self {
        let length = preprocessor.fft_window_size;
        let (low, high) = (preprocessor.frequency_min, preprocessor.frequency_max);
        let bands = bank(preprocessor.feature_size, length / 2 + 1, preprocessor.sampling_rate, low, high);
        let turn = std::f64::consts::TAU / length as f64;
        let window = (0..length).map(|i| 0.5 - 0.5 * (turn * i as f64).cos()).collect();
        LogMel { preprocessor, bands, window, fft: RealFftPlanner::new().plan_fft_forward(length) }
    }

    /// The settings.
    pub fn preprocessor(&self) -> &Preprocessor {
        &self.preprocessor
    }

    /// The spectrogram of `samples` in decibels, frame by frame: [`Preprocessor::frames`] times
    /// [`Preprocessor::feature_size`] values.
    ///
    /// # Errors
    /// [`ClapError::Empty`], [`ClapError::TooLong`] and [`ClapError::Sample`].
    pub fn compute(&self, samples: &[f32]) -> Result<Vec<f32>> {
        let signal = self.padded(samples)?;
        let (hop, bands) = (self.preprocessor.hop_length, self.bands.len());
        let mut mel = vec![0.0; self.preprocessor.frames() * bands];
        mel.par_chunks_mut(bands).enumerate().for_each_init(
            || (self.fft.make_input_vec(), self.fft.make_output_vec(), self.fft.make_scratch_vec()),
            |(input, output, scratch), (frame, mel)| {
                let signal = &signal[frame * hop..];
                input.iter_mut().zip(signal).zip(&self.window).for_each(|((to, sample), window)| *to = sample * window);
                // The buffers have the plan's sizes, so that it cannot fail.
                let _ = self.fft.process_with_scratch(input, output, scratch);
                for (to, band) in mel.iter_mut().zip(&self.bands) {
                    let power = |bin: usize| {
                        let value = output.get(bin).copied().unwrap_or_default();
                        // transformers keeps spectra in complex64.
                        let (re, im) = (f64::from(value.re as f32), f64::from(value.im as f32));
                        re * re + im * im
                    };
                    let sum: f64 =
                        band.weights.iter().enumerate().map(|(i, weight)| weight * power(band.first + i)).sum();
                    *to = (10.0 * sum.max(FLOOR).log10()) as f32;
                }
            },
        );
        Ok(mel)
    }

    /// The samples repeated as often as they fit into the model's window, then silence, and at both ends half a frame of
    /// the signal mirrored.
    fn padded(&self, samples: &[f32]) -> Result<Vec<f64>> {
        let limit = self.preprocessor.max_samples();
        if samples.is_empty() {
            return Err(ClapError::Empty);
        }
        if samples.len() > limit {
            return Err(ClapError::TooLong { found: samples.len(), limit });
        }
        if let Some(index) = samples.iter().position(|sample| !sample.is_finite()) {
            return Err(ClapError::Sample { index, value: samples[index] });
        }
        let repeated = limit / samples.len() * samples.len();
        let at = |index: usize| if index < repeated { f64::from(samples[index % samples.len()]) } else { 0.0 };
        let half = self.preprocessor.fft_window_size / 2;
        let before = (1..=half).rev().map(at);
        // The window is at least one frame long, so that the mirrored part lies inside it.
        let after = (limit - 1 - half..limit - 1).rev().map(at);
        Ok(before.chain((0..limit).map(at)).chain(after).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_mel() -> LogMel {
        LogMel::new(Preprocessor { max_length_s: 1, ..Preprocessor::default() })
    }

    #[test]
    fn padding_repeats_then_is_silent_and_mirrors() {
        let samples: Vec<f32> = (0..20_000).map(|i| i as f32).collect();
        let padded = log_mel().padded(&samples).unwrap();
        assert_eq!(padded.len(), 48_000 + 1024);
        assert_eq!((padded[0], padded[511], padded[512], padded[513]), (512.0, 1.0, 0.0, 1.0));
        assert_eq!((padded[512 + 20_000], padded[512 + 39_999]), (0.0, 19_999.0));
        assert!(padded[512 + 40_000..].iter().all(|&sample| sample == 0.0));
        // A window that is full: the last sample is the mirror's axis.
        let full: Vec<f32> = (0..48_000).map(|i| i as f32).collect();
        let padded = log_mel().padded(&full).unwrap();
        assert_eq!((padded[48_511], padded[48_512], padded[49_023]), (47_999.0, 47_998.0, 47_487.0));
    }

    #[test]
    fn a_tone_has_its_band_and_silence_the_floor() {
        let log_mel = log_mel();
        let tone: Vec<f32> =
            (0..48_000).map(|i| (f64::from(i) * std::f64::consts::TAU * 4000.0 / 48_000.0).sin() as f32).collect();
        let mel = log_mel.compute(&tone).unwrap();
        let frame = &mel[50 * 64..51 * 64];
        let loudest = (0..64).max_by(|&a, &b| frame[a].total_cmp(&frame[b])).unwrap();
        let step = 4000.0 / (24_000.0 / 512.0);
        let band = &log_mel.bands[loudest];
        assert!((band.first as f64..=(band.first + band.weights.len()) as f64).contains(&step));
        assert!(log_mel.compute(&[0.0; 100]).unwrap().iter().all(|&value| value == -100.0));
    }

    #[test]
    fn sounds_that_have_no_window_are_refused() {
        assert!(matches!(log_mel().compute(&[]), Err(ClapError::Empty)));
        assert!(matches!(log_mel().compute(&[0.0; 48_001]), Err(ClapError::TooLong { found: 48_001, limit: 48_000 })));
        let error = log_mel().compute(&[0.0, f32::NAN]).unwrap_err();
        assert!(matches!(error, ClapError::Sample { index: 1, .. }), "{error}");
    }
}
