//! The terms of a score.

use serde::{Deserialize, Serialize};

use super::facts::{Fact, facts};
use super::pairs::{Pair, Pairs, Participation};
use super::probes::{HeldOut, held_out};
use crate::query::{Calibration, Seed, Seeds};
use crate::space::{Query, Space};
use crate::vectors::Level;
use crate::{Result, SearchError};

/// The options of an explanation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExplainOptions {
    /// The number of pairs of passages that are listed.
    pub pairs: usize,
    /// The columns of [`Reasons::facts`]; empty for those that are usually known.
    pub columns: Vec<String>,
}

impl Default for ExplainOptions {
    fn default() -> Self {
        ExplainOptions { pairs: 5, columns: Vec::new() }
    }
}

/// The reasons of a track's score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reasons {
    /// The track.
    pub track: usize,
    /// The path of its file, escaped.
    pub file: String,
    /// The passage of the track that is explained, in seconds; `None` for the whole track.
    pub passage: Option<(f64, f64)>,
    /// The cosine, which the terms sum to.
    pub cosine: f64,
    /// The share of random pairs of tracks by different artists whose cosine is lower, in percent.
    pub percentile: Option<f64>,
    /// The average cosine of those pairs; 0 if there are none.
    pub average: f64,
    /// The terms by hidden state: their deviations sum to the cosine less the average.
    pub terms: Vec<GroupTerm>,
    /// The terms by seed, which sum to the cosine.
    pub seeds: Vec<SeedTerm>,
    /// The pairs of passages with the largest shares, largest first. All pairs' shares sum to the cosine.
    pub passages: Vec<Pair>,
    /// How much of both takes part; `None` if the score is not a sum over pairs of passages.
    pub participation: Option<Participation>,
    /// What is known of the seeds and of the track.
    pub facts: Vec<Fact>,
    /// What a reader of the figures has to know.
    pub notes: Vec<String>,
}

/// The term of a hidden state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupTerm {
    /// The name of the hidden state: `6`, or `mert_6` in hybrids.
    pub group: String,
    /// Its weight in the geometry.
    pub weight: f64,
    /// The term: without a learned metric, weight times cosine.
    pub term: f64,
    /// The average of the term over random pairs of tracks by different artists; 0 if there are none.
    pub average: f64,
    /// The term less its average.
    pub deviation: f64,
    /// What probes measured of this hidden state, if `mert-search probe` was run.
    #[serde(default)]
    pub probes: Vec<HeldOut>,
}

/// The term of a seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeedTerm {
    /// The seed's path or label.
    pub seed: String,
    /// Its weight in the query, below zero for one that hits should be unlike.
    pub weight: f64,
    /// Its own cosine with the track.
    pub cosine: f64,
    /// What it adds to the cosine of the query.
    pub term: f64,
}

/// The reasons of the score of a track, or of one segment, for the weighted `seeds`.
///
/// # Errors
/// [`SearchError::Query`] if there is no such row, or the seeds have no point in the space.
pub fn explain(
    space: &Space<'_>,
    calibration: &Calibration,
    seeds: &[(Seed, f64)],
    level: Level,
    row: usize,
    options: &ExplainOptions,
) -> Result<Reasons> {
    let catalogue = space.catalogue();
    let (rows, name) = match level {
        Level::Tracks => (catalogue.tracks(), "track"),
        Level::Segments => (catalogue.segments(), "segment"),
    };
    let missing = || SearchError::Query(format!("the catalogue has no {name} {row}"));
    let track = match level {
        _ if row >= rows => return Err(missing()),
        Level::Tracks => row,
        Level::Segments => catalogue.segment(row).track,
    };
    if !catalogue.live().contains(track) {
        return Err(missing());
    }
    let seeds = Seeds::new(space, seeds)?;
    let hit = space.point(level, row);
    let cosine = space.score(&seeds.point, &hit);
    let terms = group_terms(space, calibration, &seeds.point, &hit);
    let pairs = Pairs::new(space, &seeds, level, row)?;
    let mut notes = Vec::new();
    if calibration.pairs() == 0 {
        notes.push("no averages: there are no two tracks by different artists".into());
    }
    if pairs.is_none() {
        notes.push("the metric is not linear: its score is not a sum over pairs of passages".into());
    }
    if space.geometry().csls {
        notes.push("the terms are those of the cosine, before the correction for hubs (CSLS)".into());
    }
    Ok(Reasons {
        track,
        file: catalogue.track(track).file.to_string(),
        passage: (level == Level::Segments).then(|| {
            let segment = catalogue.segment(row);
            (segment.start, segment.end)
        }),
        cosine,
        percentile: calibration.percentile(cosine),
        average: terms.iter().map(|term| term.average).sum(),
        seeds: seed_terms(space, &seeds, &hit),
        terms,
        passages: pairs.as_ref().map(|pairs| pairs.largest(space, options.pairs)).unwrap_or_default(),
        participation: pairs.as_ref().map(Pairs::participation),
        facts: facts(catalogue, &seeds, track, &options.columns)?,
        notes,
    })
}

/// The terms of the score of `query` and `hit` by hidden state.
pub(super) fn group_terms(space: &Space<'_>, calibration: &Calibration, query: &Query, hit: &Query) -> Vec<GroupTerm> {
    let groups = space.catalogue().groups();
    let weights = &space.geometry().weights;
    let terms = space.terms(query, hit);
    // A head maps all hidden states at once: its one term has no single state.
    if terms.len() != weights.len() {
        let names: Vec<&str> = weights.iter().map(|&(group, _)| groups[group].name.as_str()).collect();
        let (term, average) = (terms.iter().sum(), calibration.average_terms().iter().sum());
        return vec![GroupTerm {
            group: names.join("+"),
            weight: 1.0,
            term,
            average,
            deviation: term - average,
            probes: Vec::new(),
        }];
    }
    let figures = held_out(space.catalogue());
    let averages = calibration.average_terms().iter().copied().chain(std::iter::repeat(0.0));
    let term = |((&(group, weight), term), average): ((&(usize, f64), f64), f64)| {
        let group = groups[group].name.clone();
        let of_group = figures.iter().filter(|(name, _)| *name == group);
        let probes = of_group.map(|(_, figure)| figure.clone()).collect();
        GroupTerm { group, weight, term, average, deviation: term - average, probes }
    };
    weights.iter().zip(terms).zip(averages).map(term).collect()
}

/// The terms of the score by seed: the query is a weighted sum of the seeds' points, scaled in each hidden state.
fn seed_terms(space: &Space<'_>, seeds: &Seeds<'_>, hit: &Query) -> Vec<SeedTerm> {
    let scales = seeds.scales();
    let term = |((seed, weight), point): (&(Seed, f64), &Query)| {
        let scaled = point
            .vectors()
            .iter()
            .zip(&scales)
            .map(|(vector, scale)| vector.iter().map(|value| scale * weight * value).collect());
        let scaled = Query::from_vectors(scaled.collect());
        SeedTerm {
            seed: seed.label(space.catalogue()),
            weight: *weight,
            cosine: space.score(point, hit),
            term: space.score(&scaled, hit),
        }
    };
    seeds.seeds.iter().zip(&seeds.points).map(term).collect()
}
