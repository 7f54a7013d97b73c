//! The level of sound, which a player needs to see that the input is alive.

/// A level in decibels relative to full scale (dBFS): 0 is a sample of ±1, −∞ is digital silence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// The largest magnitude of a sample.
    pub peak: f64,
    /// The root mean square. A sine of amplitude 1 is −3.01, as in AES17 without its correction of 3 dB.
    pub rms: f64,
    /// The samples whose magnitude is 1 or more.
    pub clipped: u64,
    /// The samples that were no finite numbers; they count as 0.
    pub invalid: u64,
    /// The number of samples.
    pub samples: u64,
}

/// The meter of the samples since its last reading.
#[derive(Debug, Clone, Default)]
pub struct LevelMeter {
    peak: f64,
    squares: f64,
    clipped: u64,
    invalid: u64,
    samples: u64,
}

impl LevelMeter {
    /// A meter without samples.
    pub fn new() -> Self {
        Self::default()
    }

    /// Measures a block of samples.
    pub fn push(&mut self, block: &[f32]) {
        for &sample in block {
            self.samples += 1;
            if !sample.is_finite() {
                self.invalid += 1;
                continue;
            }
            let magnitude = f64::from(sample).abs();
            self.peak = self.peak.max(magnitude);
            self.squares += magnitude * magnitude;
            self.clipped += u64::from(magnitude >= 1.0);
        }
    }

    /// The level of the samples since the last reading, which starts the next one.
    pub fn read(&mut self) -> Level {
        let meter = std::mem::take(self);
        let mean = if meter.samples == 0 { 0.0 } else { meter.squares / meter.samples as f64 };
        Level {
            peak: decibels(meter.peak),
            rms: decibels(mean.sqrt()),
            clipped: meter.clipped,
            invalid: meter.invalid,
            samples: meter.samples,
        }
    }
}

/// The level of samples.
pub fn level(samples: &[f32]) -> Level {
    let mut meter = LevelMeter::new();
    meter.push(samples);
    meter.read()
}

/// An amplitude in dBFS; −∞ for 0.
pub fn decibels(amplitude: f64) -> f64 {
    20.0 * amplitude.log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sine_has_its_peak_and_three_decibels_less() {
        let sine: Vec<f32> = (0..48_000).map(|n| 0.5 * (n as f32 * std::f32::consts::TAU / 48.0).sin()).collect();
        let mut meter = LevelMeter::new();
        sine.chunks(77).for_each(|block| meter.push(block));
        let read = meter.read();
        assert!((read.peak + 6.0206).abs() < 1e-3 && (read.rms + 9.0309).abs() < 1e-3, "{read:?}");
        assert_eq!((read.samples, read.clipped, read.invalid), (48_000, 0, 0));
        assert_eq!(meter.read().samples, 0);
    }

    #[test]
    fn silence_clipping_and_invalid_samples_show() {
        assert_eq!(level(&[0.0; 9]).peak, f64::NEG_INFINITY);
        assert_eq!(level(&[]).rms, f64::NEG_INFINITY);
        let bad = level(&[f32::NAN, 1.0, -1.5, f32::INFINITY]);
        assert_eq!((bad.clipped, bad.invalid), (2, 2));
        assert!((bad.peak - decibels(1.5)).abs() < 1e-12);
    }
}
