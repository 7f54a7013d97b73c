//! t-SNE of tracks: neighbours by exact distances along principal components, and a start from the first two.

use bhtsne::{Neighbor, tSNE};
use rayon::prelude::*;

use crate::analysis::{Pca, Rows};
use crate::{Result, SearchError};

/// The principal components along which distances are taken, as is usual for t-SNE.
const COMPONENTS: usize = 50;

/// The accuracy of the approximation by cells (Barnes and Hut).
const THETA: f32 = 0.5;

/// The rows above which repulsion is interpolated on a grid instead, whose cost does not grow with the logarithm of their
/// number: Linderman and others, <https://arxiv.org/abs/1712.09005>.
const GRID_ABOVE: usize = 2000;

/// The iterations.
const EPOCHS: usize = 1000;

/// The standard deviation of the start, as in Kobak and Berens, <https://www.nature.com/articles/s41467-019-13056-x>.
const START: f64 = 1e-4;

/// Two coordinates for each row.
pub(super) fn embed(
    rows: &Rows<'_, '_>,
    perplexity: f64,
    seed: u64,
    notes: &mut Vec<String>,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<Vec<[f32; 2]>> {
    let pca = Pca::of(rows, COMPONENTS, Pca::REDUCTION, seed);
    let projected = pca.project(rows);
    if pca.variances.len() < rows.dim() {
        let share = 100.0 * pca.variances.iter().sum::<f64>() / pca.total_variance;
        notes.push(format!(
            "neighbours by distance along {} principal components, which have {share:.1}% of the variance",
            pca.variances.len()
        ));
    }
    let deviation = pca.variances.first().copied().unwrap_or(0.0).sqrt();
    if deviation == 0.0 {
        return Ok(vec![[0.0; 2]; projected.len()]);
    }
    let axis = |row: &[f64], axis: usize| (START * row.get(axis).copied().unwrap_or(0.0) / deviation) as f32;
    let start: Vec<f32> = projected.iter().flat_map(|row| [axis(row, 0), axis(row, 1)]).collect();
    let count = ((3.0 * perplexity) as usize).clamp(1, projected.len() - 1);
    let neighbours = neighbours(&projected, count);
    // Its threads add in an order that depends on their number.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pool = pool.map_err(|error| SearchError::Query(format!("cannot start a thread: {error}")))?;
    let learning_rate = (projected.len() as f32 / 12.0).max(200.0);
    let embedded = pool.install(|| {
        let mut tsne: tSNE<'_, f32, Vec<f64>, 2> = tSNE::new(&projected);
        tsne.perplexity(perplexity as f32).epochs(EPOCHS).learning_rate(learning_rate).initial_embedding(start);
        tsne.epoch_callback(|epoch, _| progress((epoch + 1) as f64 / EPOCHS as f64));
        if projected.len() > GRID_ABOVE {
            tsne.fit_sne_with_neighbors(&neighbours);
        } else {
            tsne.barnes_hut_with_neighbors(THETA, &neighbours);
        }
        tsne.embedding()
    });
    if embedded.iter().any(|value| !value.is_finite()) {
        return Err(SearchError::Query("t-SNE did not converge: choose another perplexity, or PCA".into()));
    }
    Ok(embedded.as_chunks::<2>().0.to_vec())
}

/// For each row the `count` nearest others.
fn neighbours(rows: &[Vec<f64>], count: usize) -> Vec<Vec<Neighbor<f32>>> {
    let nearest = |query: usize| {
        let squared = |other: &Vec<f64>| rows[query].iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
        let mut all: Vec<(f64, usize)> = rows.iter().map(squared).zip(0..).filter(|&(_, row)| row != query).collect();
        let order = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        if count < all.len() {
            all.select_nth_unstable_by(count, order);
            all.truncate(count);
        }
        all.sort_unstable_by(order);
        all.into_iter().map(|(squared, index)| Neighbor { index, distance: squared.sqrt() as f32 }).collect()
    };
    (0..rows.len()).into_par_iter().map(nearest).collect()
}
