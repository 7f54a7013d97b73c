//! `GET /info`: what the catalogue holds.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State as Shared};
use mert_search::space::MIN_CENTERED;
use serde::Serialize;

use super::{ApiResult, blocking};
use crate::metrics::MetricInfo;
use crate::params::Params;
use crate::state::State;
use crate::uploads::{MOST_BYTES, MOST_SECONDS};

/// What the catalogue holds.
#[derive(Debug, Serialize)]
pub(super) struct Info {
    /// The name of the catalogue's folder.
    name: String,
    version: &'static str,
    generation: u64,
    /// The tracks that have not been removed.
    tracks: usize,
    /// Their segments.
    segments: usize,
    /// The length of their music in seconds.
    duration: f64,
    /// The hidden states, which `layers` weights.
    groups: Vec<GroupInfo>,
    /// Whether the mean can be subtracted; it is not in a catalogue of a few tracks.
    is_centered: bool,
    /// The names of the columns of metadata.
    columns: Vec<String>,
    /// SHA-256 of the model, in hexadecimal.
    model_sha256: String,
    /// The license of the model, if it is known.
    model_license: Option<String>,
    /// The learned metrics that `metric` chooses from.
    metrics: Vec<MetricInfo>,
    uploads: UploadInfo,
}

/// Whether files can be sent to search from.
#[derive(Debug, Serialize)]
struct UploadInfo {
    /// Whether the server was started with the model.
    is_enabled: bool,
    /// The most bytes of a file.
    most_bytes: u64,
    /// The longest file in seconds.
    most_seconds: f64,
}

/// A hidden state.
#[derive(Debug, Serialize)]
struct GroupInfo {
    name: String,
    dim: usize,
}

pub(super) async fn info(Shared(state): Shared<Arc<State>>, RawQuery(query): RawQuery) -> ApiResult<Json<Info>> {
    Params::parse(query.as_deref(), &[])?;
    let info = blocking(&state, |snapshot| {
        let catalogue = &snapshot.catalogue;
        let tracks = || catalogue.live().ones().map(|track| catalogue.track(track));
        let path = catalogue.folder().canonicalize().unwrap_or_else(|_| catalogue.folder().to_path_buf());
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let groups = catalogue.groups().iter();
        let settings = catalogue.settings();
        Ok(Info {
            name,
            version: env!("CARGO_PKG_VERSION"),
            generation: snapshot.generation(),
            tracks: catalogue.live().count_ones(..),
            segments: tracks().map(|track| track.segments.len()).sum(),
            duration: tracks().map(|track| track.duration).sum(),
            groups: groups.map(|group| GroupInfo { name: group.name.clone(), dim: group.dim }).collect(),
            is_centered: catalogue.live().count_ones(..) >= MIN_CENTERED,
            columns: catalogue.column_names().map(ToString::to_string).collect(),
            model_sha256: settings.model_sha256.clone(),
            model_license: settings.license.clone(),
            metrics: snapshot.metrics.iter().map(MetricInfo::new).collect(),
            uploads: UploadInfo {
                is_enabled: snapshot.uploads.is_enabled(),
                most_bytes: MOST_BYTES,
                most_seconds: MOST_SECONDS,
            },
        })
    });
    Ok(Json(info.await?))
}
