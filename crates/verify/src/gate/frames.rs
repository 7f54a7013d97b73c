//! What is kept of a comparison beside its verdict, for a report that shows where in the clip the model differs: the cosine of
//! every frame, and the samples around the worst one. Nothing here judges.

use std::collections::BTreeMap;

use mert_arch::Config;
use ndarray::{ArrayView3, Axis};

use super::comparison::Comparison;
use super::layer::LayerVerdict;
use crate::candidate::HiddenStates;
use crate::metrics::frame_cosines;

/// The number of comparisons of a model whose frames are kept: the failed ones first, then those with the largest NMSE.
pub(crate) const MAX_FRAME_RECORDS: usize = 12;

/// The longest passage that is kept, in seconds.
const PASSAGE: f64 = 8.0;

/// The frames of a comparison, and the passage of the clip around the worst of them.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameRecord {
    /// The cosine similarity of each two corresponding frames, by hidden state; those that could not be compared are missing.
    pub cosines: BTreeMap<usize, Vec<f64>>,
    /// The times of the frames.
    pub times: FrameTimes,
    /// The length of the clip in samples.
    pub clip_samples: usize,
    /// The first sample of the passage.
    pub passage_start: usize,
    /// The samples of the passage, as they enter the model.
    pub passage: Vec<f32>,
}

/// The times that the frames of a model are computed from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameTimes {
    /// The sampling rate of the clip in hertz.
    pub sampling_rate: u32,
    /// The distance of two frames in samples.
    pub hop: usize,
    /// The samples that the feature extractor computes a frame from.
    pub receptive_field: usize,
}

/// A frame of a hidden state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameDistance {
    /// The index of the hidden state.
    pub hidden_state: usize,
    /// The index of the frame.
    pub frame: usize,
    /// The cosine similarity with the reference's frame.
    pub cosine: f64,
}

impl FrameTimes {
    pub(super) fn new(config: &Config, sampling_rate: u32) -> Self {
        FrameTimes { sampling_rate, hop: config.hop(), receptive_field: config.receptive_field() }
    }

    /// The seconds from the start of the clip to the middle of the samples that a frame is computed from.
    pub fn middle(&self, frame: usize) -> f64 {
        self.seconds(frame * self.hop) + self.seconds(self.receptive_field) / 2.0
    }

    /// The duration of samples.
    pub fn seconds(&self, samples: usize) -> f64 {
        samples as f64 / f64::from(self.sampling_rate.max(1))
    }
}

impl FrameRecord {
    /// The frames of `found` beside those of `reference`, `(hidden states, frames, width)`, as far as they were judged.
    pub(crate) fn new(
        found: &HiddenStates,
        reference: ArrayView3<'_, f32>,
        layers: &[LayerVerdict],
        times: FrameTimes,
        clip: &[f32],
    ) -> Self {
        // Only what has metrics has frames in both, of one shape.
        let compared = layers.iter().filter(|layer| layer.metrics.is_some() && layer.layer < reference.len_of(Axis(0)));
        let cosines = compared.filter_map(|layer| {
            let state = found.get(&layer.layer)?;
            let expected = reference.index_axis(Axis(0), layer.layer);
            Some((layer.layer, frame_cosines(state.view(), expected).collect()))
        });
        let mut record = FrameRecord {
            cosines: cosines.collect(),
            times,
            clip_samples: clip.len(),
            passage_start: 0,
            passage: Vec::new(),
        };
        let length = (PASSAGE * f64::from(times.sampling_rate)) as usize;
        let middle = record.worst(1).first().map_or(0.0, |worst| times.middle(worst.frame));
        let middle = (middle * f64::from(times.sampling_rate)) as usize;
        let start = middle.saturating_sub(length / 2).min(clip.len().saturating_sub(length));
        record.passage_start = start;
        record.passage = clip[start..clip.len().min(start + length)].to_vec();
        record
    }

    /// The number of frames; 0 if no hidden state could be compared.
    pub fn frames(&self) -> usize {
        self.cosines.values().map(Vec::len).max().unwrap_or(0)
    }

    /// For each frame the hidden state with the lowest cosine, NaN before all numbers, and among equals the first.
    pub fn lowest(&self) -> Vec<FrameDistance> {
        let of_frame = |frame: usize| {
            let states = self.cosines.iter().filter_map(move |(&hidden_state, cosines)| {
                Some(FrameDistance { hidden_state, frame, cosine: *cosines.get(frame)? })
            });
            states.min_by(|a, b| worse_first(a.cosine, b.cosine))
        };
        (0..self.frames()).filter_map(of_frame).collect()
    }

    /// The frames with the lowest cosines over all hidden states, at most `count`, the worst first.
    pub fn worst(&self, count: usize) -> Vec<FrameDistance> {
        let mut frames = self.lowest();
        frames.sort_by(|a, b| worse_first(a.cosine, b.cosine).then(a.frame.cmp(&b.frame)));
        frames.truncate(count);
        frames
    }
}

/// The order of cosines from the worst: NaN, then ascending.
fn worse_first(a: f64, b: f64) -> std::cmp::Ordering {
    b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(&b))
}

