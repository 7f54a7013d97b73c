//! Timing the forward pass.

use std::time::Instant;

use mert_runtime::Model;
use mert_spec::forward_flops;
use serde::Serialize;

use crate::{Result, VerifyError, signal};

/// What to time.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// Seconds of audio in a run.
    pub seconds: f64,
    /// Runs counted, after one that is not.
    pub runs: usize,
    /// Hidden states asked for; the highest one decides how many layers run.
    pub layers: Vec<usize>,
}

/// What was timed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchResult {
    /// Input length in samples.
    pub samples: usize,
    /// Input length in seconds of audio.
    pub audio_seconds: f64,
    /// Frames that it gives.
    pub frames: usize,
    /// Wall-clock seconds of each run, in order.
    pub seconds: Vec<f64>,
    /// Their median.
    pub median: f64,
    /// The fastest.
    pub min: f64,
    /// The slowest.
    pub max: f64,
    /// Matrix-product arithmetic per second at the median, in 10⁹ operations.
    pub gflops: f64,
    /// Seconds of audio per second of computation, at the median.
    pub real_time_factor: f64,
}

/// Times forward passes over generated input. The hidden states are brought to the CPU in each run, so
/// that a GPU's work is waited for.
///
/// # Errors
/// [`VerifyError::NothingToCompare`] for no runs or an input too short for a frame.
pub fn bench(model: &Model, options: &BenchOptions) -> Result<BenchResult> {
    let config = model.config();
    let rate = config.sample_rate.unwrap_or(16_000);
    let samples = (options.seconds * f64::from(rate)).round() as usize;
    let (Some(frames), true) = (config.frames(samples), options.runs > 0) else {
        return Err(VerifyError::NothingToCompare(format!(
            "nothing to time: {} runs of {samples} samples (a frame needs {})",
            options.runs,
            config.receptive_field()
        )));
    };
    let clip = signal::music_like(samples, rate);
    let run = || crate::candidate::cumulative(model, &clip, &options.layers);
    run()?;
    let mut seconds = Vec::with_capacity(options.runs);
    for _ in 0..options.runs {
        let started = Instant::now();
        run()?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    let mut sorted = seconds.clone();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
    let last = options.layers.iter().copied().max().unwrap_or(0);
    let audio_seconds = samples as f64 / f64::from(rate);
    Ok(BenchResult {
        samples,
        audio_seconds,
        frames,
        median,
        min: sorted[0],
        max: sorted[sorted.len() - 1],
        gflops: forward_flops(config, samples, last) / median / 1e9,
        real_time_factor: audio_seconds / median,
        seconds,
    })
}
