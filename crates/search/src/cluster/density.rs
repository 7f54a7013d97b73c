//! HDBSCAN, of a sample where there are too many points for a quadratic algorithm.

use hdbscan::{Hdbscan, HdbscanHyperParams, NnAlgorithm};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::analysis::sample;
use crate::{Result, SearchError};

/// The most points that are clustered; others belong where their nearest clustered point does.
const SAMPLE: usize = 20_000;

/// The cluster of each point, or none.
pub(super) fn hdbscan(
    points: &[Vec<f64>],
    min_size: usize,
    seed: u64,
    notes: &mut Vec<String>,
) -> Result<Vec<Option<usize>>> {
    let all: Vec<usize> = (0..points.len()).collect();
    let chosen = sample(&all, SAMPLE, &mut ChaCha8Rng::seed_from_u64(seed));
    let clustered: Vec<Vec<f64>> = chosen.iter().map(|&point| points[point].clone()).collect();
    let settings = HdbscanHyperParams::builder().min_cluster_size(min_size).nn_algorithm(NnAlgorithm::KdTree).build();
    let labels = Hdbscan::new(&clustered, settings).cluster();
    let labels = labels.map_err(|error| SearchError::Query(format!("HDBSCAN failed: {error}")))?;
    let labels: Vec<Option<usize>> = labels.into_iter().map(|label| usize::try_from(label).ok()).collect();
    if chosen.len() == points.len() {
        return Ok(labels);
    }
    notes.push(format!(
        "{SAMPLE} of {} tracks were clustered; the others belong where their nearest one of these does",
        points.len()
    ));
    let nearest = |point: &Vec<f64>| {
        let squared = |other: &Vec<f64>| point.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
        let distances = clustered.iter().map(squared).zip(&labels);
        distances.min_by(|a, b| a.0.total_cmp(&b.0)).and_then(|(_, label)| *label)
    };
    Ok(points.par_iter().map(nearest).collect())
}
