//! The protocols by which other programs ask for similar songs: OpenSubsonic's extension `sonicSimilarity`, and the routes
//! of AudioMuse-AI that Navidrome's plugin calls. Both answer from `similar.rs`, with the catalogue's default geometry.

mod artists;
mod audiomuse;
mod keys;
mod opensubsonic;
mod similar;

pub(crate) use self::artists::Artists;
pub(crate) use self::keys::Keys;
use crate::api::Route;

/// The routes of all protocols.
pub(crate) fn routes() -> Vec<Route> {
    audiomuse::routes().into_iter().chain(opensubsonic::routes()).collect()
}
