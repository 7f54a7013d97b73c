//! OpenSubsonic: the extension `sonicSimilarity`, version 1, and the older `getSimilarSongs` and `getSimilarSongs2`.
//! <https://opensubsonic.netlify.app/docs/extensions/sonicsimilarity/>
//!
//! Users and passwords are not checked: whoever reaches the server may ask.

mod envelope;
mod song;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{RawQuery, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use self::envelope::{Field, Form, answer};
use super::similar::{Similar, similar, way};
use crate::api::{ApiError, MOST, Route, blocking};
use crate::params::Params;
use crate::segment::Segment;
use crate::snapshot::Snapshot;
use crate::state::State;

pub(super) fn routes() -> Vec<Route> {
    vec![("/rest/{method}", get(with_query).post(with_form))]
}

async fn with_query(
    Shared(state): Shared<Arc<State>>,
    Segment(method): Segment,
    RawQuery(query): RawQuery,
) -> Response {
    respond(&state, &method, query.unwrap_or_default()).await
}

/// Parameters in the body, the extension `formPost`.
async fn with_form(
    Shared(state): Shared<Arc<State>>,
    Segment(method): Segment,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    let query = [query.unwrap_or_default().as_bytes(), &body].join(&b'&');
    respond(&state, &method, String::from_utf8_lossy(&query).into_owned()).await
}

/// An error with a code of the protocol.
#[derive(Debug)]
struct Failure {
    code: u32,
    message: String,
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let code = if error.status() == StatusCode::NOT_FOUND { 70 } else { 0 };
        Failure { code, message: error.message().to_string() }
    }
}

async fn respond(state: &Arc<State>, method: &str, query: String) -> Response {
    let params = Params::parse_any(Some(&query));
    let form = match params.text("f") {
        None | Some("xml") => Form::Xml,
        Some("json") => Form::Json,
        Some(other) => {
            let message = format!("the format {other} is not supported: give f=json or f=xml");
            return answer(Form::Xml, &[], Some((0, &message)));
        }
    };
    let method = method.strip_suffix(".view").unwrap_or(method).to_string();
    let content = blocking(state, move |snapshot| Ok(content(snapshot, &method, &params)));
    match content.await {
        Ok(Some(Ok(fields))) => answer(form, &fields, None),
        Ok(Some(Err(failure))) => answer(form, &[], Some((failure.code, &failure.message))),
        Ok(None) => {
            let response = answer(form, &[], Some((0, "this server does not have that method")));
            (StatusCode::NOT_FOUND, response).into_response()
        }
        Err(error) => error.into_response(),
    }
}

/// The content of an answer; none for a method that there is not.
fn content(snapshot: &Snapshot, method: &str, params: &Params) -> Option<Result<Vec<(&'static str, Field)>, Failure>> {
    Some(match method {
        "ping" => Ok(Vec::new()),
        "getOpenSubsonicExtensions" => Ok(extensions()),
        "getSonicSimilarTracks" => matches(snapshot, || {
            let track = track(snapshot, params, "id")?;
            Ok(similar(snapshot, &[track], count(params, 10), true)?)
        }),
        "findSonicPath" => matches(snapshot, || {
            let (from, to) = (track(snapshot, params, "startSongId")?, track(snapshot, params, "endSongId")?);
            Ok(way(snapshot, from, to, count(params, 25))?)
        }),
        "getSimilarSongs" => songs(snapshot, params).map(|songs| vec![("similarSongs", songs)]),
        "getSimilarSongs2" => songs(snapshot, params).map(|songs| vec![("similarSongs2", songs)]),
        _ => return None,
    })
}

fn extensions() -> Vec<(&'static str, Field)> {
    let extension = |name: &str| {
        Field::Node(vec![("name", Field::Text(name.into())), ("versions", Field::List(vec![Field::Whole(1)]))])
    };
    vec![("openSubsonicExtensions", Field::List(vec![extension("sonicSimilarity"), extension("formPost")]))]
}

/// The list `sonicMatch`: an entry and its similarity each.
fn matches(
    snapshot: &Snapshot,
    find: impl FnOnce() -> Result<Vec<Similar>, Failure>,
) -> Result<Vec<(&'static str, Field)>, Failure> {
    let entry = |similar: Similar| {
        Field::Node(vec![
            ("entry", song::child(snapshot, similar.track)),
            ("similarity", Field::Number(similar.similarity)),
        ])
    };
    Ok(vec![("sonicMatch", Field::List(find()?.into_iter().map(entry).collect()))])
}

/// Songs like a song, or like those of an artist or album.
fn songs(snapshot: &Snapshot, params: &Params) -> Result<Field, Failure> {
    let id = required(params, "id")?;
    let keys = snapshot.keys();
    let found = match (keys.track(id), keys.collection(id)) {
        (Some(track), _) => similar(snapshot, &[track], count(params, 50), true)?,
        (None, Some((_, tracks))) => similar(snapshot, tracks, count(params, 50), true)?,
        (None, None) => return Err(not_found(id)),
    };
    let songs = found.into_iter().map(|similar| song::child(snapshot, similar.track)).collect();
    Ok(Field::Node(vec![("song", Field::List(songs))]))
}

fn track(snapshot: &Snapshot, params: &Params, name: &str) -> Result<usize, Failure> {
    let id = required(params, name)?;
    snapshot.keys().track(id).ok_or_else(|| not_found(id))
}

fn required<'a>(params: &'a Params, name: &str) -> Result<&'a str, Failure> {
    params.text(name).ok_or_else(|| Failure { code: 10, message: format!("Required parameter `{name}` is missing.") })
}

fn not_found(id: &str) -> Failure {
    Failure { code: 70, message: format!("The catalogue has nothing with the id {id}.") }
}

/// A number of results; what is no number, or out of range, is the usual one or the nearest.
fn count(params: &Params, usual: usize) -> usize {
    params.text("count").and_then(|text| text.parse::<usize>().ok()).unwrap_or(usual).clamp(1, MOST)
}
