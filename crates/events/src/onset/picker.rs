//! The choice of onsets among the values of spectral flux, from the past alone.

use std::collections::VecDeque;

use super::OnsetSettings;

/// The rise above the mean that makes an onset at the sensitivities 0 and 1, in natural logarithms a band; in between it
/// falls geometrically.
const INSENSITIVE: f64 = 0.6;
const SENSITIVE: f64 = 0.01;

/// The share of the largest flux of the last seconds to which that rise is lowered where all rises are small, as in dense
/// music, and the share of itself below which it is not lowered.
const OF_LARGEST: f64 = 0.2;
const LOWEST: f64 = 0.6;

/// The seconds in which the memory of the largest flux falls by a factor of e.
const FADING: f64 = 2.7;

/// The seconds of the mean, and the factor of it that a flux must exceed as well: where all is in motion, only more motion is
/// an onset.
const MEMORY: f64 = 0.2;
const RELATIVE: f64 = 1.5;

/// The picker of onsets.
#[derive(Debug)]
pub(super) struct Picker {
    threshold: f64,
    min_gap: usize,
    /// The last values, the newest last.
    recent: VecDeque<f64>,
    largest: f64,
    fading: f64,
    since_onset: usize,
}

impl Picker {
    /// A picker of values that are `hop` seconds apart.
    pub(super) fn new(settings: OnsetSettings, hop: f64) -> Self {
        let hops = |seconds: f64| (seconds / hop).round().max(1.0) as usize;
        let min_gap = hops(settings.min_gap);
        Picker {
            threshold: INSENSITIVE * (SENSITIVE / INSENSITIVE).powf(settings.sensitivity),
            min_gap,
            // Silence before the first frame.
            recent: VecDeque::from(vec![0.0; hops(MEMORY)]),
            largest: 0.0,
            fading: (-hop / FADING).exp(),
            since_onset: min_gap,
        }
    }

    /// Whether the newest value is an onset, by how much it exceeds the threshold: it is at least as large as the last two,
    /// and above the mean of the memory.
    pub(super) fn push(&mut self, flux: f64) -> Option<f64> {
        let mean = self.recent.iter().sum::<f64>() / self.recent.len() as f64;
        let is_rising = self.recent.iter().rev().take(2).all(|&before| flux >= before);
        let threshold = (OF_LARGEST * self.largest).clamp(LOWEST * self.threshold, self.threshold);
        let excess = flux - (RELATIVE * mean + threshold);
        self.largest = (self.largest * self.fading).max(flux);
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
