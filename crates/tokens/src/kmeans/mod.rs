//! k-means of frames: exact nearest centres, Lloyd's algorithm, mini-batches, and what they are judged by.
//!
//! Distances are found with the project's own matrix product in f32, and whatever its rounding leaves undecided is decided
//! in f64: a label is that of the nearest centre, the lowest of equally near ones, on every processor and for any number
//! of threads. Sums are in f64 and in the order of the frames. The same frames, options and seed give the same bytes.
//!
//! - `frames.rs`: the frames, in memory or in a mapped file.
//! - `centres.rs`, `scores.rs`: centres as the product reads them, and the nearest centre of each frame.
//! - `start.rs`: k-means++; `lloyd.rs`: passes over all frames; `mini_batch.rs`: passes over a part of them.
//! - `sums.rs`: new centres from labels; `quality.rs`: how good a vocabulary is.

mod centres;
mod frames;
mod lloyd;
mod mini_batch;
mod quality;
mod scores;
mod start;
mod sums;

pub use centres::{Centres, Nearest};
pub use frames::Frames;
pub use lloyd::{Lloyd, Pass, lloyd};
pub use mini_batch::{Batch, MiniBatch, mini_batch};
pub use quality::{Quality, near_doubles, quality};
pub use start::{kmeans_plus_plus, start_tries};

/// Frames that are read from a mapped file at a time: 200 MB at a width of 768.
const BLOCK: usize = 1 << 16;

/// The squared Euclidean distance of two vectors, in f64.
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    // Eight sums, in an order that does not depend on the compiler's choice of vectors.
    let mut sums = [0.0f64; 8];
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..8 {
            let difference = f64::from(a[i]) - f64::from(b[i]);
            sums[i] += difference * difference;
        }
    }
    for ((sum, &a), &b) in sums.iter_mut().zip(a_rest).zip(b_rest) {
        let difference = f64::from(a) - f64::from(b);
        *sum += difference * difference;
    }
    ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]))
}

/// The squared length of a vector, in f64.
pub(crate) fn squared_norm(a: &[f32]) -> f64 {
    a.iter().map(|&value| f64::from(value) * f64::from(value)).sum()
}

#[cfg(test)]
mod tests;
