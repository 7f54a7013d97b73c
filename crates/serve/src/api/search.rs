//! `GET /search`: what sounds like some tracks or passages.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State as Shared};
use mert_search::query::{Blend, Hit, LeftOut, SearchLevel, SearchOptions, Version, search as run};
use serde::Serialize;

use super::{ApiError, ApiResult, TrackCard, blocking, query};
use crate::params::Params;
use crate::snapshot::Snapshot;
use crate::state::State;

/// The parameters beside those of a geometry.
const PARAMETERS: [&str; 12] = [
    "seed",
    "minus",
    "top",
    "level",
    "where",
    "variety",
    "per_artist",
    "per_album",
    "artist_gap",
    "album_gap",
    "versions",
    "blend",
];

/// The most hits of an answer.
pub(crate) const MOST: usize = 500;

/// The answer of a search: that of [`mert_search::query::search`], with what lists show of each track.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    generation: u64,
    hits: Vec<FoundHit>,
    seeds: Vec<FoundSeed>,
    /// Versions of the seeds, which are not among the hits.
    seed_versions: Vec<FoundVersion>,
    /// The tracks of the catalogue.
    tracks: usize,
    /// How many of them were compared.
    compared: usize,
    left_out: LeftOut,
    /// The number of random pairs behind the percentiles.
    pairs: usize,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct FoundHit {
    #[serde(flatten)]
    card: TrackCard,
    cosine: f64,
    score: f64,
    percentile: Option<f64>,
    percentile_of_query: Option<f64>,
    /// The number of the segment, if passages are searched.
    segment: Option<usize>,
    /// Its start and end in seconds.
    passage: Option<(f64, f64)>,
    versions: Vec<FoundVersion>,
}

#[derive(Debug, Serialize)]
struct FoundSeed {
    #[serde(flatten)]
    card: TrackCard,
    weight: f64,
    /// Start and end in seconds, if the seed is a passage.
    passage: Option<(f64, f64)>,
}

#[derive(Debug, Serialize)]
struct FoundVersion {
    #[serde(flatten)]
    card: TrackCard,
    cosine: f64,
    /// By how many seconds it is longer.
    longer: f64,
}

pub(super) async fn search(Shared(state): Shared<Arc<State>>, RawQuery(query): RawQuery) -> ApiResult<Json<Found>> {
    let params = query::parse(query.as_deref(), &PARAMETERS)?;
    let found = blocking(&state, move |snapshot| {
        let (seeds, cards) = query::seeds(snapshot, &params)?;
        let options = options(&params)?;
        let space = query::space(snapshot, &params)?;
        let answer = run(&space, &snapshot.calibration(&space, options.level), &seeds, &options)?;
        let found_seed = |((seed, weight), card): (&(mert_search::query::Seed, f64), TrackCard)| {
            let passage = match *seed {
                mert_search::query::Seed::Passage { start, end, .. } => Some((start, end)),
                _ => None,
            };
            FoundSeed { card, weight: *weight, passage }
        };
        Ok(Found {
            generation: snapshot.generation(),
            hits: answer.hits.into_iter().map(|hit| found_hit(snapshot, hit)).collect(),
            seeds: seeds.iter().zip(cards).map(found_seed).collect(),
            seed_versions: answer.seed_versions.into_iter().map(|version| found_version(snapshot, version)).collect(),
            tracks: answer.tracks,
            compared: answer.compared,
            left_out: answer.left_out,
            pairs: answer.pairs,
            notes: answer.notes,
        })
    });
    Ok(Json(found.await?))
}

/// The options of a search.
fn options(params: &Params) -> ApiResult<SearchOptions> {
    let mut options = SearchOptions { top: params.number("top", 1..=MOST)?.unwrap_or(20), ..SearchOptions::default() };
    options.level = match params.text("level") {
        None | Some("tracks") => SearchLevel::Tracks,
        Some("passages") => SearchLevel::Passages,
        Some(other) => return Err(ApiError::invalid(format!("invalid level={other}: expected tracks or passages"))),
    };
    options.filter = params.text("where").map(Into::into);
    options.variety = params.number("variety", 0.0..=1.0)?.unwrap_or(0.0);
    let limits = &mut options.limits;
    let fields = [
        ("per_artist", &mut limits.per_artist),
        ("per_album", &mut limits.per_album),
        ("artist_gap", &mut limits.artist_gap),
        ("album_gap", &mut limits.album_gap),
    ];
    for (name, field) in fields {
        if let Some(number) = params.number(name, 0..=MOST)? {
            *field = number;
        }
    }
    if params.flag("versions")? == Some(false) {
        options.versions = None;
    }
    for text in params.all("blend") {
        let blend = text.rsplit_once(':').and_then(|(column, weight)| Some((column, weight.parse().ok()?)));
        let (column, weight) = blend.ok_or_else(|| {
            ApiError::invalid(format!("invalid blend={}: expected COLUMN:WEIGHT", mert_search::excerpt(text)))
        })?;
        options.blend.push(Blend { column: column.into(), weight });
    }
    Ok(options)
}

fn found_hit(snapshot: &Snapshot, hit: Hit) -> FoundHit {
    FoundHit {
        card: TrackCard::new(snapshot, hit.track),
        cosine: hit.cosine,
        score: hit.score,
        percentile: hit.percentile,
        percentile_of_query: hit.percentile_of_query,
        segment: hit.segment,
        passage: hit.passage,
        versions: hit.versions.into_iter().map(|version| found_version(snapshot, version)).collect(),
    }
}

fn found_version(snapshot: &Snapshot, version: Version) -> FoundVersion {
    FoundVersion { card: TrackCard::new(snapshot, version.track), cosine: version.cosine, longer: version.longer }
}
