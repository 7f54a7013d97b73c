//! `POST /uploads`: a file to search from, as the body of the request. `GET /uploads/{id}`: how far it is embedded.

use std::future::poll_fn;
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{RawQuery, State as Shared};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};
use futures_core::Stream;
use serde::Serialize;
use tempfile::NamedTempFile;

use super::{ApiError, ApiResult, TrackCard, blocking};
use crate::params::Params;
use crate::segment::Segment;
use crate::state::State;
use crate::uploads::{Embedding, MOST_BYTES, Upload};

/// The time in which the next part of a body must come.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest name that is kept, in characters.
const LONGEST_NAME: usize = 200;

/// An upload.
#[derive(Debug, Serialize)]
pub(super) struct Uploaded {
    id: String,
    /// `waiting`, `embedding`, `ready` or `failed`.
    state: &'static str,
    /// From 0 to 1; none if the length of the file is not known.
    progress: Option<f64>,
    /// The reason why it failed.
    reason: Option<String>,
    /// The upload as lists show it.
    card: TrackCard,
}

impl Uploaded {
    fn new(upload: &Upload) -> Self {
        let (state, progress, reason) = match upload.state() {
            Embedding::Waiting => ("waiting", Some(0.0), None),
            Embedding::Running(seconds) => {
                let part =
                    upload.stated.filter(|&stated| stated > 0.0).map(|stated| (seconds / stated).clamp(0.0, 1.0));
                ("embedding", part, None)
            }
            Embedding::Ready(_) => ("ready", Some(1.0), None),
            Embedding::Failed(reason) => ("failed", None, Some(reason)),
        };
        Uploaded { id: upload.id.clone(), state, progress, reason, card: TrackCard::of_upload(upload) }
    }
}

pub(super) async fn create(
    Shared(state): Shared<Arc<State>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<(StatusCode, Json<Uploaded>)> {
    let params = Params::parse(query.as_deref(), &["name"])?;
    let name = file_name(params.text("name").unwrap_or("upload"));
    if !state.uploads().is_enabled() {
        let message =
            "this server has no model to embed files with: start it with `mert-search serve CATALOGUE --model MODEL`";
        return Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, message));
    }
    let _receiving = state.receiving().try_acquire().map_err(|_| {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "other files are being received: try again when they are")
    })?;
    let stated = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if stated.is_some_and(|length| length > MOST_BYTES) {
        return Err(too_large(&name));
    }
    let file = state.uploads().file().map_err(|error| cannot_keep(&error.to_string()))?;
    let file = receive(body, file, &name).await?;
    let taken = blocking(&state, move |snapshot| {
        let sha256 = mert_fs::sha256_file(file.path()).map_err(|error| cannot_keep(&error.to_string()))?;
        let (upload, is_new) = snapshot.uploads.take(file.path(), &name, &sha256)?;
        Ok((upload, is_new.then_some(file)))
    });
    let (upload, file) = taken.await?;
    if let Some(file) = file {
        let (state, upload) = (Arc::clone(&state), Arc::clone(&upload));
        tokio::task::spawn_blocking(move || state.uploads().embed(&upload, file));
    }
    Ok((StatusCode::ACCEPTED, Json(Uploaded::new(&upload))))
}

pub(super) async fn state(
    Shared(state): Shared<Arc<State>>,
    Segment(id): Segment,
    RawQuery(query): RawQuery,
) -> ApiResult<Json<Uploaded>> {
    Params::parse(query.as_deref(), &[])?;
    Ok(Json(Uploaded::new(&*state.uploads().get(&id)?)))
}

/// Writes a body to a temporary file, which is deleted with the value.
async fn receive(body: Body, mut file: NamedTempFile, name: &str) -> ApiResult<NamedTempFile> {
    let mut stream = body.into_data_stream();
    let mut received = 0;
    loop {
        let part = poll_fn(|context| Pin::new(&mut stream).poll_next(context));
        let part = tokio::time::timeout(PATIENCE, part).await.map_err(|_| {
            ApiError::new(StatusCode::REQUEST_TIMEOUT, format!("{name}: nothing came for {} s", PATIENCE.as_secs()))
        })?;
        let Some(part) = part else { break };
        let part = part.map_err(|error| ApiError::invalid(format!("{name} did not arrive whole: {error}")))?;
        received += part.len() as u64;
        if received > MOST_BYTES {
            return Err(too_large(name));
        }
        file.write_all(&part).map_err(|error| cannot_keep(&error.to_string()))?;
    }
    match received {
        0 => Err(ApiError::invalid(format!("{name} is empty: expected an audio file as the body of the request"))),
        _ => Ok(file),
    }
}

fn too_large(name: &str) -> ApiError {
    let message = format!("{name} is too large: expected at most {} MiB", MOST_BYTES >> 20);
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
}

fn cannot_keep(reason: &str) -> ApiError {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the file cannot be kept while it is embedded: {reason}"))
}

/// The last part of a name, without control characters.
fn file_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String = last.chars().filter(|character| !character.is_control()).take(LONGEST_NAME).collect();
    if kept.trim().is_empty() { "upload".into() } else { kept }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_no_folders_and_no_controls() {
        for (given, expected) in [
            ("../../etc/passwd", "passwd"),
            ("C:\\music\\a.mp3", "a.mp3"),
            ("a\r\nb.ogg", "ab.ogg"),
            ("/", "upload"),
            ("<script>.wav", "<script>.wav"),
        ] {
            assert_eq!(file_name(given), expected);
        }
        assert_eq!(file_name(&"x".repeat(10_000)).len(), LONGEST_NAME);
    }
}
