//! A row of the benchmark's result: the measurements of one engine, and the numbers that follow from them.

use serde::Serialize;

use super::{Engine, FmaPeak, PeakMemory, RunTimes, Workload};

/// The measurements of one engine on one workload and number of threads.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    /// The name and version of the engine.
    pub(crate) engine: String,
    /// The number of threads.
    pub(crate) threads: usize,
    /// The number of windows in a run.
    pub(crate) batch: usize,
    /// The number of samples in a window.
    pub(crate) samples: usize,
    /// The seconds of audio in a window.
    pub(crate) audio_seconds: f64,
    /// The number of frames of a window.
    pub(crate) frames: usize,
    /// The durations of the runs.
    #[serde(flatten)]
    pub(crate) times: RunTimes,
    /// The arithmetic of a run's matrix products, in 10⁹ operations.
    pub(crate) gflop: f64,
    /// The share of the arithmetic that grows with the square of the window's length: attention's two products.
    pub(crate) attention_share: f64,
    /// The rate in 10⁹ operations per second, at the median.
    pub(crate) gflops: f64,
    /// The arithmetic peak of the same number of threads, if it was measured.
    pub(crate) peak: Option<FmaPeak>,
    /// `gflops` as a share of the peak.
    pub(crate) share_of_peak: Option<f64>,
    /// The seconds of audio per second of computation, at the median.
    pub(crate) real_time_factor: f64,
    /// The number of windows per second, at the median.
    pub(crate) windows_per_second: f64,
    /// The peak of the resident memory, if the system reports it.
    pub(crate) peak_memory: Option<PeakMemory>,
    /// The comparison with the preceding row, with which it was interleaved.
    pub(crate) compared: Option<RelativeTime>,
}

/// The time of an engine relative to the one that it was interleaved with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct RelativeTime {
    /// The median divided by the other engine's.
    pub(crate) ratio: f64,
    /// The NMSE between the two highest wanted hidden states.
    pub(crate) nmse: f64,
}

impl Row {
    /// Makes a row without peaks or a comparison.
    pub(crate) fn new(engine: &dyn Engine, workload: &Workload, threads: usize, times: RunTimes) -> Self {
        let gflop = workload.flops() / 1e9;
        let windows_per_second = workload.batch() as f64 / times.median;
        Row {
            engine: engine.name().to_string(),
            threads,
            batch: workload.batch(),
            samples: workload.clip().len(),
            audio_seconds: workload.audio_seconds(),
            frames: workload.frames(),
            gflop,
            attention_share: workload.attention_share(),
            gflops: gflop / times.median,
            peak: None,
            share_of_peak: None,
            real_time_factor: workload.audio_seconds() * windows_per_second,
            windows_per_second,
            peak_memory: None,
            compared: None,
            times,
        }
    }

    /// Adds the arithmetic peak and the share of it that the engine reached.
    #[must_use]
    pub(crate) fn with_peak(mut self, peak: Option<FmaPeak>) -> Self {
        self.share_of_peak = peak.map(|peak| self.gflops / peak.gflops);
        self.peak = peak;
        self
    }
}