/// Drops the frames of all but the worst comparisons, so that memory and reports do not grow with the number of clips.
pub(super) fn keep_worst_records(comparisons: &mut [Comparison]) {
    let mut kept: Vec<usize> = (0..comparisons.len()).filter(|&index| comparisons[index].frames.is_some()).collect();
    let badness = |comparison: &Comparison| {
        let nmse = |layer: &LayerVerdict| layer.metrics.map(|m| m.nmse).filter(|nmse| !nmse.is_nan());
        let largest = comparison.layers.iter().map(|layer| nmse(layer).unwrap_or(f64::INFINITY)).fold(0.0, f64::max);
        (!comparison.passed(), largest)
    };
    kept.sort_by(|&a, &b| {
        let (a, b) = (badness(&comparisons[a]), badness(&comparisons[b]));
        b.0.cmp(&a.0).then(b.1.total_cmp(&a.1))
    });
    for index in kept.into_iter().skip(MAX_FRAME_RECORDS) {
        comparisons[index].frames = None;
    }
}

#[cfg(test)]
mod tests {
    use mert_arch::Dtype;
    use ndarray::{Array2, Array3, array};

    use super::*;
    use crate::candidate::Output;
    use crate::gate::{Question, judge_layer};
    use crate::{ModelEncoding, Tolerance};

    const TIMES: FrameTimes = FrameTimes { sampling_rate: 100, hop: 50, receptive_field: 100 };

    fn record(states: &[(usize, Array2<f32>)], samples: usize) -> FrameRecord {
        let (_, first) = &states[0];
        let mut reference = Array3::zeros((3, first.nrows(), 2));
        reference.fill(1.0);
        let layers: Vec<LayerVerdict> = (0..3)
            .map(|layer| {
                let state = states.iter().find(|(index, _)| *index == layer).map(|(_, state)| state);
                let expected = reference.index_axis(Axis(0), layer);
                judge_layer(layer, state, Some(expected), &Tolerance::structure())
            })
            .collect();
        let found: HiddenStates = states.iter().cloned().collect();
        let clip: Vec<f32> = (0..samples).map(|n| n as f32).collect();
        FrameRecord::new(&found, reference.view(), &layers, TIMES, &clip)
    }

    #[test]
    fn the_worst_frames_come_first_with_their_hidden_state() {
        let good = array![[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]];
        let bad = array![[1.0, 1.0], [1.0, 0.0], [-1.0, -1.0]];
        let record = record(&[(0, good), (2, bad)], 400);
        assert_eq!(record.cosines.keys().copied().collect::<Vec<_>>(), [0, 2], "hidden state 1 is missing");
        let worst = record.worst(2);
        assert_eq!(worst.iter().map(|w| (w.hidden_state, w.frame)).collect::<Vec<_>>(), [(2, 2), (2, 1)]);
        assert_eq!(worst[0].cosine.round(), -1.0);
        // 2 · 50 + 100 / 2 samples at 100 Hz.
        assert_eq!(record.times.middle(2), 1.5);
        assert_eq!((record.passage_start, record.passage.len()), (0, 400));
    }

    #[test]
    fn nan_is_the_worst_and_states_of_another_shape_have_no_frames() {
        let nan = array![[1.0, 1.0], [1.0, f32::NAN], [-1.0, -1.0]];
        let long = Array2::ones((4, 2));
        let record = record(&[(0, nan), (1, long)], 400);
        assert_eq!(record.cosines.keys().copied().collect::<Vec<_>>(), [0]);
        assert_eq!(record.worst(9).iter().map(|w| w.frame).collect::<Vec<_>>(), [1, 2, 0]);
    }

    #[test]
    fn the_passage_lies_around_the_worst_frame_within_the_clip() {
        let states = |bad: usize| {
            let mut state = Array2::ones((100, 2));
            state[[bad, 0]] = -1.0;
            [(0, state)]
        };
        // The middle of frame 60 is at 30.5 s; 8 s around it.
        let middle = record(&states(60), 5100);
        assert_eq!((middle.passage_start, middle.passage.len(), middle.passage[0]), (2650, 800, 2650.0));
        assert_eq!(record(&states(99), 5100).passage_start, 4300);
        assert_eq!(record(&states(0), 5100).passage_start, 0);
        assert!(record(&states(0), 0).passage.is_empty());
    }

    #[test]
    fn the_frames_of_few_comparisons_are_kept() {
        let comparison = |value: f32| {
            let state = Array2::from_elem((2, 2), value);
            let layers = vec![judge_layer(0, Some(&state), Some(Array2::ones((2, 2)).view()), &Tolerance::structure())];
            Comparison {
                reference: value.to_string(),
                question: Question::Structure,
                output: Output::Frames,
                reference_weights: ModelEncoding::of_floats(Dtype::F32),
                isolated: false,
                tolerance: Tolerance::structure(),
                layers,
                frames: Some(record(&[(0, state)], 10)),
            }
        };
        let mut comparisons: Vec<Comparison> = (0..20).map(|index| comparison(1.0 + index as f32 * 1e-6)).collect();
        comparisons[0].layers[0].failures.push("failed".into());
        keep_worst_records(&mut comparisons);
        let kept: Vec<usize> = (0..20).filter(|&index| comparisons[index].frames.is_some()).collect();
        assert_eq!(kept, [0, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
    }
}
