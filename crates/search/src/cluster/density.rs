//! HDBSCAN, of a sample where there are too many points for a quadratic algorithm.

use hdbscan::{Hdbscan, HdbscanHyperParams, NnAlgorithm};
use nalgebra::DMatrix;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::analysis::sample;
use crate::{Result, SearchError};

/// The most points that are clustered; others belong where their nearest clustered point does. The spanning tree compares
/// all pairs of them on one thread.
const SAMPLE: usize = 20_000;

/// The cluster of each of the points, which are the columns of `blocks`, or none.
pub(super) fn hdbscan(
    blocks: Vec<DMatrix<f64>>,
    min_size: usize,
    seed: u64,
    notes: &mut Vec<String>,
) -> Result<Vec<Option<usize>>> {
    let count = blocks.iter().map(DMatrix::ncols).sum();
    let all: Vec<usize> = (0..count).collect();
    let chosen = sample(&all, SAMPLE, &mut ChaCha8Rng::seed_from_u64(seed));
    let points = blocks.iter().flat_map(|block| block.column_iter()).map(|column| column.iter().copied().collect());
    let points = points.enumerate().filter(|(index, _)| chosen.binary_search(index).is_ok());
    let clustered: Vec<Vec<f64>> = points.map(|(_, point)| point).collect();
    let settings = HdbscanHyperParams::builder().min_cluster_size(min_size).nn_algorithm(NnAlgorithm::KdTree).build();
    let labels = Hdbscan::new(&clustered, settings).cluster();
    let labels = labels.map_err(|error| SearchError::Query(format!("HDBSCAN failed: {error}")))?;
    let labels: Vec<Option<usize>> = labels.into_iter().map(|label| usize::try_from(label).ok()).collect();
    if chosen.len() == count {
        return Ok(labels);
    }
    notes.push(format!(
        "{SAMPLE} of {count} tracks were clustered; the others belong where their nearest one of these does"
    ));
    let flat: Vec<f64> = clustered.iter().flatten().copied().collect();
    let clustered = DMatrix::from_row_slice(clustered.len(), blocks.first().map_or(0, DMatrix::nrows), &flat);
    let lengths: Vec<f64> = clustered.row_iter().map(|row| row.norm_squared()).collect();
    // Of ‖a − b‖² only what depends on b.
    let nearest = |block: &DMatrix<f64>| -> Vec<Option<usize>> {
        let products = &clustered * block;
        let nearest = |products: nalgebra::DVectorView<'_, f64>| {
            let distances = lengths.iter().zip(products.iter()).map(|(length, product)| length - 2.0 * product);
            distances.enumerate().min_by(|a, b| a.1.total_cmp(&b.1)).and_then(|(index, _)| labels[index])
        };
        products.column_iter().map(|column| nearest(column.as_view())).collect()
    };
    // Blocks of products are as high as the sample.
    Ok(blocks.par_iter().flat_map_iter(nearest).collect())
}
