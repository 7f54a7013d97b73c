//! What all protocols ask: songs like a song, and a way between two, with a similarity from 0 to 1.

use mert_search::query::{Limits, PathOptions, SearchLevel, SearchOptions, Seed, path, search};
use mert_search::{Geometry, Level, Space};

use crate::api::{ApiResult, MOST};
use crate::snapshot::Snapshot;

/// The most tracks of a collection that are seeds at once.
const MOST_SEEDS: usize = 200;

/// A song and its similarity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Similar {
    pub(super) track: usize,
    /// From 0 to 1, which the same song has.
    pub(super) similarity: f64,
}

/// A cosine as a number from 0, for the opposite, to 1, for the same.
pub(super) fn similarity(cosine: f64) -> f64 {
    (0.5 + 0.5 * cosine).clamp(0.0, 1.0)
}

/// The space that players' questions are answered in.
pub(super) fn space(snapshot: &Snapshot) -> ApiResult<Space<'_>> {
    Ok(Space::new(&snapshot.catalogue, Geometry::of(&snapshot.catalogue))?)
}

/// The songs nearest to some tracks, which are not among them. With `limited` an artist or album has only so many, and
/// versions of one recording are listed once.
pub(super) fn similar(snapshot: &Snapshot, tracks: &[usize], count: usize, limited: bool) -> ApiResult<Vec<Similar>> {
    let space = space(snapshot)?;
    let mut options = SearchOptions { top: count.clamp(1, MOST), ..SearchOptions::default() };
    if !limited {
        options.limits = Limits::NONE;
        options.versions = None;
    }
    let step = tracks.len().div_ceil(MOST_SEEDS).max(1);
    let seeds: Vec<(Seed, f64)> = tracks.iter().step_by(step).map(|&track| (Seed::Track(track), 1.0)).collect();
    let calibration = snapshot.calibration(&space, SearchLevel::Tracks);
    let hits = search(&space, &calibration, &seeds, &options)?.hits;
    Ok(hits.into_iter().map(|hit| Similar { track: hit.track, similarity: similarity(hit.cosine) }).collect())
}

/// A way of at most `count` songs, at least the two given ones, first and last. Similarities are with the first.
pub(super) fn way(snapshot: &Snapshot, from: usize, to: usize, count: usize) -> ApiResult<Vec<Similar>> {
    let space = space(snapshot)?;
    let options = PathOptions { steps: count.clamp(2, MOST) - 2, ..PathOptions::default() };
    let calibration = snapshot.calibration(&space, SearchLevel::Tracks);
    let steps = path(&space, &calibration, &Seed::Track(from), &Seed::Track(to), &options)?.steps;
    let first = space.point(Level::Tracks, from);
    let similar = |track: usize| {
        let cosine = if track == from { 1.0 } else { space.score(&first, &space.point(Level::Tracks, track)) };
        Similar { track, similarity: similarity(cosine) }
    };
    Ok(steps.into_iter().filter_map(|step| step.track).map(similar).collect())
}
