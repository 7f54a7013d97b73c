use serde::Serialize;

use super::{Engine, FmaPeak, PeakMemory, Timing, Workload};

/// What one engine did with one workload on some threads.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What ran.
    pub engine: String,
    /// On how many threads.
    pub threads: usize,
    /// Windows in a run.
    pub batch: usize,
    /// Samples in a window.
    pub samples: usize,
    /// Seconds of audio in a window.
    pub audio_seconds: f64,
    /// Frames of a window.
    pub frames: usize,
    /// The runs.
    #[serde(flatten)]
    pub timing: Timing,
    /// The arithmetic of a run's matrix products, in 10⁹ operations.
    pub gflop: f64,
    /// The share of it that grows with the square of the window's length: attention's two products.
    pub attention_share: f64,
    /// The same per second, at the median.
    pub gflops: f64,
    /// 10⁹ operations per second that so many threads reach on nothing but f32 FMAs, if that was measured.
    pub peak: Option<FmaPeak>,
    /// `gflops` as a share of the peak.
    pub share_of_peak: Option<f64>,
    /// Seconds of audio per second of computation, at the median.
    pub real_time_factor: f64,
    /// Windows per second, at the median.
    pub windows_per_second: f64,
    /// The most memory that was resident, if that can be told.
    pub peak_memory: Option<PeakMemory>,
    /// How it compares with the row before, which it took turns with.
    pub compared: Option<Comparison>,
}

/// How an engine compares with the one that it took turns with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Comparison {
    /// Its median divided by the other's.
    pub ratio: f64,
    /// The NMSE between the two highest wanted hidden states.
    pub nmse: f64,
}

impl Row {
    /// A row without peaks or a comparison.
    pub fn new(engine: &dyn Engine, workload: &Workload, threads: usize, timing: Timing) -> Self {
        let gflop = workload.flops() / 1e9;
        let windows_per_second = workload.batch() as f64 / timing.median;
        Row {
            engine: engine.name().to_string(),
            threads,
            batch: workload.batch(),
            samples: workload.clip().len(),
            audio_seconds: workload.audio_seconds(),
            frames: workload.frames(),
            gflop,
            attention_share: workload.attention_share(),
            gflops: gflop / timing.median,
            peak: None,
            share_of_peak: None,
            real_time_factor: workload.audio_seconds() * windows_per_second,
            windows_per_second,
            peak_memory: None,
            compared: None,
            timing,
        }
    }

    /// With the peak that its rate is seen against.
    #[must_use]
    pub fn with_peak(mut self, peak: Option<FmaPeak>) -> Self {
        self.share_of_peak = peak.map(|peak| self.gflops / peak.gflops);
        self.peak = peak;
        self
    }
}
