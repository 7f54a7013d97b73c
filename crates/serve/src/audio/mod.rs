//! Audio by the number of a track: the file itself with ranges, or a passage of it as WAV.

mod file;
mod media_type;
mod passage;
mod range;
mod wav;

use std::path::PathBuf;

use axum::routing::get;

pub(crate) use self::media_type::{is_played_by_browsers, media_type};
use crate::api::{ApiError, Route, query};
use crate::params::Params;
use crate::snapshot::Snapshot;

/// `/audio/{track}` and `/audio/{track}/passage`. Both answer `HEAD` as well.
pub(crate) fn routes() -> Vec<Route> {
    vec![("/audio/{track}", get(file::serve)), ("/audio/{track}/passage", get(passage::serve))]
}

/// The path of a track that has not been removed, by its number in a generation or its identifier.
fn path_of(snapshot: &Snapshot, track: &str, params: &Params) -> Result<(usize, PathBuf), ApiError> {
    snapshot.check_generation(params.generation()?)?;
    let track = query::track(snapshot, track)?;
    Ok((track, snapshot.catalogue.track(track).path()))
}

/// The error of a track whose file is not where it was.
fn vanished(path: &std::path::Path, reason: &str) -> ApiError {
    ApiError::not_found(format!("{} cannot be played: {reason}", mert_table::printable_path(path)))
}
