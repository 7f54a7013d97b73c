//! `GET /audio/{track}/passage`: a passage, or the whole file, decoded to WAV, for formats that browsers do not play and
//! for passages that are to begin and end on time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State as Shared};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use mert_audio::{AudioError, AudioFile, Damage, ReadOptions, Source};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::range::{Wanted, wanted};
use super::wav::Wav;
use super::{path_of, vanished};
use crate::api::{ApiError, blocking};
use crate::params::Params;
use crate::segment::Segment;
use crate::snapshot::Snapshot;
use crate::state::State;

/// What is damaged is played as far as it can be.
const OPTIONS: ReadOptions = ReadOptions { damage: Damage::Keep, ffmpeg: true };

/// The latest time in seconds that a request may name: a week.
const LATEST: f64 = 604_800.0;

/// Blocks that are decoded ahead of the network.
const AHEAD: usize = 4;

pub(super) async fn serve(
    Shared(state): Shared<Arc<State>>,
    Segment(track): Segment,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let params = Params::parse(query.as_deref(), &["start", "end", "generation"])?;
    let (source, wav, etag) = blocking(&state, move |snapshot| open(snapshot, &track, &params)).await?;
    let length = wav.length();
    // A range is defined for GET alone (RFC 9110, section 14.2).
    let asked = if method == Method::GET { wanted(&headers, &etag, length) } else { Wanted::All };
    let (status, range) = match asked {
        Wanted::All => (StatusCode::OK, (0, length - 1)),
        Wanted::Part(first, last) => (StatusCode::PARTIAL_CONTENT, (first, last)),
        Wanted::Outside => {
            let error = ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, format!("the passage has {length} bytes"));
            return Ok(([(CONTENT_RANGE, format!("bytes */{length}"))], error).into_response());
        }
    };
    let mut fields: Vec<(HeaderName, String)> = vec![
        (CONTENT_TYPE, "audio/wav".into()),
        (CONTENT_LENGTH, (range.1 - range.0 + 1).to_string()),
        (ACCEPT_RANGES, "bytes".into()),
        (ETAG, etag),
        (CACHE_CONTROL, "private, no-cache".into()),
    ];
    if status == StatusCode::PARTIAL_CONTENT {
        fields.push((CONTENT_RANGE, format!("bytes {}-{}/{length}", range.0, range.1)));
    }
    let body = match method {
        Method::HEAD => Body::empty(),
        _ => {
            let permit = Arc::clone(state.decoding()).try_acquire_owned().map_err(|_| {
                let message = "too many passages are being played: close some of the pages that play them";
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message)
            })?;
            stream(source, wav, range, permit)?
        }
    };
    let mut response = (status, body).into_response();
    for (name, value) in fields {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// The open file of a track, the form of its passage, and a tag that changes with the file.
fn open(snapshot: &Snapshot, track: &str, params: &Params) -> Result<(AudioFile, Wav, String), ApiError> {
    let (track, path) = path_of(snapshot, track, params)?;
    let start = params.number("start", 0.0..=LATEST)?.unwrap_or(0.0);
    let end = params.number("end", 0.0..=LATEST)?;
    let metadata = path.metadata().map_err(|error| vanished(&path, &error.to_string()))?;
    let source = AudioFile::open(&path, OPTIONS).map_err(|error| match error {
        AudioError::Open { .. } => vanished(&path, &error.to_string()),
        error => ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error.to_string()),
    })?;
    let rate = source.sample_rate();
    let sample = |seconds: f64| (seconds * f64::from(rate)).round() as u64;
    let stated = source.info().frames;
    let total = stated.unwrap_or_else(|| sample(snapshot.catalogue.track(track).duration));
    let (first, last) = (sample(start), end.map_or(total, sample).min(total));
    if first >= last {
        let seconds = total as f64 / f64::from(rate);
        return Err(ApiError::invalid(format!(
            "invalid passage: expected a start before its end and before the end of the file at {seconds:.2} s"
        )));
    }
    // Within the limit by `min`.
    let samples = (last - first).min(Wav::MAX_SAMPLES) as u32;
    let wav = Wav { rate, first, samples };
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let nanos = modified.map_or(0, |time| time.as_nanos());
    let etag = format!("\"{nanos:x}-{:x}-{first:x}-{samples:x}\"", metadata.len());
    Ok((source, wav, etag))
}

/// A body that is decoded as it is sent, on a thread of its own: one that waits for a slow reader must not keep searches
/// waiting.
fn stream(source: AudioFile, wav: Wav, range: (u64, u64), permit: OwnedSemaphorePermit) -> Result<Body, ApiError> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let decode = move || {
        let _permit = permit;
        let sent = wav.write(source, range, |block| sender.blocking_send(Ok(Bytes::from(block))).is_ok());
        if let Err(error) = sent {
            // The answer has begun: all that can be done is to end it before its stated length.
            let _ = sender.blocking_send(Err(std::io::Error::other(error)));
        }
    };
    let thread = std::thread::Builder::new().name("passage".into()).spawn(decode);
    thread.map_err(|error| {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, format!("no thread can be started: {error}"))
    })?;
    Ok(Body::from_stream(Blocks { receiver }))
}

/// The blocks of a body, from the thread that decodes them.
struct Blocks {
    receiver: mpsc::Receiver<std::io::Result<Bytes>>,
}

impl Stream for Blocks {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(context)
    }
}
