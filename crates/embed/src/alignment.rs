//! The frames of two encoders that belong together in time.

/// The frames of an encoder within a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameGrid {
    /// Samples per second, in hertz.
    pub(crate) rate: u32,
    /// Samples from the start of a frame to the start of the next.
    pub(crate) hop: usize,
    /// Samples that a frame depends on before the transformer.
    pub(crate) length: usize,
}

impl FrameGrid {
    /// Of `count` frames of this grid the one whose centre is nearest in time to that of frame `frame` of `other`; of two
    /// as near, the earlier. The centre of frame i is at (i · hop + length / 2) / rate seconds from the start of the
    /// window. In whole numbers, so that the result does not depend on rounding.
    pub(crate) fn nearest(&self, other: &FrameGrid, frame: usize, count: usize) -> usize {
        let number = |value: usize| value as i128;
        let (rate, other_rate) = (i128::from(self.rate), i128::from(other.rate));
        // The position of the centre among this grid's frames is `twice_position / (2 · scale)`.
        let twice_centre = 2 * number(frame) * number(other.hop) + number(other.length);
        let twice_position = twice_centre * rate - number(self.length) * other_rate;
        let scale = number(self.hop) * other_rate;
        // Rounded to nearest, halves down: ceil(position - 1/2).
        let nearest = (twice_position - scale).div_euclid(2 * scale)
            + i128::from((twice_position - scale).rem_euclid(2 * scale) > 0);
        usize::try_from(nearest).unwrap_or(0).min(count.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_of_mert_and_wav2vec() {
        let mert = FrameGrid { rate: 24_000, hop: 320, length: 400 };
        let wav2vec = FrameGrid { rate: 16_000, hop: 320, length: 400 };
        // Centres in ms: 8.33, 21.67, 35, 48.33, … and 12.5, 32.5, 52.5, …
        let nearest: Vec<usize> = (0..8).map(|frame| wav2vec.nearest(&mert, frame, 100)).collect();
        assert_eq!(nearest, [0, 0, 1, 2, 2, 3, 4, 4]);
        assert_eq!(wav2vec.nearest(&mert, 7, 3), 2);
        assert!((0..100).all(|frame| mert.nearest(&mert, frame, 100) == frame));
    }

    /// What numpy gives for whole-numbered centres in units of 1 / (2 · rate · rate) seconds:
    ///
    /// ```python
    /// a, b = [(2 * np.arange(count) * hop + length) * other_rate for ...]
    /// np.abs(b[None] - a[:, None]).argmin(1)
    /// ```
    #[test]
    fn agrees_with_numpy() {
        let mert = FrameGrid { rate: 24_000, hop: 320, length: 400 };
        let wav2vec = FrameGrid { rate: 16_000, hop: 320, length: 400 };
        let other = FrameGrid { rate: 44_100, hop: 441, length: 600 };
        let nearest = |grid: FrameGrid, count, of: FrameGrid, frames| -> Vec<usize> {
            (0..frames).map(|frame| grid.nearest(&of, frame, count)).collect()
        };
        // Windows of 0.7 s.
        let expected = [
            0, 0, 1, 2, 2, 3, 4, 4, 5, 6, 6, 7, 8, 8, 9, 10, 10, 11, 12, 12, 13, 14, 14, 15, 16, 16, 17, 18, 18, 19,
            20, 20, 21, 22, 22, 23, 24, 24, 25, 26, 26, 27, 28, 28, 29, 30, 30, 31, 32, 32, 33, 33,
        ];
        assert_eq!(nearest(wav2vec, 34, mert, 52), expected);
        let expected = [
            0, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, 20, 21, 23, 24, 26, 27, 29, 30, 32, 33, 35, 36, 38, 39, 41,
            42, 44, 45, 47, 48, 50,
        ];
        assert_eq!(nearest(mert, 52, wav2vec, 34), expected);
        let expected = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9];
        assert_eq!(nearest(wav2vec, 12, other, 20), expected);
    }

    #[test]
    fn of_two_as_near_the_earlier() {
        let fine = FrameGrid { rate: 8_000, hop: 100, length: 100 };
        let coarse = FrameGrid { rate: 8_000, hop: 200, length: 200 };
        // Centres 50, 150, 250, 350 and 100, 300: as near to 200 as to each other.
        let shifted = FrameGrid { length: 300, ..fine };
        assert_eq!((0..4).map(|frame| coarse.nearest(&fine, frame, 9)).collect::<Vec<_>>(), [0, 0, 1, 1]);
        // Centres 150, 250, 350: 200 is as near to the first as to the second.
        assert_eq!(shifted.nearest(&FrameGrid { length: 400, ..fine }, 0, 9), 0);
    }

    proptest! {
        #[test]
        fn no_other_frame_is_nearer(
            rates in (1_000u32..400_000, 1_000u32..400_000),
            hops in (1usize..2_000, 1usize..2_000),
            lengths in (1usize..2_000, 1usize..2_000),
            frame in 0usize..500,
            count in 1usize..500,
        ) {
            let grid = FrameGrid { rate: rates.0, hop: hops.0, length: lengths.0 };
            let other = FrameGrid { rate: rates.1, hop: hops.1, length: lengths.1 };
            // Twice the distance in seconds, times both rates.
            let distance = |i: usize| {
                let centre = (2 * i * grid.hop + grid.length) as i128 * i128::from(other.rate);
                (centre - (2 * frame * other.hop + other.length) as i128 * i128::from(grid.rate)).abs()
            };
            let expected = (0..count).min_by_key(|&i| distance(i)).unwrap();
            prop_assert_eq!(grid.nearest(&other, frame, count), expected);
        }
    }
}
