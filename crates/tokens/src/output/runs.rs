//! Runs of equal tokens, and what a sequence says about its vocabulary.

/// The tokens without repetitions, and the length of each run in frames: `7 7 7 2 7` is `7 2 7` and `3 1 1`.
pub fn deduplicate(tokens: &[u32]) -> (Vec<u32>, Vec<u32>) {
    tokens.chunk_by(|a, b| a == b).map(|run| (run[0], u32::try_from(run.len()).unwrap_or(u32::MAX))).unzip()
}

/// Counts of tokens and of runs over any number of files. Memory is that of the vocabulary and of the distinct run lengths.
#[derive(Debug, Clone, Default)]
pub struct Statistics {
    counts: Vec<u64>,
    runs: std::collections::BTreeMap<u32, u64>,
}

impl Statistics {
    /// Statistics of a vocabulary of `k` tokens.
    pub fn new(k: usize) -> Self {
        Statistics { counts: vec![0; k], runs: Default::default() }
    }

    /// Adds the tokens of one file. Tokens beyond the vocabulary are not counted.
    pub fn add(&mut self, tokens: &[u32]) {
        for &token in tokens {
            if let Some(count) = usize::try_from(token).ok().and_then(|token| self.counts.get_mut(token)) {
                *count += 1;
            }
        }
        for run in tokens.chunk_by(|a, b| a == b) {
            *self.runs.entry(u32::try_from(run.len()).unwrap_or(u32::MAX)).or_default() += 1;
        }
    }

    /// The number of frames of each token.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The number of frames.
    pub fn frames(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The number of tokens that occur.
    pub fn used(&self) -> usize {
        self.counts.iter().filter(|&&count| count > 0).count()
    }

    /// The entropy of the tokens in bits: log2 k if all are equally frequent, 0 if one occurs.
    pub fn entropy(&self) -> f64 {
        let frames = self.frames() as f64;
        let share = |&count: &u64| count as f64 / frames;
        let terms = self.counts.iter().filter(|count| **count > 0).map(share);
        terms.map(|share| -share * share.log2()).sum::<f64>().abs()
    }

    /// The median length of a run of equal tokens in frames, of an even number of runs the mean of the two in the middle;
    /// `None` without a frame.
    pub fn median_run(&self) -> Option<f64> {
        let runs: u64 = self.runs.values().sum();
        let nth = |n: u64| {
            let mut before = 0;
            self.runs.iter().find_map(|(&length, &count)| {
                before += count;
                (n < before).then_some(f64::from(length))
            })
        };
        Some((nth(runs.checked_sub(1)? / 2)? + nth(runs / 2)?) / 2.0)
    }
}
