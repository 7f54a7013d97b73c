//! The files of the page, which are part of the program.

use std::sync::Arc;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::api::ApiError;
use crate::segment::Segment;
use crate::state::State;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! assets {
    ($($name:literal: $kind:expr),* $(,)?) => {
        &[$(($name, $kind, include_str!(concat!("assets/", $name)))),*]
    };
}

/// Name, type and content of each file.
const ASSETS: &[(&str, &str, &str)] = assets![
    "index.html": HTML,
    "icon.svg": SVG,
    "base.css": CSS,
    "layout.css": CSS,
    "components.css": CSS,
    "app.js": SCRIPT,
    "api.js": SCRIPT,
    "dom.js": SCRIPT,
    "format.js": SCRIPT,
    "store.js": SCRIPT,
    "search.js": SCRIPT,
    "combobox.js": SCRIPT,
    "controls.js": SCRIPT,
    "filters.js": SCRIPT,
    "hits.js": SCRIPT,
    "reasons.js": SCRIPT,
    "player.js": SCRIPT,
    "path.js": SCRIPT,
    "playlist.js": SCRIPT,
    "map.js": SCRIPT,
    "map-view.js": SCRIPT,
    "metrics.js": SCRIPT,
    "upload.js": SCRIPT,
    "theme.js": SCRIPT,
];

/// The page at `/`, its files at `/assets/`.
pub(crate) fn routes() -> Router<Arc<State>> {
    Router::new()
        .route("/", get(|| async { asset("index.html") }))
        .route("/favicon.ico", get(|| async { asset("icon.svg") }))
        .route("/assets/{name}", get(|Segment(name): Segment| async move { asset(&name) }))
}

fn asset(name: &str) -> Response {
    match ASSETS.iter().find(|(other, ..)| *other == name) {
        // Another version of the program has other files under the same names.
        Some(&(_, kind, text)) => ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], text).into_response(),
        None => ApiError::not_found(format!("the page has no file {}", mert_search::excerpt(name))).into_response(),
    }
}
