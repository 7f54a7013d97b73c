//! Searches: what sounds like some tracks, passages or files, with filters, limits for each artist and album, variety, and
//! figures that say how near a hit is.
//!
//! ```text
//! seeds ─▶ one point ─▶ rows that the filter keeps ─▶ ranking ─▶ versions collapsed ─▶ limits, variety ─▶ hits
//! ```

mod answer;
mod blend;
mod calibration;
mod credits;
mod options;
mod path;
mod ranking;
mod resolve;
mod search;
mod seed;
mod select;
mod vector_file;

pub use self::answer::{Answer, Hit, LeftOut, Version};
pub use self::calibration::Calibration;
pub use self::credits::Credits;
pub use self::options::{Blend, Limits, SearchLevel, SearchOptions, Versions};
pub use self::path::{Path, PathOptions, PathStep, path};
pub use self::resolve::{find_path, find_tracks, looks_like_times, parse_times, resolve_track};
pub use self::search::search;
pub(crate) use self::seed::{RawSegment, Seeds};
pub use self::seed::{Seed, SeedSegment};
pub use self::vector_file::read_vectors;

#[cfg(test)]
mod tests;
