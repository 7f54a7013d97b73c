//! `GET /path`: a way from one song to another.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State as Shared};
use mert_search::query::{PathOptions, SearchLevel, path as run};
use serde::Serialize;

use super::{ApiResult, TrackCard, blocking, query};
use crate::state::State;

/// The most tracks between two songs.
const MOST: usize = 200;

/// A way from one song to another.
#[derive(Debug, Serialize)]
pub(super) struct Way {
    generation: u64,
    steps: Vec<Step>,
    notes: Vec<String>,
}

/// A song on the way.
#[derive(Debug, Serialize)]
struct Step {
    #[serde(flatten)]
    card: TrackCard,
    /// The place on the way, from 0 to 1.
    position: f64,
    /// The cosine with the song before; none for the first.
    cosine: Option<f64>,
    /// The share of random pairs by different artists whose cosine is lower, in percent.
    percentile: Option<f64>,
    is_wide: bool,
}

pub(super) async fn path(Shared(state): Shared<Arc<State>>, RawQuery(query): RawQuery) -> ApiResult<Json<Way>> {
    let params = query::parse(query.as_deref(), &["from", "to", "steps", "where", "wide", "per_artist", "per_album"])?;
    let way = blocking(&state, move |snapshot| {
        snapshot.check_generation(params.generation()?)?;
        let (from, first) = query::seed(snapshot, params.required("from")?)?;
        let (to, last) = query::seed(snapshot, params.required("to")?)?;
        let mut options = PathOptions { filter: params.text("where").map(Into::into), ..PathOptions::default() };
        options.steps = params.number("steps", 0..=MOST)?.unwrap_or(options.steps);
        options.wide = params.number("wide", 0.0..=100.0)?.unwrap_or(options.wide);
        options.limits.per_artist = params.number("per_artist", 0..=MOST)?.unwrap_or(options.limits.per_artist);
        options.limits.per_album = params.number("per_album", 0..=MOST)?.unwrap_or(options.limits.per_album);
        let space = query::space(snapshot, &params)?;
        let path = run(&space, &snapshot.calibration(&space, SearchLevel::Tracks), &from, &to, &options)?;
        let step = |step: mert_search::query::PathStep| Step {
            card: match step.track {
                Some(track) => TrackCard::new(snapshot, track),
                // A file that was sent is an end of the way.
                None => if step.position < 0.5 { &first } else { &last }.clone(),
            },
            position: step.position,
            cosine: step.cosine,
            percentile: step.percentile,
            is_wide: step.is_wide,
        };
        let steps = path.steps.into_iter().map(step).collect();
        Ok(Way { generation: snapshot.generation(), steps, notes: path.notes })
    });
    Ok(Json(way.await?))
}
