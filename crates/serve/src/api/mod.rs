//! The JSON API under `/api/v1`: a file for each route. `openapi.json` describes it.

mod columns;
mod error;
mod explain;
mod info;
// MAP mod map;
mod path;
mod playlist;
pub(crate) mod query;
mod search;
pub(crate) mod suggest;
mod track;

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::routing::get;

pub(crate) use self::error::{ApiError, ApiResult};
pub(crate) use self::search::MOST;
pub(crate) use self::track::TrackCard;
use crate::snapshot::Snapshot;
use crate::state::State;

/// The routes, below the prefix.
pub(crate) fn routes() -> Router<Arc<State>> {
    Router::new()
        .route("/info", get(info::info))
        .route("/columns", get(columns::columns))
        .route("/columns/{name}", get(columns::column))
        .route("/suggest", get(suggest::suggest))
        .route("/tracks/{track}", get(track::track))
        .route("/search", get(search::search))
        .route("/explain", get(explain::explain))
        .route("/path", get(path::path))
        // MAP .route("/map", get(map::map))
        .route("/playlist", get(playlist::playlist))
}

/// Answers on a thread that may block, from the catalogue as it is now.
pub(crate) async fn blocking<T: Send + 'static>(
    state: &Arc<State>,
    answer: impl FnOnce(&Snapshot) -> ApiResult<T> + Send + 'static,
) -> ApiResult<T> {
    let state = Arc::clone(state);
    let task = tokio::task::spawn_blocking(move || answer(&state.snapshot()));
    task.await.unwrap_or_else(|_| {
        let message = "the request failed inside the server; its terminal has the reason";
        Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message))
    })
}

/// The answer for a path that leads nowhere.
pub(crate) async fn not_found(uri: Uri) -> ApiError {
    ApiError::not_found(format!("there is nothing at {}", uri.path()))
}

/// The answer for a method that a path does not have.
pub(crate) async fn method_not_allowed(uri: Uri) -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take this method", uri.path()))
}
