//! A catalogue of music by its embeddings: exact search in a geometry that is chosen with each query, filters on any
//! metadata, and the terms of every score.
//!
//! Data flows one way: [`catalogue`] holds tracks, their segments and what is known about them, as Parquet with mapped
//! copies of the vectors; [`vectors`] are those copies; a [`space`] is a geometry in which vectors of a catalogue are
//! compared; a [`filter`] keeps some tracks; a [`query`] ranks them; [`explain`] has the reasons, and [`playlist`] writes
//! the answer for players.

pub mod analysis;
pub mod catalogue;
pub mod cluster;
mod count;
mod error;
pub mod evaluate;
mod excerpt;
pub mod explain;
pub mod filter;
mod input_file;
pub mod learn;
pub mod map;
pub mod playlist;
pub mod probe;
pub mod query;
mod scan;
pub mod space;
#[cfg(test)]
mod testing;
pub mod vectors;

pub use catalogue::{Catalogue, Column, NewTrack, Writer, without_parents};
pub use count::{count, is_or_are, size};
pub use error::SearchError;
pub use excerpt::excerpt;
pub use input_file::require_regular_file;
pub use query::{Calibration, SearchOptions, Seed};
pub use space::{COMPRESSED_ABOVE, Geometry, Metric, Query, Scanned, Scored, Space, build_half};
pub use vectors::{Level, Vectors};

/// The result of a search, or of reading or changing a catalogue.
pub type Result<T, E = SearchError> = std::result::Result<T, E>;
