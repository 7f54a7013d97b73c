//! Maps: two coordinates for each track, so that tracks which sound alike lie together.
//!
//! Principal components (PCA) are linear and at once there; t-SNE keeps neighbours together and says nothing about larger
//! distances. Both give the same map for the same seed on any number of threads. A map is kept in the catalogue's `cache/`
//! until the catalogue's statistics are computed again; tracks that were added since are placed between their neighbours.

mod cache;
mod place;
mod svg;
mod tsne;

use serde::{Deserialize, Serialize};

pub use self::cache::{MapSource, cached};
pub use self::svg::svg;
use crate::analysis::{Pca, Rows, sample};
use crate::{Result, SearchError, Space};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The perplexity of van der Maaten and Hinton's own examples, and the most that is accepted.
const PERPLEXITY: f64 = 30.0;
const MAX_PERPLEXITY: f64 = 1000.0;

/// The fewest tracks that a sample for t-SNE has.
const MIN_FIT: usize = 100;

/// The method of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MapMethod {
    /// The two largest principal components.
    Pca,
    /// t-distributed stochastic neighbour embedding: van der Maaten and Hinton, 2008; by the Barnes-Hut approximation.
    Tsne,
}

/// The choices of a map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MapOptions {
    /// The method.
    pub method: MapMethod,
    /// The seed of everything that is drawn at random.
    pub seed: u64,
    /// The number of neighbours that t-SNE keeps together, roughly; at most a third of the tracks that it is fitted to.
    /// `None`: 30, or that third if it is less.
    pub perplexity: Option<f64>,
    /// The most tracks that t-SNE is fitted to: a sample; the others are placed between their neighbours.
    pub fit: usize,
}

impl Default for MapOptions {
    fn default() -> Self {
        MapOptions { method: MapMethod::Pca, seed: 15, perplexity: None, fit: 10_000 }
    }
}

/// A map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Map {
    /// The method.
    pub method: MapMethod,
    /// The seed.
    pub seed: u64,
    /// The perplexity of t-SNE, as it was used.
    pub perplexity: Option<f64>,
    /// The share of the variance that the two components of a PCA have.
    pub explained: Option<f64>,
    /// The number of tracks that the map was fitted to.
    pub fitted: usize,
    /// The number of tracks that were placed between their neighbours: those beyond the sample, and those that were added
    /// later.
    pub placed: usize,
    /// What there is to know about the map, such as a perplexity that was lowered.
    pub notes: Vec<String>,
    /// Track, x and y, by ascending tracks.
    pub points: Vec<(usize, f32, f32)>,
}

/// The map of all live tracks of a space.
///
/// `progress` gets the share that is done, from 0 to 1.
///
/// # Errors
/// [`SearchError::Query`] for fewer than three tracks, and options out of range.
pub fn map(space: &Space<'_>, options: &MapOptions, progress: &(dyn Fn(f64) + Sync)) -> Result<Map> {
    let tracks: Vec<usize> = space.catalogue().live().ones().collect();
    if tracks.len() < 3 {
        return Err(SearchError::Query(format!("a map needs 3 tracks or more; the catalogue has {}", tracks.len())));
    }
    if options.fit < MIN_FIT {
        return Err(SearchError::Query(format!("invalid --fit {}: expected {MIN_FIT} tracks or more", options.fit)));
    }
    match options.method {
        MapMethod::Pca => Ok(pca(space, tracks, options)),
        MapMethod::Tsne => tsne(space, &tracks, options, progress),
    }
}

fn pca(space: &Space<'_>, tracks: Vec<usize>, options: &MapOptions) -> Map {
    let rows = Rows::new(space, tracks);
    let pca = Pca::of(&rows, 2, Pca::EXACT, options.seed);
    let coordinate = |values: &[f64], axis: usize| values.get(axis).copied().unwrap_or(0.0) as f32;
    let points = rows.tracks().iter().zip(pca.project(&rows));
    let mut notes = Vec::new();
    if pca.fitted < rows.tracks().len() {
        notes.push(format!("components of {} of {} tracks, drawn at random", pca.fitted, rows.tracks().len()));
    }
    let explained = pca.variances.iter().sum::<f64>() / pca.total_variance;
    Map {
        method: MapMethod::Pca,
        seed: options.seed,
        perplexity: None,
        explained: explained.is_finite().then_some(explained),
        fitted: pca.fitted,
        placed: 0,
        notes,
        points: points.map(|(&track, values)| (track, coordinate(&values, 0), coordinate(&values, 1))).collect(),
    }
}

fn tsne(space: &Space<'_>, tracks: &[usize], options: &MapOptions, progress: &(dyn Fn(f64) + Sync)) -> Result<Map> {
    let mut random = ChaCha8Rng::seed_from_u64(options.seed);
    let fitted = sample(tracks, options.fit, &mut random);
    let mut notes = Vec::new();
    if fitted.len() < tracks.len() {
        notes.push(format!(
            "fitted to {} of {} tracks; the others lie between their neighbours",
            fitted.len(),
            tracks.len()
        ));
    }
    let rows = Rows::new(space, fitted);
    let perplexity = perplexity(options, rows.tracks().len(), &mut notes)?;
    let points = tsne::embed(&rows, perplexity, options.seed, &mut notes, progress)?;
    let points = rows.tracks().iter().zip(points).map(|(&track, [x, y])| (track, x, y)).collect();
    let mut map = Map {
        method: MapMethod::Tsne,
        seed: options.seed,
        perplexity: Some(perplexity),
        explained: None,
        fitted: rows.tracks().len(),
        placed: 0,
        notes,
        points,
    };
    place::place(space, &mut map, tracks);
    Ok(map)
}

/// The perplexity for `fitted` tracks, of which each has three times as many neighbours.
fn perplexity(options: &MapOptions, fitted: usize, notes: &mut Vec<String>) -> Result<f64> {
    let most = ((fitted - 1) as f64 / 3.0).floor().clamp(1.0, MAX_PERPLEXITY);
    match options.perplexity {
        Some(given) if (1.0..=most).contains(&given) => Ok(given),
        Some(given) => Err(SearchError::Query(format!(
            "invalid --perplexity {given}: expected 1 to {most} for a map that is fitted to {fitted} tracks, each with three \
             times as many neighbours"
        ))),
        None if PERPLEXITY <= most => Ok(PERPLEXITY),
        None => {
            notes.push(format!("perplexity {most} instead of {PERPLEXITY}: the map is fitted to {fitted} tracks only"));
            Ok(most)
        }
    }
}

#[cfg(test)]
mod tests;
