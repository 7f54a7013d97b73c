//! k-means. Written here, because linfa-clustering needs an older ndarray and rand beside the workspace's, and its result
//! depends on the number of threads.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// The starts, of which the best is returned.
const STARTS: u64 = 10;
const ITERATIONS: usize = 300;

/// The cluster of each point, and the sum of squared distances from the centres.
pub(super) fn kmeans(points: &[Vec<f64>], clusters: usize, seed: u64) -> (Vec<usize>, f64) {
    let mut best = (Vec::new(), f64::INFINITY);
    for start in 0..STARTS {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(start);
        let found = lloyd(points, spread(points, clusters, &mut random));
        if found.1 < best.1 {
            best = found;
        }
    }
    best
}

fn squared(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// Centres among the points, each drawn with a probability in proportion to the squared distance from those before.
fn spread(points: &[Vec<f64>], clusters: usize, random: &mut ChaCha8Rng) -> Vec<Vec<f64>> {
    let mut centres = vec![points[random.random_range(0..points.len())].clone()];
    let mut distances = vec![f64::INFINITY; points.len()];
    while centres.len() < clusters {
        let last = &centres[centres.len() - 1];
        distances
            .par_iter_mut()
            .zip(points)
            .for_each(|(distance, point)| *distance = distance.min(squared(point, last)));
        let mut left = distances.iter().sum::<f64>() * random.random::<f64>();
        let chosen = distances.iter().position(|distance| {
            left -= distance;
            left < 0.0
        });
        // Fewer different points than clusters: any will do.
        let chosen = chosen.unwrap_or_else(|| random.random_range(0..points.len()));
        centres.push(points[chosen].clone());
    }
    centres
}

fn lloyd(points: &[Vec<f64>], mut centres: Vec<Vec<f64>>) -> (Vec<usize>, f64) {
    let nearest = |centres: &[Vec<f64>]| -> Vec<(usize, f64)> {
        let nearest = |point: &Vec<f64>| {
            let distances = centres.iter().map(|centre| squared(point, centre)).enumerate();
            distances.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0))
        };
        points.par_iter().map(nearest).collect()
    };
    let mut labels = nearest(&centres);
    for _ in 0..ITERATIONS {
        let mut counts = vec![0usize; centres.len()];
        let mut sums = vec![vec![0.0; points[0].len()]; centres.len()];
        for (point, &(label, _)) in points.iter().zip(&labels) {
            counts[label] += 1;
            sums[label].iter_mut().zip(point).for_each(|(sum, value)| *sum += value);
        }
        for (cluster, (centre, sum)) in centres.iter_mut().zip(sums).enumerate() {
            if counts[cluster] > 0 {
                *centre = sum.into_iter().map(|sum| sum / counts[cluster] as f64).collect();
            } else if let Some(farthest) = labels.iter().enumerate().max_by(|a, b| a.1.1.total_cmp(&b.1.1)) {
                // A cluster that lost its points starts again at the point that is farthest from its centre.
                *centre = points[farthest.0].clone();
            }
        }
        let moved = nearest(&centres);
        let is_done = moved.iter().zip(&labels).all(|(a, b)| a.0 == b.0);
        labels = moved;
        if is_done {
            break;
        }
    }
    let inertia = labels.iter().map(|(_, distance)| distance).sum();
    (labels.into_iter().map(|(label, _)| label).collect(), inertia)
}
