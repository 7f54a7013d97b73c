//! The named part of a path, such as a track or a column. It refuses what is not UTF-8 as all errors are answered, and not
//! as plain text.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use crate::api::ApiError;

/// The only named part of a route's path, decoded.
#[derive(Debug)]
pub(crate) struct Segment(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(text)) => Ok(Segment(text)),
            Err(error) => Err(ApiError::invalid(error.body_text())),
        }
    }
}
