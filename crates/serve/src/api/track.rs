//! `GET /tracks/{track}`: all that is known of a track, and how it is shown in lists.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State as Shared};
use serde::Serialize;
use serde_json::Value;

use super::{ApiResult, blocking, query};
use crate::audio;
use crate::params::Params;
use crate::segment::Segment;
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::uploads::Upload;

/// A track as lists show it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TrackCard {
    /// The number, which is valid in this generation; none for a file that was sent.
    track: Option<usize>,
    /// The identifier, which depends on the path alone, or for a file that was sent on its content.
    id: String,
    file: String,
    /// The title; without one, the name of the file.
    title: String,
    artist: Option<String>,
    album: Option<String>,
    /// The length in seconds.
    duration: f64,
    /// Whether browsers play the file, as far as its name shows.
    playable: bool,
}

impl TrackCard {
    pub(crate) fn new(snapshot: &Snapshot, track: usize) -> Self {
        let record = snapshot.catalogue.track(track);
        TrackCard {
            track: Some(track),
            id: snapshot.keys().id(track).to_string(),
            file: record.file.to_string(),
            title: snapshot.title(track).into_owned(),
            artist: snapshot.artist(track).map(Into::into),
            album: snapshot.album(track).map(Into::into),
            duration: record.duration,
            playable: audio::is_played_by_browsers(record.file),
        }
    }
}

impl TrackCard {
    /// A file that was sent.
    pub(crate) fn of_upload(upload: &Upload) -> Self {
        let stem = || upload.name.rsplit_once('.').map_or(upload.name.as_str(), |(stem, _)| stem).to_string();
        TrackCard {
            track: None,
            id: upload.id.clone(),
            file: upload.name.clone(),
            title: upload.tag("title").filter(|title| !title.trim().is_empty()).unwrap_or_else(stem),
            artist: upload.tag("artist").or_else(|| upload.tag("album_artist")),
            album: upload.tag("album"),
            duration: upload.duration().unwrap_or_default(),
            playable: audio::is_played_by_browsers(&upload.name),
        }
    }
}

/// A track with all that is known of it.
#[derive(Debug, Serialize)]
pub(super) struct Details {
    generation: u64,
    #[serde(flatten)]
    card: TrackCard,
    /// Numbers, and lists of texts, by column. What is not known is left out.
    metadata: BTreeMap<String, Value>,
    /// Start and end of each segment in seconds.
    segments: Vec<[f64; 2]>,
}

pub(super) async fn track(
    Shared(state): Shared<Arc<State>>,
    Segment(track): Segment,
    RawQuery(query): RawQuery,
) -> ApiResult<Json<Details>> {
    let params = Params::parse(query.as_deref(), &["generation"])?;
    let details = blocking(&state, move |snapshot| {
        snapshot.check_generation(params.generation()?)?;
        let track = query::track(snapshot, &track)?;
        let catalogue = &snapshot.catalogue;
        let mut metadata = BTreeMap::new();
        for name in catalogue.column_names() {
            let column = catalogue.column(name)?;
            if let Some(number) = column.number(track) {
                metadata.insert(name.to_string(), number.into());
            } else if column.is_known(track) {
                metadata.insert(name.to_string(), column.texts(track).map(Value::from).collect());
            }
        }
        let times = |row| {
            let segment = catalogue.segment(row);
            [segment.start, segment.end]
        };
        let segments = catalogue.track(track).segments.map(times).collect();
        let card = TrackCard::new(snapshot, track);
        Ok(Details { generation: snapshot.generation(), card, metadata, segments })
    });
    Ok(Json(details.await?))
}
