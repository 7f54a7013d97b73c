//! The ranking of the rows that a search compares, of which as much is computed as the hits need.

use fixedbitset::FixedBitSet;

use super::blend::Blended;
use super::options::{SearchLevel, SearchOptions};
use crate::Result;
use crate::space::{Query, Space};
use crate::vectors::Level;

/// A row of the ranking.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) track: usize,
    pub(super) segment: Option<usize>,
    /// The cosine with the query.
    pub(super) cosine: f64,
    /// What it is ranked by.
    pub(super) score: f64,
}

/// The best of `tracks`, best first; those of equal score in ascending order. There are at least `count`, or all.
pub(super) fn rank(
    space: &Space<'_>,
    query: &Query,
    tracks: &FixedBitSet,
    options: &SearchOptions,
    count: usize,
) -> Result<Vec<Candidate>> {
    let available = tracks.count_ones(..);
    let mut candidates = match options.level {
        SearchLevel::Tracks => {
            let count = if options.blend.is_empty() { count } else { available };
            let scored = space.scan(Level::Tracks, std::slice::from_ref(query), tracks, count).swap_remove(0);
            let candidate = |row: crate::Scored| {
                let cosine = cosine(space, query, Level::Tracks, &row);
                Candidate { track: row.row, segment: None, cosine, score: row.score }
            };
            scored.into_iter().map(candidate).collect()
        }
        SearchLevel::Passages => {
            let count = if options.blend.is_empty() { count.min(available) } else { available };
            best_passages(space, query, tracks, count)
        }
    };
    if !options.blend.is_empty() {
        Blended::new(space.catalogue(), &options.blend, tracks)?.apply(&mut candidates);
    }
    Ok(candidates)
}

/// The best segment of each track, for at least `count` tracks of `tracks`.
fn best_passages(space: &Space<'_>, query: &Query, tracks: &FixedBitSet, count: usize) -> Vec<Candidate> {
    let catalogue = space.catalogue();
    let mut rows = FixedBitSet::with_capacity(catalogue.segments());
    tracks.ones().for_each(|track| rows.insert_range(catalogue.track(track).segments));
    let available = rows.count_ones(..);
    let mut wanted = count.saturating_mul(4);
    loop {
        let scored = space.scan(Level::Segments, std::slice::from_ref(query), &rows, wanted).swap_remove(0);
        let mut seen = FixedBitSet::with_capacity(catalogue.tracks());
        let mut candidates = Vec::new();
        for row in &scored {
            let track = catalogue.segment(row.row).track;
            if !seen.put(track) {
                let cosine = cosine(space, query, Level::Segments, row);
                candidates.push(Candidate { track, segment: Some(row.row), cosine, score: row.score });
            }
        }
        if candidates.len() >= count || scored.len() >= available {
            return candidates;
        }
        wanted = wanted.saturating_mul(4);
    }
}

/// The cosine of a scored row: its score, unless that is corrected for hubs.
fn cosine(space: &Space<'_>, query: &Query, level: Level, row: &crate::Scored) -> f64 {
    match space.geometry().csls {
        true => space.score(query, &space.point(level, row.row)),
        false => row.score,
    }
}
