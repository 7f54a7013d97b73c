//! The workload of a benchmark: input windows and the wanted hidden states.

use anyhow::{Context, bail};
use candle_core::{Device, Tensor};
use mert_arch::{Config, attention_flops, forward_flops};

/// The computation of one run: the wanted hidden states of a batch of equal windows.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    clip: Vec<f32>,
    batch: usize,
    wanted: Vec<usize>,
    highest: usize,
    rate: u32,
    frames: usize,
    window_flops: f64,
    attention_share: f64,
}

impl Workload {
    /// Makes windows of `seconds` of generated, music-like input at `rate` hertz. The highest of the `wanted` hidden
    /// states determines how many layers run. Fails for windows shorter than a frame, or without windows.
    pub(crate) fn generated(
        config: &Config,
        rate: u32,
        seconds: f64,
        batch: usize,
        wanted: &[usize],
    ) -> anyhow::Result<Self> {
        let samples = (seconds * f64::from(rate)).round() as usize;
        Workload::of_clip(config, rate, mert_audio::music_like(samples, rate), batch, wanted)
    }

    /// Makes windows that all hold `clip`, at `rate` hertz, exactly as it enters the model. Fails as
    /// [`Workload::generated`].
    pub(crate) fn of_clip(
        config: &Config,
        rate: u32,
        clip: Vec<f32>,
        batch: usize,
        wanted: &[usize],
    ) -> anyhow::Result<Self> {
        let (Some(frames), Some(&highest), true) = (config.frames(clip.len()), wanted.iter().max(), batch > 0) else {
            bail!(
                "nothing to time: {batch} windows of {} samples (a frame needs {}), {} hidden states",
                clip.len(),
                config.receptive_field(),
                wanted.len(),
            );
        };
        let window_flops = forward_flops(config, clip.len(), highest);
        let attention_share = attention_flops(config, clip.len(), highest) / window_flops;
        Ok(Workload { clip, batch, wanted: wanted.to_vec(), highest, rate, frames, window_flops, attention_share })
    }

    /// The samples of one window.
    pub(crate) fn clip(&self) -> &[f32] {
        &self.clip
    }

    /// The number of windows in a run.
    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    /// The hidden states to return.
    pub(crate) fn wanted(&self) -> &[usize] {
        &self.wanted
    }

    /// The highest wanted hidden state, which is the number of layers that run.
    pub(crate) fn highest(&self) -> usize {
        self.highest
    }

    /// The number of frames of a window.
    pub(crate) fn frames(&self) -> usize {
        self.frames
    }

    /// The seconds of audio in a window.
    pub(crate) fn audio_seconds(&self) -> f64 {
        self.clip.len() as f64 / f64::from(self.rate)
    }

    /// The floating-point operations of a run's matrix products, as [`forward_flops`] counts them.
    pub(crate) fn flops(&self) -> f64 {
        self.batch as f64 * self.window_flops
    }

    /// The share of the operations that grows with the square of a window's length.
    pub(crate) fn attention_share(&self) -> f64 {
        self.attention_share
    }

    /// The input, `(batch, samples)`, on the CPU. Fails if there is no memory for it.
    pub(crate) fn input(&self) -> anyhow::Result<Tensor> {
        let mut input = Vec::new();
        let samples = self.batch.saturating_mul(self.clip.len());
        input.try_reserve_exact(samples).with_context(|| {
            let megabytes = samples * size_of::<f32>() / 1_000_000;
            format!("the input alone needs {megabytes} MB, more memory than there is: use fewer or shorter windows")
        })?;
        (0..self.batch).for_each(|_| input.extend_from_slice(&self.clip));
        Ok(Tensor::from_vec(input, (self.batch, self.clip.len()), &Device::Cpu)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_that_many_windows() {
        let config = Config::mert_v1_95m();
        let one = Workload::generated(&config, 24_000, 5.0, 1, &[6]).unwrap();
        let four = Workload::generated(&config, 24_000, 5.0, 4, &[6]).unwrap();
        assert_eq!((one.frames(), one.audio_seconds(), one.clip().len()), (374, 5.0, 120_000));
        assert_eq!((four.frames(), four.audio_seconds()), (374, 5.0));
        assert_eq!(four.flops(), 4.0 * one.flops());
        assert_eq!(four.input().unwrap().dims(), [4, 120_000]);
        assert_eq!(four.attention_share(), one.attention_share());
        assert!((0.0..0.2).contains(&one.attention_share()));
        assert!(one.flops() < Workload::generated(&config, 24_000, 5.0, 1, &[12]).unwrap().flops());
    }

    #[test]
    fn nothing_is_not_timed() {
        let config = Config::mert_v1_95m();
        for (seconds, batch, wanted) in [(0.001, 1, &[0][..]), (1.0, 0, &[0]), (1.0, 1, &[])] {
            let error = Workload::generated(&config, 24_000, seconds, batch, wanted).unwrap_err().to_string();
            assert!(error.contains("nothing to time"), "{error}");
        }
    }
}
