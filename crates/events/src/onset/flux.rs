//! The spectral flux of frames: by how much the bands rise.

use std::collections::VecDeque;
use std::f64::consts::TAU;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use super::bands::bands;

/// The length of a frame in seconds, rounded to a power of two in samples.
const FRAME: f64 = 0.043;

/// The hops in a frame.
const HOPS: usize = 8;

/// The hops between the frames that are compared, about 16 ms.
const LAG: usize = 3;

/// The amplitude below which a band is linear, not logarithmic: −60 dBFS.
const FLOOR: f64 = 1e-3;

/// The spectral flux of consecutive frames.
pub(super) struct Flux {
    fft: Arc<dyn RealToComplex<f32>>,
    window: Vec<f32>,
    windowed: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    bands: Vec<Range<usize>>,
    /// The factor from a magnitude of the spectrum to the amplitude of a sine.
    scale: f64,
    /// The bands of the last frames, the newest last.
    levels: VecDeque<Vec<f64>>,
}

impl Flux {
    pub(super) fn new(rate: u32) -> Self {
        // The nearest power of two on a logarithmic scale: 1024 at 24 kHz, 2048 at 44.1 kHz and 48 kHz.
        let frame = 1 << (f64::from(rate) * FRAME).log2().round() as u32;
        let window: Vec<f32> =
            (0..frame).map(|n| (0.5 - 0.5 * (TAU * (n as f64 + 0.5) / frame as f64).cos()) as f32).collect();
        let fft = RealFftPlanner::new().plan_fft_forward(frame);
        let bands = bands(rate, frame);
        Flux {
            windowed: vec![0.0; frame],
            spectrum: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            scale: 2.0 / window.iter().map(|&weight| f64::from(weight)).sum::<f64>(),
            levels: VecDeque::from(vec![vec![0.0; bands.len()]; LAG]),
            fft,
            window,
            bands,
        }
    }

    /// The samples of a frame.
    pub(super) fn frame(&self) -> usize {
        self.window.len()
    }

    /// The samples between the starts of frames.
    pub(super) fn hop(&self) -> usize {
        self.window.len() / HOPS
    }

    /// The mean rise of the bands from the frame [`LAG`] hops before to this one. Each band is compared with the largest of
    /// itself and its two neighbours, so that a tone that moves is no rise.
    pub(super) fn push(&mut self, frame: &[f32]) -> f64 {
        for ((windowed, &sample), &weight) in self.windowed.iter_mut().zip(frame).zip(&self.window) {
            *windowed = sample * weight;
        }
        // The lengths are the plan's own; a frame of another length would be an error, and count as no rise.
        if self.fft.process_with_scratch(&mut self.windowed, &mut self.spectrum, &mut self.scratch).is_err() {
            return 0.0;
        }
        let mut levels = self.levels.pop_front().unwrap_or_default();
        let flux = self.levels_after(&mut levels);
        self.levels.push_back(levels);
        flux
    }

    /// Replaces the levels of the frame of [`LAG`] hops before by those of the spectrum, and returns the rise.
    fn levels_after(&self, levels: &mut [f64]) -> f64 {
        let mut rise = 0.0;
        let mut below = f64::NEG_INFINITY;
        for (index, band) in self.bands.iter().enumerate() {
            let before = levels[index];
            let above = levels.get(index + 1).copied().unwrap_or(f64::NEG_INFINITY);
            let power: f64 = self.spectrum[band.clone()].iter().map(|bin| f64::from(bin.norm_sqr())).sum();
            levels[index] = (power.sqrt() * self.scale / FLOOR).ln_1p();
            rise += (levels[index] - before.max(below).max(above)).max(0.0);
            below = before;
        }
        rise / self.bands.len() as f64
    }
}

impl fmt::Debug for Flux {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flux")
            .field("frame", &self.window.len())
            .field("bands", &self.bands.len())
            .finish_non_exhaustive()
    }
}
