//! The share of each file in a training: which files are held out, and which windows of a file are taken.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// For each of `files` files true if it is held out: a share of them that the seed chooses, at least one if there are two.
pub fn held_out(files: usize, share: f64, seed: u64) -> Vec<bool> {
    let mut held = vec![false; files];
    if files < 2 || share <= 0.0 {
        return held;
    }
    let count = ((files as f64 * share).round() as usize).clamp(1, files - 1);
    let mut order: Vec<usize> = (0..files).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    order[..count].iter().for_each(|&file| held[file] = true);
    held
}

/// The frames that are taken of each file, at most `most` together and the same of each, as far as a file has them: what a
/// short file leaves goes to the others. `frames` are those that each file has.
pub fn shares(frames: &[u64], most: u64) -> Vec<u64> {
    if frames.iter().sum::<u64>() <= most {
        return frames.to_vec();
    }
    // The largest level that does not exceed `most` when each file gives at most that many.
    let given = |level: u64| frames.iter().map(|&frames| frames.min(level)).sum::<u64>();
    let (mut low, mut high) = (0, frames.iter().copied().max().unwrap_or(0));
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if given(middle) <= most { low = middle } else { high = middle - 1 }
    }
    frames.iter().map(|&frames| frames.min(low)).collect()
}

/// The number of windows of a file, and of those that are taken, evenly over the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The windows of the file, at least one.
    pub windows: u64,
    /// The windows that are taken.
    pub taken: u64,
}

/// The windows of a file that are taken.
#[derive(Debug, Clone, Copy)]
pub struct WindowChoice {
    share: Share,
    /// A number below `windows` that shifts the choice.
    phase: u64,
}

impl WindowChoice {
    /// The choice for file `file` of a training with this seed.
    pub fn new(share: Share, seed: u64, file: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(file + 1);
        let phase = rand::Rng::random_range(&mut random, 0..share.windows.max(1));
        WindowChoice { share, phase }
    }

    /// True if window `number` is taken. Windows beyond those that the file was thought to have are taken as often.
    pub fn takes(&self, number: u64) -> bool {
        let Share { windows, taken } = self.share;
        if taken >= windows {
            return true;
        }
        // `taken` of any `windows` consecutive numbers, as far apart as they can be.
        let at = |number: u64| u128::from(number) * u128::from(taken) / u128::from(windows);
        at(number + self.phase + 1) > at(number + self.phase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_files_leave_their_share_to_the_others() {
        assert_eq!(shares(&[10, 1000, 1000, 50], 460), [10, 200, 200, 50]);
        assert_eq!(shares(&[10, 20], 100), [10, 20]);
        assert_eq!(shares(&[10, 20, 30], 2), [0, 0, 0]);
        assert_eq!(shares(&[], 10), [0u64; 0]);
    }

    #[test]
    fn windows_are_spread_over_a_file() {
        for (windows, taken) in [(100, 7), (100, 100), (3, 1), (1, 1), (50, 49), (10, 0)] {
            for seed in 0..20 {
                let choice = WindowChoice::new(Share { windows, taken }, seed, seed * 3);
                let chosen: Vec<u64> = (0..windows).filter(|&number| choice.takes(number)).collect();
                assert_eq!(chosen.len() as u64, taken, "{windows} {taken} {seed}");
                // No gap is more than a window longer than another.
                let gaps = chosen.windows(2).map(|pair| pair[1] - pair[0]);
                assert!(gaps.clone().max().unwrap_or(0) <= gaps.min().unwrap_or(0) + 1);
            }
        }
        let phases: std::collections::HashSet<u64> =
            (0..50).map(|file| WindowChoice::new(Share { windows: 1000, taken: 1 }, 7, file).phase).collect();
        assert!(phases.len() > 40);
    }

    #[test]
    fn a_tenth_of_the_files_is_held_out() {
        let count = |files, share| held_out(files, share, 1).into_iter().filter(|&held| held).count();
        assert_eq!([count(1, 0.1), count(2, 0.1), count(5, 0.1), count(200, 0.1), count(9, 0.0)], [0, 1, 1, 20, 0]);
        assert_eq!(count(3, 1.0), 2);
        assert_ne!(held_out(100, 0.1, 1), held_out(100, 0.1, 2));
    }
}
