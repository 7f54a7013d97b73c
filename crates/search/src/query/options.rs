//! The options of a search, with defaults that `docs/search.md` explains.

use serde::{Deserialize, Serialize};

use crate::COMPRESSED_ABOVE;

/// What a search returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SearchLevel {
    /// Tracks, compared by the means of their segments.
    #[default]
    Tracks,
    /// Passages: of each track the segment that scores highest.
    Passages,
}

/// The options of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchOptions {
    /// The number of hits.
    pub top: usize,
    /// What is returned.
    pub level: SearchLevel,
    /// An expression that hits fulfil: see [`crate::filter`].
    pub filter: Option<String>,
    /// The weight of being unlike the hits before, from 0 (the pure ranking) to 1: see [`SearchOptions::POOL`].
    pub variety: f64,
    /// How many hits an artist or album may have.
    pub limits: Limits,
    /// When two tracks are versions of one recording; `None` to list each.
    pub versions: Option<Versions>,
    /// Columns of numbers that the order depends on beside the score.
    pub blend: Vec<Blend>,
    /// The number of vectors above which compressed ones are searched first: see [`Space::scan_above`](crate::Space::scan_above).
    /// 0: never.
    pub compressed_above: usize,
}

/// Limits of the hits by one artist or from one album. A track whose artist or album is unknown has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The most hits by one artist; 0 for any number.
    pub per_artist: usize,
    /// The most hits from one album; 0 for any number.
    pub per_album: usize,
    /// The fewest other hits between two by one artist.
    pub artist_gap: usize,
    /// The fewest other hits between two from one album.
    pub album_gap: usize,
}

/// When two tracks count as versions of one recording: both conditions hold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Versions {
    /// The largest cosine distance, 1 less the cosine.
    pub distance: f64,
    /// The largest difference of their lengths in seconds.
    pub seconds: f64,
}

/// A column of numbers that takes part in the order, after both it and the score are standardised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blend {
    /// The column.
    pub column: String,
    /// Its weight, from -1 to 1; the score has 1 less the sizes of all weights.
    pub weight: f64,
}

impl SearchOptions {
    /// The most hits of an answer.
    pub const MOST: usize = 1_000_000;

    /// The fewest candidates that variety chooses from; it is also at least ten times the number of hits.
    pub const POOL: usize = 200;
}

impl Default for SearchOptions {
    fn default() -> Self {
        SearchOptions {
            top: 10,
            level: SearchLevel::Tracks,
            filter: None,
            variety: 0.0,
            limits: Limits::default(),
            versions: Some(Versions::default()),
            blend: Vec::new(),
            compressed_above: COMPRESSED_ABOVE,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits { per_artist: 3, per_album: 2, artist_gap: 1, album_gap: 1 }
    }
}

impl Limits {
    /// No limits.
    pub const NONE: Limits = Limits { per_artist: 0, per_album: 0, artist_gap: 0, album_gap: 0 };
}

impl Default for Versions {
    fn default() -> Self {
        Versions { distance: 0.01, seconds: 3.0 }
    }
}
