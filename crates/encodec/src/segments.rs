//! Pieces of a long clip for the convolutions, so that memory does not grow with the clip and all threads have work.
//!
//! The pieces overlap by the frames that a result depends on on either side. Those are computed twice and left out of the
//! piece that lacks a part of what they see. Only the ends of the clip are padded for good, so that nothing shows in the
//! result; the LSTM, which sees everything before, runs over the whole clip outside.

use candle_core::{Device, Tensor};
use mert_arch::EncodecConfig;
use rayon::prelude::*;

use crate::Result;

/// Frames of a piece without its overlaps: about a second, whose widest rows fit the caches.
const FRAMES: usize = 48;

/// The number of samples on either side that a result depends on, counted from the samples to the frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    samples: usize,
    /// Samples of a row at the rate reached so far.
    rate: usize,
}

impl Default for Seen {
    fn default() -> Self {
        Seen { samples: 0, rate: 1 }
    }
}

impl Seen {
    /// Adds a convolution of stride 1 that reads `width` rows.
    pub(crate) fn convolution(&mut self, width: usize) {
        self.samples = self.samples.saturating_add(width.saturating_mul(self.rate));
    }

    /// Adds the residual blocks beside a change of the rate.
    pub(crate) fn residual_blocks(&mut self, config: &EncodecConfig) {
        for block in 0..config.num_residual_layers {
            self.convolution(config.residual_kernel_size.saturating_mul(config.dilation(block)));
        }
    }

    /// Adds a convolution that changes the rate by `ratio`.
    pub(crate) fn change_of_rate(&mut self, ratio: usize) {
        self.convolution(2 * ratio);
        self.rate = self.rate.saturating_mul(ratio);
    }

    /// The pieces for frames of `hop` samples. All counts are too large by a factor of two, which pieces of a second hide.
    pub(crate) fn segments(self, hop: usize) -> Segments {
        Segments { overlap: self.samples.div_ceil(hop) + 1 }
    }
}

/// How a clip is cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segments {
    /// Frames on either side of a piece.
    overlap: usize,
}

/// A piece of a clip, in frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The first frame that is computed.
    pub(crate) from: usize,
    /// The frame after the last that is computed.
    pub(crate) to: usize,
    /// The computed frames before those that are kept.
    pub(crate) skip: usize,
    /// The frames that are kept.
    pub(crate) keep: usize,
}

impl Segments {
    /// The pieces of a clip. None is shorter than its overlap, so that each layer has more rows than it mirrors.
    fn cut(self, frames: usize) -> Vec<Segment> {
        let size = FRAMES.max(2 * self.overlap);
        let count = (frames / size).max(1);
        let bound = |number: usize| number * frames / count;
        let segment = |number: usize| {
            let (first, end) = (bound(number), bound(number + 1));
            let (from, to) = (first.saturating_sub(self.overlap), (end + self.overlap).min(frames));
            Segment { from, to, skip: first - from, keep: end - first }
        };
        (0..count).map(segment).collect()
    }

    /// The rows of all pieces, one after the other.
    pub(crate) fn map(
        self,
        frames: usize,
        device: &Device,
        compute: impl Fn(Segment) -> Result<Tensor> + Send + Sync,
    ) -> Result<Tensor> {
        let segments = self.cut(frames);
        let parts: Vec<Tensor> = match device {
            Device::Cpu => segments.into_par_iter().map(compute).collect::<Result<_>>()?,
            _ => segments.into_iter().map(compute).collect::<Result<_>>()?,
        };
        Ok(Tensor::cat(&parts, 0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_a_clip_once() {
        let segments = Segments { overlap: 5 };
        assert_eq!(segments.cut(95), [Segment { from: 0, to: 95, skip: 0, keep: 95 }]);
        for frames in 1..1000 {
            let mut next = 0;
            for Segment { from, to, skip, keep } in segments.cut(frames) {
                assert_eq!(from + skip, next);
                next += keep;
                assert!(to <= frames && next <= to && keep > 0);
                assert!(from == 0 || skip == 5);
                assert!(to == frames || to == next + 5);
            }
            assert_eq!(next, frames);
        }
    }
}
