//! The choice of onsets among the values of spectral flux, from the past alone.

use std::collections::VecDeque;

use super::OnsetSettings;

/// The rise above the mean that makes an onset at the sensitivities 0 and 1, in natural logarithms a band; in between it
/// falls geometrically.
const INSENSITIVE: f64 = 1.0;
const SENSITIVE: f64 = 0.04;

/// The share of the mean that a flux must exceed as well: where all is in motion, only more motion is an onset.
const RELATIVE: f64 = 1.5;

/// The picker of onsets.
#[derive(Debug)]
pub(super) struct Picker {
    threshold: f64,
    min_gap: usize,
    memory: usize,
    /// The last values, the newest last.
    recent: VecDeque<f64>,
    since_onset: usize,
}

impl Picker {
    /// A picker with a shortest gap and a memory for the mean, in hops.
    pub(super) fn new(settings: OnsetSettings, min_gap: usize, memory: usize) -> Self {
        Picker {
            threshold: INSENSITIVE * (SENSITIVE / INSENSITIVE).powf(settings.sensitivity),
            min_gap,
            memory,
            // Silence before the first frame.
            recent: VecDeque::from(vec![0.0; memory]),
            since_onset: min_gap,
        }
    }

    /// Whether the newest value is an onset, by how much it exceeds the threshold: it is at least as large as the last two,
    /// and above the mean of the memory.
    pub(super) fn push(&mut self, flux: f64) -> Option<f64> {
        let mean = self.recent.iter().sum::<f64>() / self.memory as f64;
        let is_rising = self.recent.iter().rev().take(2).all(|&before| flux >= before);
        let excess = flux - (RELATIVE * mean + self.threshold);
        self.recent.pop_front();
        self.recent.push_back(flux);
        self.since_onset = self.since_onset.saturating_add(1);
        let is_onset = is_rising && excess > 0.0 && self.since_onset > self.min_gap;
        if is_onset {
            self.since_onset = 0;
        }
        is_onset.then_some(excess)
    }
}
