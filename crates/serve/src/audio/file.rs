//! `GET /audio/{track}`: the file of a track, with ranges, so that a browser can seek in it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State as Shared};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tower_http::services::ServeFile;

use super::range::Wanted;
use super::{media_type, path_of, vanished};
use crate::api::{ApiError, blocking};
use crate::params::Params;
use crate::segment::Segment;
use crate::state::State;

pub(super) async fn serve(
    Shared(state): Shared<Arc<State>>,
    Segment(track): Segment,
    request: Request,
) -> Result<Response, ApiError> {
    let params = Params::parse(request.uri().query(), &["generation"])?;
    let found = blocking(&state, move |snapshot| {
        let (track, path) = path_of(snapshot, &track, &params)?;
        // A folder would be answered with a redirection.
        match path.metadata() {
            Ok(metadata) if metadata.is_file() => Ok((media_type(snapshot.catalogue.track(track).file), path)),
            Ok(_) => Err(vanished(&path, "it is no longer a file")),
            Err(error) => Err(vanished(&path, &error.to_string())),
        }
    });
    let (kind, path) = found.await?;
    let (method, mut headers) = (request.method().clone(), request.headers().clone());
    // tower-http answers 416 where a range has to be ignored: another unit, several ranges, what is no range, other methods.
    let length = path.metadata().map_or(0, |metadata| metadata.len());
    match super::range::wanted(&without_condition(&headers), "", length) {
        Wanted::Part(first, last) if method == Method::GET => {
            headers.insert(RANGE, HeaderValue::try_from(format!("bytes={first}-{last}")).unwrap_or(WHOLE));
        }
        Wanted::Outside if method == Method::GET => {}
        _ => {
            headers.remove(RANGE);
        }
    }
    // tower-http answers a range even if the file is not what `If-Range` names (RFC 9110, section 13.1.5).
    if let Some(expected) = headers.remove(IF_RANGE) {
        let whole = bare(Method::HEAD, HeaderMap::new());
        let whole = ServeFile::new(&path).try_call(whole).await.map_err(|error| vanished(&path, &error.to_string()))?;
        if ![ETAG, LAST_MODIFIED].iter().any(|name| whole.headers().get(name) == Some(&expected)) {
            headers.remove(RANGE);
        }
    }
    let answer = ServeFile::new(&path).try_call(bare(method, headers)).await;
    let response = answer.map_err(|error| vanished(&path, &error.to_string()))?;
    if response.status() == StatusCode::NOT_FOUND {
        return Err(vanished(&path, "it cannot be read"));
    }
    let mut response = response.map(Body::new).into_response();
    if response.headers().contains_key(CONTENT_TYPE) {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

/// The range of all bytes.
const WHOLE: HeaderValue = HeaderValue::from_static("bytes=0-");

/// Headers without `If-Range`, which is checked with the file's own tag.
fn without_condition(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    headers.remove(IF_RANGE);
    headers
}

/// A request for the file without anything of the address, which `ServeFile` does not need.
fn bare(method: Method, headers: HeaderMap) -> Request {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    request
}
