//! What evaluation, learning, clusters and maps share: who made a track, products of many rows, folds, intervals, principal
//! components.

mod artists;
mod folds;
mod interval;
mod pca;
mod rows;
#[cfg(test)]
pub(crate) mod testing;

pub use artists::Artists;
pub use folds::Folds;
pub use interval::{Interval, bootstrap};
pub use pca::Pca;
pub use rows::Rows;
pub(crate) use rows::best;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// `count` of `items`, chosen at random without repetition, in ascending order; all of them if there are no more.
pub fn sample(items: &[usize], count: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
    let mut items = items.to_vec();
    let count = count.min(items.len());
    for place in 0..count {
        let other = random.random_range(place..items.len());
        items.swap(place, other);
    }
    items.truncate(count);
    items.sort_unstable();
    items
}
