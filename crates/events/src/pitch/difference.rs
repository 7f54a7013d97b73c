//! The difference function of YIN, computed with three transforms.

use std::fmt;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

/// The computation of d(τ) = Σ (xⱼ − xⱼ₊τ)² over j < `window`, for τ from 0 to `lags`.
pub(super) struct Difference {
    window: usize,
    lags: usize,
    forward: Arc<dyn RealToComplex<f64>>,
    inverse: Arc<dyn ComplexToReal<f64>>,
    head: Vec<f64>,
    all: Vec<f64>,
    head_spectrum: Vec<Complex<f64>>,
    all_spectrum: Vec<Complex<f64>>,
    scratch: Vec<Complex<f64>>,
    values: Vec<f64>,
}

impl Difference {
    pub(super) fn new(window: usize, lags: usize) -> Self {
        let length = (window + lags).next_power_of_two();
        let mut planner = RealFftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(length), planner.plan_fft_inverse(length));
        let scratch = forward.get_scratch_len().max(inverse.get_scratch_len());
        Difference {
            window,
            lags,
            head: vec![0.0; length],
            all: vec![0.0; length],
            head_spectrum: forward.make_output_vec(),
            all_spectrum: forward.make_output_vec(),
            scratch: vec![Complex::default(); scratch],
            values: vec![0.0; lags + 1],
            forward,
            inverse,
        }
    }

    /// The difference function of a frame of `window + lags` samples.
    pub(super) fn of(&mut self, frame: &[f64]) -> &[f64] {
        self.head.fill(0.0);
        self.head[..self.window].copy_from_slice(&frame[..self.window]);
        self.all.fill(0.0);
        self.all[..frame.len()].copy_from_slice(frame);
        // The buffers have the plans' lengths; zeros, an unvoiced frame, if that ever fails.
        let is_correlated = self
            .forward
            .process_with_scratch(&mut self.head, &mut self.head_spectrum, &mut self.scratch)
            .and_then(|()| self.forward.process_with_scratch(&mut self.all, &mut self.all_spectrum, &mut self.scratch))
            .and_then(|()| {
                for (all, head) in self.all_spectrum.iter_mut().zip(&self.head_spectrum) {
                    *all *= head.conj();
                }
                // Both ends are real by construction, as the inverse transform demands.
                self.inverse.process_with_scratch(&mut self.all_spectrum, &mut self.all, &mut self.scratch)
            })
            .is_ok();
        if !is_correlated {
            self.values.fill(0.0);
            return &self.values;
        }
        let scale = 1.0 / self.all.len() as f64;
        let start: f64 = frame[..self.window].iter().map(|x| x * x).sum();
        let mut energy = start;
        for lag in 0..=self.lags {
            self.values[lag] = (start + energy - 2.0 * self.all[lag] * scale).max(0.0);
            if lag < self.lags {
                energy += frame[lag + self.window] * frame[lag + self.window] - frame[lag] * frame[lag];
            }
        }
        self.values[0] = 0.0;
        &self.values
    }
}

impl fmt::Debug for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Difference").field("window", &self.window).field("lags", &self.lags).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transforms_give_the_sum_of_the_definition() {
        let frame: Vec<f64> = (0..160).map(|n| ((n * n % 37) as f64 - 18.0) / 18.0).collect();
        let mut difference = Difference::new(100, 60);
        let values = difference.of(&frame);
        for (lag, value) in values.iter().enumerate() {
            let expected: f64 = (0..100).map(|j| (frame[j] - frame.get(j + lag).unwrap_or(&0.0)).powi(2)).sum();
            assert!((value - expected).abs() < 1e-9, "{lag}: {value} {expected}");
        }
    }
}
