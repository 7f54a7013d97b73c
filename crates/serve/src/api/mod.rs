//! The JSON API under `/api/v1`: a file for each route. `openapi.json` describes it.

mod columns;
mod error;
mod explain;
mod info;
mod map;
mod path;
mod playlist;
pub(crate) mod query;
mod search;
pub(crate) mod suggest;
mod track;
mod uploads;

use std::sync::Arc;

use axum::http::{StatusCode, Uri};
use axum::routing::{MethodRouter, get, post};
use mert_search::excerpt;

pub(crate) use self::error::{ApiError, ApiResult};
pub(crate) use self::search::MOST;
pub(crate) use self::track::TrackCard;
use crate::openapi;
use crate::snapshot::Snapshot;
use crate::state::State;

/// A path and what answers it.
pub(crate) type Route = (&'static str, MethodRouter<Arc<State>>);

/// The routes, which `openapi.json` describes.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        ("/api/v1/info", get(info::info)),
        ("/api/v1/columns", get(columns::columns)),
        ("/api/v1/columns/{name}", get(columns::column)),
        ("/api/v1/suggest", get(suggest::suggest)),
        ("/api/v1/tracks/{track}", get(track::track)),
        ("/api/v1/search", get(search::search)),
        ("/api/v1/explain", get(explain::explain)),
        ("/api/v1/path", get(path::path)),
        ("/api/v1/map", get(map::map)),
        ("/api/v1/playlist", get(playlist::playlist)),
        ("/api/v1/uploads", post(uploads::create)),
        ("/api/v1/uploads/{id}", get(uploads::state)),
        ("/api/v1/openapi.json", get(openapi::document)),
    ]
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
    ApiError::not_found(format!("there is nothing at {}", excerpt(uri.path())))
}

/// The answer for a method that a path does not have.
pub(crate) async fn method_not_allowed(uri: Uri) -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take this method", excerpt(uri.path())))
}
