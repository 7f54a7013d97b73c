//! `GET /explain`: the terms of a hit's score, and optionally its contrast to another track.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State as Shared};
use mert_search::Level;
use mert_search::explain::{Contrast, ExplainOptions, Reasons, contrast, explain as run};
use mert_search::query::SearchLevel;
use serde::Serialize;

use super::{ApiError, ApiResult, TrackCard, blocking, query};
use crate::state::State;

/// The reasons of a score: those of [`mert_search::explain::explain`].
#[derive(Debug, Serialize)]
pub(super) struct Explained {
    generation: u64,
    hit: TrackCard,
    /// The seeds in order, which [`mert_search::explain::Pair::seed`] counts.
    seed_tracks: Vec<TrackCard>,
    #[serde(flatten)]
    reasons: Reasons,
    /// Why the hit scores above `versus`, or below it.
    contrast: Option<Contrast>,
}

pub(super) async fn explain(
    Shared(state): Shared<Arc<State>>,
    RawQuery(query): RawQuery,
) -> ApiResult<Json<Explained>> {
    let params = query::parse(query.as_deref(), &["seed", "minus", "hit", "segment", "versus", "pairs"])?;
    let explained = blocking(&state, move |snapshot| {
        let (seeds, seed_tracks) = query::seeds(snapshot, &params)?;
        let hit = query::track(snapshot, params.required("hit")?)?;
        let versus = params.text("versus").map(|text| query::track(snapshot, text)).transpose()?;
        let space = query::space(snapshot, &params)?;
        let rows = snapshot.catalogue.track(hit).segments;
        let (level, row, calibrated) = match params.number("segment", 0..=usize::MAX)? {
            None => (Level::Tracks, hit, SearchLevel::Tracks),
            Some(segment) if rows.contains(&segment) => (Level::Segments, segment, SearchLevel::Passages),
            Some(segment) => {
                let (first, last) = (rows.start, rows.end.saturating_sub(1));
                return Err(ApiError::invalid(format!(
                    "invalid segment={segment}: track {hit} has the segments {first} to {last}"
                )));
            }
        };
        let calibration = snapshot.calibration(&space, calibrated);
        let pairs = params.number("pairs", 0..=100)?.unwrap_or(5);
        let options = ExplainOptions { pairs, ..ExplainOptions::default() };
        let reasons = run(&space, &calibration, &seeds, level, row, &options)?;
        let contrast = versus.map(|versus| contrast(&space, &calibration, &seeds, hit, versus)).transpose()?;
        Ok(Explained {
            generation: snapshot.generation(),
            hit: TrackCard::new(snapshot, hit),
            seed_tracks,
            reasons,
            contrast,
        })
    });
    Ok(Json(explained.await?))
}
