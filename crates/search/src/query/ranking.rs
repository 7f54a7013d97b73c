//! The ranking of the rows that a search compares, of which as much is computed as the hits need.

use fixedbitset::FixedBitSet;

use super::blend::Blended;
use super::options::{SearchLevel, SearchOptions};
use crate::Result;
use crate::space::{Query, Scored, Space};
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

/// Rows best first, those of equal score in ascending order, and how they were found if not by an exact scan.
#[derive(Debug, Default)]
pub(super) struct Ranking {
    pub(super) candidates: Vec<Candidate>,
    pub(super) note: Option<String>,
}

/// The best of `tracks`: at least `count`, or all.
pub(super) fn rank(
    space: &Space<'_>,
    query: &Query,
    tracks: &FixedBitSet,
    options: &SearchOptions,
    count: usize,
) -> Result<Ranking> {
    let available = tracks.count_ones(..);
    let mut ranking = match options.level {
        SearchLevel::Tracks => {
            let count = if options.blend.is_empty() { count } else { available };
            let (scored, note) = scan(space, query, Level::Tracks, tracks, options, count)?;
            let candidate = |row: Scored| {
                let cosine = cosine(space, query, Level::Tracks, &row);
                Candidate { track: row.row, segment: None, cosine, score: row.score }
            };
            Ranking { candidates: scored.into_iter().map(candidate).collect(), note }
        }
        SearchLevel::Passages => {
            let count = if options.blend.is_empty() { count.min(available) } else { available };
            best_passages(space, query, tracks, options, count)?
        }
    };
    if !options.blend.is_empty() {
        Blended::new(space.catalogue(), &options.blend, tracks)?.apply(&mut ranking.candidates);
    }
    Ok(ranking)
}

/// The best `count` of `rows`, and a note on how they were found. Compressed vectors find a small part of the rows; for more
/// of them all are scanned.
fn scan(
    space: &Space<'_>,
    query: &Query,
    level: Level,
    rows: &FixedBitSet,
    options: &SearchOptions,
    count: usize,
) -> Result<(Vec<Scored>, Option<String>)> {
    let (vectors, wanted) = (space.catalogue().rows(level), rows.count_ones(..));
    let is_small = count < wanted / 20;
    let above = if is_small { options.compressed_above } else { 0 };
    let scanned = space.scan_above(level, std::slice::from_ref(query), rows, count, above)?;
    let note = scanned.recall.map(|recall| {
        format!("{vectors} vectors were searched in compressed form first: recall@10 {recall:.3}, measured on a sample")
    });
    let is_passed_over = !is_small && options.compressed_above > 0 && vectors > options.compressed_above;
    let exact = is_passed_over.then(|| {
        let candidates = crate::count(count.min(wanted), "candidate");
        format!(
            "exact scan of {wanted} of {vectors} vectors: the search needs {candidates}, more than a twentieth of them"
        )
    });
    let notes: Vec<String> = note.into_iter().chain(exact).chain(scanned.note).collect();
    Ok((scanned.hits.into_iter().next().unwrap_or_default(), (!notes.is_empty()).then(|| notes.join("; "))))
}

/// The best segment of each track, for at least `count` tracks of `tracks`.
fn best_passages(
    space: &Space<'_>,
    query: &Query,
    tracks: &FixedBitSet,
    options: &SearchOptions,
    count: usize,
) -> Result<Ranking> {
    let catalogue = space.catalogue();
    let mut rows = FixedBitSet::with_capacity(catalogue.segments());
    tracks.ones().for_each(|track| rows.insert_range(catalogue.track(track).segments));
    let available = rows.count_ones(..);
    let mut wanted = count.saturating_mul(4);
    loop {
        let (scored, note) = scan(space, query, Level::Segments, &rows, options, wanted)?;
        let mut seen = FixedBitSet::with_capacity(catalogue.tracks());
        let mut candidates = Vec::new();
        for row in &scored {
            let track = catalogue.segment(row.row).track;
            if !seen.put(track) {
                let cosine = cosine(space, query, Level::Segments, row);
                candidates.push(Candidate { track, segment: Some(row.row), cosine, score: row.score });
            }
        }
        // Rows of a damaged file are never among those found, so that their number says nothing.
        if candidates.len() >= count || wanted >= available {
            return Ok(Ranking { candidates, note });
        }
        wanted = wanted.saturating_mul(4);
    }
}

/// The cosine of a scored row: its score, unless that is corrected for hubs.
fn cosine(space: &Space<'_>, query: &Query, level: Level, row: &Scored) -> f64 {
    match space.geometry().csls {
        true => space.score(query, &space.point(level, row.row)),
        false => row.score,
    }
}
