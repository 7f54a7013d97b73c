//! The detector of onsets, for recordings and for live sound: spectral flux in bands of a semitone with a maximum filter
//! against vibrato, and peak picking that looks only back.
//!
//! Sources: S. Böck, F. Krebs and M. Schedl, "Evaluating the online capabilities of onset detection methods", ISMIR 2012 (the
//! flux of a logarithmic filterbank, and the peak picking without a look ahead); S. Böck and G. Widmer, "Maximum filter vibrato
//! suppression for onset detection", DAFx 2013 (the maximum over neighbouring bands of the earlier frame). What differs: frames
//! are closer and shorter, for less latency, and an onset is placed in the newest frame by the rise of energy.

mod attack;
mod bands;
mod flux;
mod picker;

use self::attack::attack;
use self::flux::Flux;
use self::picker::Picker;
use crate::{EventsError, Result};

/// The settings of an [`OnsetDetector`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OnsetSettings {
    /// How small a rise counts, from 0, only strong attacks, to 1.
    pub sensitivity: f64,
    /// The shortest time between onsets in seconds, 0.02 to 10.
    pub min_gap: f64,
}

impl Default for OnsetSettings {
    /// A sensitivity of 0.5 and a gap of 60 ms, about the length of a frame and the lag of the flux together, within which
    /// one attack could otherwise fire twice.
    fn default() -> Self {
        OnsetSettings { sensitivity: 0.5, min_gap: 0.06 }
    }
}

/// An onset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Onset {
    /// The sample at which the attack starts, as far as it can be told from the energy.
    pub sample: u64,
    /// The number of samples that had been heard when the onset was detected.
    pub detected_at: u64,
    /// The spectral flux above the threshold, in natural logarithms of amplitude a band.
    pub strength: f64,
}

/// A detector of onsets that is given blocks of samples and reports an onset as soon as it is detected. Its results do not
/// depend on how the samples are cut into blocks.
#[derive(Debug)]
pub struct OnsetDetector {
    flux: Flux,
    picker: Picker,
    rate: u32,
    hop: usize,
    /// The samples of the newest frame, and those after it.
    pending: Vec<f32>,
    /// The number of samples that have been given.
    heard: u64,
    invalid: u64,
}

impl OnsetDetector {
    /// A detector of sound at `rate` samples per second.
    ///
    /// # Errors
    /// [`EventsError::Setting`] for a rate below 4,000 or a setting outside its range.
    pub fn new(rate: u32, settings: OnsetSettings) -> Result<Self> {
        EventsError::check_rate(rate)?;
        EventsError::check_range("sensitivity", settings.sensitivity, 0.0, 1.0)?;
        EventsError::check_range("gap between onsets", settings.min_gap, 0.02, 10.0)?;
        let flux = Flux::new(rate);
        let hop = flux.hop();
        Ok(OnsetDetector {
            picker: Picker::new(settings, hop as f64 / f64::from(rate)),
            // Silence before the first sample, so that a sound at once is an onset.
            pending: vec![0.0; flux.frame() - hop],
            flux,
            rate,
            hop,
            heard: 0,
            invalid: 0,
        })
    }

    /// The most samples that pass from [`Onset::sample`] to [`Onset::detected_at`]: a frame, about 43 ms. Usual is a third
    /// of it.
    pub fn latency(&self) -> u64 {
        self.flux.frame() as u64
    }

    /// The samples between two decisions, about 5 ms.
    pub fn hop(&self) -> u64 {
        self.hop as u64
    }

    /// The samples that were no finite numbers. They count as 0.
    pub fn invalid(&self) -> u64 {
        self.invalid
    }

    /// Adds a block of samples and returns the onsets that are detected in it, in order.
    pub fn push(&mut self, block: &[f32]) -> Vec<Onset> {
        let mut onsets = Vec::new();
        let mut rest = block;
        let frame = self.flux.frame();
        while !rest.is_empty() {
            let (taken, left) = rest.split_at(rest.len().min(frame - self.pending.len()));
            self.heard += taken.len() as u64;
            self.invalid += taken.iter().filter(|sample| !sample.is_finite()).count() as u64;
            self.pending.extend(taken.iter().map(|&sample| if sample.is_finite() { sample } else { 0.0 }));
            rest = left;
            if self.pending.len() == frame {
                let flux = self.flux.push(&self.pending);
                if let Some(strength) = self.picker.push(flux) {
                    onsets.push(self.onset(strength));
                }
                self.pending.drain(..self.hop);
            }
        }
        onsets
    }

    /// The onset in the newest frame.
    fn onset(&self, strength: f64) -> Onset {
        let start = self.heard as i64 - self.pending.len() as i64;
        let place = attack(&self.pending, self.rate) as i64;
        Onset { sample: u64::try_from(start + place).unwrap_or(0), detected_at: self.heard, strength }
    }
}

/// The onsets of a whole recording, as the detector finds them live.
///
/// # Errors
/// [`EventsError::Setting`].
pub fn onsets(samples: &[f32], rate: u32, settings: OnsetSettings) -> Result<Vec<Onset>> {
    Ok(OnsetDetector::new(rate, settings)?.push(samples))
}

#[cfg(test)]
mod tests;
