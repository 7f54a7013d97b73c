//! Clusters of tracks that sound alike: k-means, in which each track belongs to one, or HDBSCAN, which leaves out what lies
//! between them.
//!
//! A cluster has no name. What is told of it are its most central tracks, and the tags that are more frequent in it than in the
//! catalogue, with their counts.

mod density;
mod kmeans;
mod tags;

use nalgebra::DMatrix;
use serde::Serialize;

pub use self::tags::FrequentTag;
use crate::analysis::{Pca, Rows};
use crate::{Result, SearchError, Space};

/// The numbers of principal components on which k-means and HDBSCAN work: k-means only where all values are too many.
const KMEANS_COMPONENTS: usize = 64;
const DENSITY_COMPONENTS: usize = 10;

/// The most values that k-means keeps in memory: 400 MB.
const KMEANS_VALUES: usize = 50_000_000;

/// The method of clustering.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", tag = "method")]
pub enum ClusterMethod {
    /// k-means: Lloyd's algorithm from k-means++ (Arthur and Vassilvitskii, 2007), the best of ten.
    Kmeans {
        /// The number of clusters.
        clusters: usize,
    },
    /// HDBSCAN: Campello, Moulavi and Sander, 2013.
    Hdbscan {
        /// The fewest tracks of a cluster.
        min_size: usize,
    },
}

/// The choices of clustering.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClusterOptions {
    /// The method.
    #[serde(flatten)]
    pub method: ClusterMethod,
    /// The seed of everything that is drawn at random.
    pub seed: u64,
    /// The number of most central tracks that are listed for each cluster.
    pub central: usize,
}

/// Clusters of all live tracks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Clustering {
    /// The choices.
    pub options: ClusterOptions,
    /// The clusters, the largest first.
    pub clusters: Vec<Cluster>,
    /// The number of tracks in no cluster.
    pub noise: usize,
    /// The sum of squared distances from the centres (k-means).
    pub inertia: Option<f64>,
    /// Each live track and its cluster's index.
    pub tracks: Vec<(usize, Option<usize>)>,
    /// What was reduced or sampled.
    pub notes: Vec<String>,
}

/// A cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cluster {
    /// The number of tracks.
    pub size: usize,
    /// The tracks that are nearest to the mean of the cluster, the nearest first.
    pub central: Vec<usize>,
    /// The tags that are more frequent than in the catalogue, the least likely by chance first.
    pub tags: Vec<FrequentTag>,
}

/// Clusters the live tracks of a space. `progress` gets the share that is done, from 0 to 1; of HDBSCAN, which cannot tell, it
/// gets nothing.
///
/// # Errors
/// [`SearchError::Query`] for options out of range.
pub fn cluster(space: &Space<'_>, options: &ClusterOptions, progress: &dyn Fn(f64)) -> Result<Clustering> {
    let catalogue = space.catalogue();
    let live: Vec<usize> = catalogue.live().ones().collect();
    let rows = Rows::new(space, live.clone());
    let mut notes = Vec::new();
    let (labels, inertia) = match options.method {
        ClusterMethod::Kmeans { clusters } => {
            if clusters < 2 || clusters > live.len() {
                return Err(SearchError::Query(format!(
                    "invalid --clusters {clusters}: expected 2 to {}, the number of tracks",
                    live.len()
                )));
            }
            let points = match live.len().saturating_mul(rows.dim()) > KMEANS_VALUES {
                true => reduced(&rows, KMEANS_COMPONENTS, options.seed, &mut notes),
                false => rows.map_blocks(|_, block| block),
            };
            let found = kmeans::kmeans(&kmeans::Points::new(points), clusters, options.seed, progress);
            (found.labels.into_iter().map(Some).collect(), Some(found.inertia))
        }
        ClusterMethod::Hdbscan { min_size } => {
            if min_size < 2 || live.len() < 2 * min_size {
                return Err(SearchError::Query(format!(
                    "invalid --min-size {min_size}: expected 2 to {}, half of the {} tracks",
                    live.len() / 2,
                    live.len()
                )));
            }
            let points = reduced(&rows, DENSITY_COMPONENTS, options.seed, &mut notes);
            (density::hdbscan(points, min_size, options.seed, &mut notes)?, None)
        }
    };
    let labels = by_size(&labels);
    let count = labels.iter().flatten().max().map_or(0, |largest| largest + 1);
    let mut clusters = Vec::with_capacity(count);
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (&track, label) in live.iter().zip(&labels) {
        label.iter().for_each(|&label| members[label].push(track));
    }
    let frequent = tags::Frequent::new(catalogue, &live);
    for tracks in members {
        clusters.push(Cluster {
            size: tracks.len(),
            tags: frequent.among(&tracks),
            central: central(space, tracks, options.central),
        });
    }
    Ok(Clustering {
        options: options.clone(),
        noise: labels.iter().filter(|label| label.is_none()).count(),
        clusters,
        inertia,
        tracks: live.into_iter().zip(labels).collect(),
        notes,
    })
}

/// The coordinates of rows along principal components, as blocks of columns.
fn reduced(rows: &Rows<'_, '_>, components: usize, seed: u64, notes: &mut Vec<String>) -> Vec<DMatrix<f64>> {
    let pca = Pca::of(rows, components, Pca::REDUCTION, seed);
    if pca.variances.len() < rows.dim() {
        let share = 100.0 * pca.variances.iter().sum::<f64>() / pca.total_variance;
        notes.push(format!(
            "clustered along {} principal components, which have {share:.1}% of the variance",
            pca.variances.len()
        ));
    }
    pca.project_blocks(rows)
}

/// Labels in the order of clusters' sizes, the largest first, and of their first members.
fn by_size(labels: &[Option<usize>]) -> Vec<Option<usize>> {
    let count = labels.iter().flatten().max().map_or(0, |largest| largest + 1);
    let mut sizes = vec![(0usize, usize::MAX, 0usize); count];
    for (row, label) in labels.iter().enumerate() {
        if let Some(label) = *label {
            let (size, first, _) = sizes[label];
            sizes[label] = (size + 1, first.min(row), label);
        }
    }
    sizes.retain(|(size, ..)| *size > 0);
    sizes.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let place = |label: usize| sizes.iter().position(|(_, _, other)| *other == label);
    labels.iter().map(|label| label.and_then(place)).collect()
}

/// The tracks that are nearest to their mean.
fn central(space: &Space<'_>, tracks: Vec<usize>, count: usize) -> Vec<usize> {
    let rows = Rows::new(space, tracks);
    let sums = rows.map_blocks(|_, block| block.column_sum());
    let Some(sum) = sums.into_iter().reduce(|a, b| a + b) else { return Vec::new() };
    let scores = rows.map_blocks(|_, block| block.transpose() * &sum);
    let mut scored: Vec<(f64, usize)> =
        scores.iter().flat_map(|block| block.iter().copied()).zip(rows.tracks().iter().copied()).collect();
    scored.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scored.into_iter().take(count).map(|(_, track)| track).collect()
}

#[cfg(test)]
mod tests;
