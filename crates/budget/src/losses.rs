//! The errors of hidden states as flat lists of losses, in which the errors of layers add up.
//!
//! A loss is the NMSE of a hidden state, or the distance of a cosine similarity from 1. All are quadratic in a small error,
//! and the errors that layers add are nearly uncorrelated, so that their losses add up, frame by frame.

use std::ops::Range;

use crate::goal::Criterion;

/// The loss in place of one that is not finite. Sums of it stay finite.
const BEYOND_MEASURE: f64 = 1e6;

/// The order of losses in a list: clip by clip, hidden state by hidden state, and of each the NMSE, the pooled cosine's and
/// every frame's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LossLayout {
    /// The number of frames of each clip.
    frames: Vec<usize>,
    states: usize,
}

impl LossLayout {
    pub(crate) fn new(frames: Vec<usize>, states: usize) -> Self {
        LossLayout { frames, states }
    }

    /// The number of hidden states.
    pub(crate) fn states(&self) -> usize {
        self.states
    }

    /// The number of losses.
    pub(crate) fn len(&self) -> usize {
        self.frames.iter().map(|frames| (frames + 2) * self.states).sum()
    }

    /// The losses of one hidden state of a clip.
    pub(crate) fn range(&self, clip: usize, state: usize) -> Range<usize> {
        let before: usize = self.frames[..clip].iter().map(|frames| (frames + 2) * self.states).sum();
        let size = self.frames[clip] + 2;
        before + state * size..before + (state + 1) * size
    }

    /// The hidden state, the criterion and the weight among its like of each loss, in order.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let slots = self.frames.iter().flat_map(|&frames| (0..self.states).map(move |state| (frames, state)));
        let entry = |state, criterion, among| Entry { state, criterion, among };
        slots
            .flat_map(|(frames, state)| {
                let whole = [entry(state, Criterion::Nmse, 1), entry(state, Criterion::Pooled, 1)];
                whole.into_iter().chain((0..frames).map(move |_| entry(state, Criterion::Frame, frames)))
            })
            .collect()
    }
}

/// The hidden state and criterion of a loss.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) state: usize,
    pub(crate) criterion: Criterion,
    /// The number of losses of this criterion on the same hidden state and clip.
    pub(crate) among: usize,
}

/// Fills in the losses of a hidden state `(frames, width)` beside its reference.
pub(crate) fn fill(losses: &mut [f32], state: &[f32], reference: &[f32], width: usize) {
    let (mut error, mut energy) = (0.0, 0.0);
    let (mut pooled, mut pooled_reference) = (vec![0f64; width], vec![0f64; width]);
    let frames = state.chunks_exact(width).zip(reference.chunks_exact(width));
    for ((x, y), loss) in frames.zip(&mut losses[2..]) {
        let mut products = Products::default();
        for ((&x, &y), (sum, sum_reference)) in x.iter().zip(y).zip(pooled.iter_mut().zip(&mut pooled_reference)) {
            let (x, y) = (f64::from(x), f64::from(y));
            products.add(x, y);
            *sum += x;
            *sum_reference += y;
        }
        error += products.difference;
        energy += products.reference;
        *loss = products.loss();
    }
    let mut products = Products::default();
    pooled.iter().zip(&pooled_reference).for_each(|(&x, &y)| products.add(x, y));
    losses[0] = measured(if error == 0.0 { 0.0 } else { error / energy });
    losses[1] = products.loss();
}

/// The sums of which a cosine similarity is made.
#[derive(Default)]
struct Products {
    candidate: f64,
    reference: f64,
    both: f64,
    difference: f64,
}

impl Products {
    #[inline(always)]
    fn add(&mut self, x: f64, y: f64) {
        self.candidate += x * x;
        self.reference += y * y;
        self.both += x * y;
        self.difference += (x - y) * (x - y);
    }

    /// 1 − cosine similarity; 0 for two equal vectors, zeros included.
    fn loss(&self) -> f32 {
        if self.difference == 0.0 {
            return 0.0;
        }
        let sizes = self.candidate * self.reference;
        measured(if sizes == 0.0 { 1.0 } else { 1.0 - self.both / sizes.sqrt() })
    }
}

fn measured(loss: f64) -> f32 {
    let loss = if loss.is_finite() { loss.clamp(0.0, BEYOND_MEASURE) } else { BEYOND_MEASURE };
    loss as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let layout = LossLayout::new(vec![2, 1], 2);
        assert_eq!((layout.len(), layout.range(0, 1), layout.range(1, 1)), (14, 4..8, 11..14));
        let entries = layout.entries();
        assert_eq!(entries.len(), 14);
        assert_eq!(
            (entries[4].state, entries[4].criterion, entries[5].criterion),
            (1, Criterion::Nmse, Criterion::Pooled)
        );
        assert_eq!((entries[6].criterion, entries[6].among, entries[13].among), (Criterion::Frame, 2, 1));
        let mut losses = [9.0; 4];
        fill(&mut losses, &[3.0, 4.0, 0.0, 1.0], &[3.0, 4.0, 1.0, 0.0], 2);
        // Means (1.5, 2.5) and (2, 2): 8 / (√8.5 · √8).
        let pooled = 1.0 - 8.0 / (8f64.sqrt() * 8.5f64.sqrt());
        assert_eq!((losses[0], losses[2], losses[3]), ((2.0 / 26.0) as f32, 0.0, 1.0));
        assert!((f64::from(losses[1]) - pooled).abs() < 1e-7);
        fill(&mut losses, &[f32::NAN, 4.0, 0.0, 0.0], &[3.0, 4.0, 0.0, 0.0], 2);
        assert_eq!(losses, [1e6, 1e6, 1e6, 0.0]);
    }
}
