//! A page and a JSON API on a catalogue of music, for a browser on the same machine, and the protocols by which other
//! players ask for similar songs.
//!
//! Data flows one way: `server.rs` routes a request through the checks of `host.rs` to a handler; the handler takes a
//! `Snapshot` of the catalogue, asks `mert_search` on a thread that may block, and answers JSON. Audio is
//! addressed by the number of a track, never by a path.
//!
//! | | |
//! |---|---|
//! | `server.rs`, `host.rs`, `security.rs` | routes, the check of `Host` and `Origin`, headers |
//! | `state.rs`, `snapshot.rs` | the catalogue, reopened when it changes; what is looked up in it by name |
//! | `metrics.rs`, `uploads.rs` | learned metrics to choose from; files that a browser sent to search from |
//! | `params.rs`, `segment.rs`, `api/` | queries, and the JSON API: a file for each route |
//! | `audio/` | files with ranges, and passages as WAV |
//! | `players/` | OpenSubsonic's `sonicSimilarity`, and the routes of AudioMuse-AI that Navidrome's plugin calls |
//! | `assets/`, `openapi.rs` | the page, and the description of the API |

mod api;
mod assets;
mod audio;
mod error;
mod host;
mod metrics;
mod openapi;
mod params;
mod players;
mod security;
mod segment;
mod server;
mod snapshot;
mod state;
mod uploads;

pub use error::ServeError;
pub use host::is_host_name;
pub use metrics::NamedMetric;
pub use server::{DEFAULT_PORT, ServeOptions, serve};
pub use uploads::Embed;

/// The result of starting or running the server.
pub type Result<T, E = ServeError> = std::result::Result<T, E>;
