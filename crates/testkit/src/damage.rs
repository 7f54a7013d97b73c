//! Random damage to files, for tests that parsers never panic.

use std::ops::Range;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A source of random bit flips, which are the same for the same seed.
pub struct Damage(ChaCha8Rng);

impl Damage {
    /// Starts a sequence.
    pub fn new(seed: u64) -> Self {
        Damage(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A copy of `bytes` with one to three bits flipped within `range`.
    pub fn flip(&mut self, bytes: &[u8], range: Range<usize>) -> Vec<u8> {
        let mut damaged = bytes.to_vec();
        for _ in 0..self.0.random_range(1..=3) {
            damaged[self.0.random_range(range.clone())] ^= 1 << self.0.random_range(0..8);
        }
        damaged
    }
}
