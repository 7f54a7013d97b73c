//! The pitch of a frame.

use super::difference::Difference;
use crate::level::decibels;
use crate::{EventsError, Result};

/// The settings of a [`PitchTracker`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PitchSettings {
    /// The lowest frequency in hertz.
    pub lowest: f64,
    /// The highest frequency in hertz.
    pub highest: f64,
    /// The largest aperiodicity of a pitch, 0 to 1: the normalised difference of the paper, where 0 is periodic.
    pub threshold: f64,
    /// The level below which there is no pitch, in dBFS (RMS).
    pub silence: f64,
}

impl Default for PitchSettings {
    /// 40 Hz to 2 kHz, a threshold of 0.15 and silence below −60 dBFS. The paper has 0.1 for speech; notes of instruments
    /// change more within a frame.
    fn default() -> Self {
        PitchSettings { lowest: 40.0, highest: 2000.0, threshold: 0.15, silence: -60.0 }
    }
}

/// A pitch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pitch {
    /// The fundamental frequency in hertz.
    pub hertz: f64,
    /// One less the aperiodicity, up to 1.
    pub clarity: f64,
    /// The root mean square of the frame.
    pub rms: f64,
}

/// A tracker of the pitch of monophonic sound.
#[derive(Debug)]
pub struct PitchTracker {
    settings: PitchSettings,
    rate: f64,
    window: usize,
    lags: usize,
    difference: Difference,
    frame: Vec<f64>,
    normalised: Vec<f64>,
}

impl PitchTracker {
    /// A tracker of sound at `rate` samples per second.
    ///
    /// # Errors
    /// [`EventsError::Setting`] for a rate or a setting outside its range.
    pub fn new(rate: u32, settings: PitchSettings) -> Result<Self> {
        EventsError::check_rate(rate)?;
        let rate = f64::from(rate);
        EventsError::check_range("lowest pitch", settings.lowest, 10.0, 5000.0)?;
        // Of shorter periods too few samples are there to interpolate.
        EventsError::check_range("highest pitch", settings.highest, 1.5 * settings.lowest, rate / 6.0)?;
        EventsError::check_range("pitch threshold", settings.threshold, 0.001, 1.0)?;
        EventsError::check_range("pitch silence", settings.silence, -200.0, 0.0)?;
        let period = (rate / settings.lowest).ceil() as usize + 2;
        Ok(PitchTracker {
            settings,
            rate,
            // Two periods of the lowest pitch: with one, a fundamental that is weak is missed.
            window: 2 * period,
            lags: period,
            difference: Difference::new(2 * period, period),
            frame: vec![0.0; 3 * period],
            normalised: vec![0.0; period + 1],
        })
    }

    /// The samples of a frame: three periods of the lowest pitch, 75 ms for 40 Hz.
    pub fn frame(&self) -> usize {
        self.window + self.lags
    }

    /// The pitch of a frame of [`PitchTracker::frame`] samples; `None` for silence, noise, samples that are not finite and
    /// frames of another length.
    pub fn pitch(&mut self, frame: &[f32]) -> Option<Pitch> {
        if frame.len() != self.frame() || frame.iter().any(|sample| !sample.is_finite()) {
            return None;
        }
        let mean = frame.iter().map(|&sample| f64::from(sample)).sum::<f64>() / frame.len() as f64;
        for (to, &from) in self.frame.iter_mut().zip(frame) {
            *to = f64::from(from) - mean;
        }
        let rms = (self.frame.iter().map(|x| x * x).sum::<f64>() / frame.len() as f64).sqrt();
        if decibels(rms) < self.settings.silence {
            return None;
        }
        let difference = self.difference.of(&self.frame);
        self.normalised[0] = 1.0;
        let mut sum = 0.0;
        for (lag, (normalised, difference)) in self.normalised.iter_mut().zip(difference).enumerate().skip(1) {
            sum += difference;
            *normalised = if sum > 0.0 { difference * lag as f64 / sum } else { 1.0 };
        }
        let lag = first_dip(&self.normalised, self.settings.threshold)?;
        let period = refined(difference, lag, self.lags);
        let hertz = self.rate / period;
        let is_in_range = (self.settings.lowest..=self.settings.highest).contains(&hertz);
        is_in_range.then_some(Pitch { hertz, clarity: 1.0 - self.normalised[lag], rms })
    }
}

/// The first lag around which the normalised difference is lowest and, interpolated, below the threshold. Of a high pitch
/// with strong partials the values at whole lags are far from the minimum between them, and nearer at twice the period. Lags
/// of pitches above the range count, or a pitch above it would be taken for that an octave below.
fn first_dip(normalised: &[f64], threshold: f64) -> Option<usize> {
    (2..normalised.len() - 1).find(|&lag| {
        let (before, here, after) = (normalised[lag - 1], normalised[lag], normalised[lag + 1]);
        let curvature = before - 2.0 * here + after;
        let lowest = if curvature > 0.0 { here - (before - after).powi(2) / (8.0 * curvature) } else { here };
        before > here && here <= after && lowest < threshold
    })
}

/// The period around a lag, by parabolic interpolation of the difference function, and of that around multiples of it, where
/// the error of the interpolation is shared by several periods.
fn refined(difference: &[f64], lag: usize, lags: usize) -> f64 {
    let mut period = parabola(difference, lag);
    for multiple in [2.0, 4.0, 8.0] {
        let expected = period * multiple;
        let (low, high) = ((expected - 0.3 * period).max(1.0) as usize, (expected + 0.3 * period) as usize);
        if high + 1 > lags {
            break;
        }
        let Some(dip) = (low..=high).min_by(|&a, &b| difference[a].total_cmp(&difference[b])) else {
            break;
        };
        let found = parabola(difference, dip) / multiple;
        // Another dip than that of a multiple of this period is not a refinement: a semitone is 6%.
        if dip == low || dip == high || (found / period - 1.0).abs() > 0.03 {
            break;
        }
        period = found;
    }
    period
}

/// The minimum of the parabola through a value and its neighbours.
fn parabola(values: &[f64], index: usize) -> f64 {
    let (before, here, after) = (values[index - 1], values[index], values[index + 1]);
    let curvature = before - 2.0 * here + after;
    if curvature <= 0.0 {
        return index as f64;
    }
    index as f64 + (0.5 * (before - after) / curvature).clamp(-1.0, 1.0)
}
