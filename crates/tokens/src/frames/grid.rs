//! The grid of frames of an encoder: what a frame covers in samples and in time.

use mert_arch::Config;
use mert_audio::Seconds;

/// The grid of an encoder's frames. Frame i covers the samples from i · hop to i · hop + length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameGrid {
    /// Samples per second, in hertz.
    pub rate: u32,
    /// Samples from the start of a frame to the start of the next.
    pub hop: usize,
    /// Samples that a frame depends on before the transformer.
    pub length: usize,
}

impl FrameGrid {
    /// The grid of a model of the architecture `config` that takes `rate` samples per second.
    pub fn new(config: &Config, rate: u32) -> Self {
        FrameGrid { rate, hop: config.hop().max(1), length: config.receptive_field() }
    }

    /// The number of whole frames in `samples` samples.
    pub fn frames(&self, samples: u64) -> u64 {
        match samples.checked_sub(self.length as u64) {
            Some(rest) => rest / self.hop as u64 + 1,
            None => 0,
        }
    }

    /// The fewest samples that have `frames` frames, one or more.
    pub fn samples(&self, frames: usize) -> usize {
        frames.saturating_sub(1) * self.hop + self.length
    }

    /// The frames per second.
    pub fn frame_rate(&self) -> f64 {
        f64::from(self.rate) / self.hop as f64
    }

    /// The middle of frame `frame`, in seconds from the first sample.
    pub fn middle(&self, frame: u64) -> f64 {
        (frame as f64 * self.hop as f64 + self.length as f64 / 2.0) / f64::from(self.rate)
    }

    /// The whole number of frames that lasts about `seconds`, at least one, and whether it lasts exactly that long.
    pub fn whole_frames(&self, seconds: Seconds) -> (usize, bool) {
        let samples = seconds.get() * f64::from(self.rate);
        let frames = (samples / self.hop as f64).round().max(1.0);
        // Durations have microseconds.
        let exact = (frames * self.hop as f64 - samples).abs() <= 1e-6 * f64::from(self.rate);
        (frames as usize, exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MERT: FrameGrid = FrameGrid { rate: 24_000, hop: 320, length: 400 };

    #[test]
    fn frames_of_mert() {
        // 1 s has 74 whole frames, and 75 take 24,080 samples.
        for (samples, frames) in
            [(0, 0), (399, 0), (400, 1), (719, 1), (720, 2), (24_000, 74), (24_080, 75), (48_000, 149)]
        {
            assert_eq!(MERT.frames(samples), frames, "{samples}");
        }
        assert_eq!(MERT.samples(75), 24_080);
        assert_eq!(MERT.frame_rate(), 75.0);
        assert!((MERT.middle(1) - 520.0 / 24_000.0).abs() < 1e-15);
    }

    #[test]
    fn durations_in_whole_frames() {
        let frames = |text: &str| MERT.whole_frames(text.parse().unwrap());
        assert_eq!(frames("1s"), (75, true));
        assert_eq!(frames("40ms"), (3, true));
        assert_eq!(frames("80ms"), (6, true));
        // 7.5 frames are off the grid.
        assert_eq!(frames("100ms"), (8, false));
        assert_eq!(frames("1ms"), (1, false));
    }
}
