//! The tokens of a session: the newest, those of a segment, and how many are used.

use std::collections::{BTreeMap, VecDeque};

use mert_tokens::frames::FrameGrid;

use crate::encode::WindowTokens;

/// The tokens that were heard.
#[derive(Debug)]
pub(crate) struct HeardTokens {
    grid: FrameGrid,
    /// The last frames: number, token, and whether the window had sound.
    recent: VecDeque<(u64, u32, bool)>,
    keep: usize,
    used: BTreeMap<u32, u64>,
    frames: u64,
    silent: u64,
}

/// The use of tokens over some frames.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenUse {
    /// The frames.
    pub frames: u64,
    /// The number of different tokens.
    pub used: usize,
    /// The entropy in bits.
    pub entropy: f64,
}

impl TokenUse {
    /// The use by the number of frames of each token.
    pub fn of(counts: impl IntoIterator<Item = u64>) -> Self {
        let counts: Vec<u64> = counts.into_iter().filter(|&count| count > 0).collect();
        let frames: u64 = counts.iter().sum();
        let share = |count: &u64| *count as f64 / frames as f64;
        // Minus zero for a single token would be printed with its sign.
        let entropy = counts.iter().map(|count| -share(count) * share(count).log2()).sum::<f64>().max(0.0);
        TokenUse { frames, used: counts.len(), entropy }
    }
}

impl HeardTokens {
    /// Nothing heard yet; the last `seconds` are kept.
    pub(crate) fn new(grid: FrameGrid, seconds: f64) -> Self {
        let keep = (seconds * grid.frame_rate()).ceil() as usize;
        HeardTokens { grid, recent: VecDeque::new(), keep, used: BTreeMap::new(), frames: 0, silent: 0 }
    }

    /// Adds the tokens of a window.
    pub(crate) fn add(&mut self, window: &WindowTokens) {
        for (frame, &token) in (window.first_frame..).zip(&window.tokens) {
            self.recent.push_back((frame, token, !window.silent));
            *self.used.entry(token).or_default() += 1;
            self.frames += 1;
            self.silent += u64::from(window.silent);
        }
        let surplus = self.recent.len().saturating_sub(self.keep);
        self.recent.drain(..surplus);
    }

    /// The token of the newest frame.
    pub(crate) fn newest(&self) -> Option<u32> {
        self.recent.back().map(|(_, token, _)| *token)
    }

    /// The most frequent token of the frames whose middle lies between two times, as far as they are known; the lowest of
    /// equally frequent ones, as for the events of recordings.
    pub(crate) fn most_frequent(&self, start: f64, end: f64) -> Option<u32> {
        let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
        let inside = |frame: u64| (start..end).contains(&self.grid.middle(frame));
        for (_, token, _) in self.recent.iter().rev().filter(|(frame, _, _)| inside(*frame)) {
            *counts.entry(*token).or_default() += 1;
        }
        let most = counts.values().max().copied()?;
        counts.into_iter().find(|(_, count)| *count == most).map(|(token, _)| token)
    }

    /// The use over the whole session.
    pub(crate) fn total(&self) -> TokenUse {
        TokenUse::of(self.used.values().copied())
    }

    /// The use over the frames with sound of the last seconds.
    pub(crate) fn recent(&self) -> TokenUse {
        let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
        for (_, token, _) in self.recent.iter().filter(|(_, _, sounds)| *sounds) {
            *counts.entry(*token).or_default() += 1;
        }
        TokenUse::of(counts.into_values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_and_use() {
        let mut heard = HeardTokens::new(FrameGrid { rate: 100, hop: 10, length: 10 }, 1.0);
        assert_eq!((heard.newest(), heard.most_frequent(0.0, 9.0)), (None, None));
        heard.add(&WindowTokens { first_frame: 0, tokens: vec![5, 5, 7, 7, 9], silent: false });
        assert_eq!(heard.newest(), Some(9));
        // Middles at 0.05, 0.15, …
        assert_eq!(heard.most_frequent(0.0, 0.5), Some(5));
        assert_eq!(heard.most_frequent(0.1, 0.5), Some(7));
        assert_eq!(heard.most_frequent(0.36, 0.44), None);
        assert!((heard.total().entropy - 1.521_928_094_887_362).abs() < 1e-12);
        heard.add(&WindowTokens { first_frame: 5, tokens: vec![1; 8], silent: true });
        // Ten frames are kept, of which two had sound.
        assert_eq!(heard.recent(), TokenUse { frames: 2, used: 2, entropy: 1.0 });
        assert_eq!((heard.total().used, heard.total().frames), (4, 13));
    }

    #[test]
    fn one_token_has_no_entropy() {
        let only = TokenUse::of([9, 0]);
        assert_eq!((only.used, only.entropy.to_bits()), (1, 0f64.to_bits()));
        assert_eq!(TokenUse::of([]).entropy, 0.0);
    }
}
