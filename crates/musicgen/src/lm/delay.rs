//! The delay pattern: a codebook is one step behind the one before it.

use super::codes::Codes;

/// The steps at which the language model sees codes: codebook k of frame t at step 1 + t + k, and the special token everywhere
/// else. In stereo models the codebooks of both channels share their delay.
///
/// It is audiocraft's `DelayedPatternProvider`, and `build_delay_pattern_mask` of transformers. n frames of 4 codebooks take
/// n + 3 calls of the model: the last step is only predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayPattern {
    codebooks: usize,
    channels: usize,
    special: u32,
}

impl DelayPattern {
    /// The pattern of `codebooks` codebooks of `channels` channels together, with this special token.
    pub fn new(codebooks: usize, channels: usize, special: u32) -> Self {
        DelayPattern { codebooks, channels: channels.max(1), special }
    }

    /// The delay of a codebook in steps.
    pub fn delay(&self, codebook: usize) -> usize {
        codebook / self.channels
    }

    /// The largest delay.
    fn most(&self) -> usize {
        self.delay(self.codebooks.saturating_sub(1))
    }

    /// The number of calls of the model for `frames` frames.
    pub fn calls(&self, frames: usize) -> usize {
        frames + self.most()
    }

    /// The frame of a codebook at a step, if it is one of `frames` frames.
    pub fn frame(&self, codebook: usize, step: usize, frames: usize) -> Option<usize> {
        step.checked_sub(1 + self.delay(codebook)).filter(|frame| *frame < frames)
    }

    /// The model's input for the codes: `(codebooks, calls)`.
    pub fn input(&self, codes: &Codes) -> Codes {
        let frames = codes.frames();
        let mut input = Codes::filled(self.codebooks, self.calls(frames), self.special);
        for codebook in 0..self.codebooks {
            for step in 0..self.calls(frames) {
                if let Some(frame) = self.frame(codebook, step, frames) {
                    input.set(codebook, step, codes.get(codebook, frame));
                }
            }
        }
        input
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(rows: &[&[u32]]) -> Codes {
        Codes::new(rows.iter().map(|row| row.to_vec()).collect()).unwrap()
    }

    #[test]
    fn mono() {
        let pattern = DelayPattern::new(4, 1, 99);
        let input = pattern.input(&codes(&[&[1, 2], &[3, 4], &[5, 6], &[7, 8]]));
        let expected: [&[u32]; 4] =
            [&[99, 1, 2, 99, 99], &[99, 99, 3, 4, 99], &[99, 99, 99, 5, 6], &[99, 99, 99, 99, 7]];
        assert_eq!((input, pattern.calls(2)), (codes(&expected), 5));
    }

    #[test]
    fn channels_share_their_delay() {
        let pattern = DelayPattern::new(4, 2, 99);
        let input = pattern.input(&codes(&[&[1, 2], &[3, 4], &[5, 6], &[7, 8]]));
        let expected: [&[u32]; 4] = [&[99, 1, 2], &[99, 3, 4], &[99, 99, 5], &[99, 99, 7]];
        assert_eq!(input, codes(&expected));
    }
}
