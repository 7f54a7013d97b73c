//! The answer of a search.

use serde::{Deserialize, Serialize};

/// The answer of a search.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// The hits: best first, or with variety in the order in which they were chosen.
    pub hits: Vec<Hit>,
    /// Tracks that are versions of a seed, which are not among the hits.
    pub seed_versions: Vec<Version>,
    /// The live tracks of the catalogue.
    pub tracks: usize,
    /// How many of them the search compared: those that the filter keeps, without the seeds.
    pub compared: usize,
    /// How many tracks that rank above the last hit were left out, and why.
    pub left_out: LeftOut,
    /// The number of random pairs behind [`Hit::percentile`]; 0 if there are none.
    pub pairs: usize,
    /// What a reader of the hits has to know: what was left out, relaxed, or not done as asked.
    pub notes: Vec<String>,
}

/// The numbers of tracks that were left out although they rank above the last hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LeftOut {
    /// Because their artist already has the most hits.
    pub artist: usize,
    /// Because their album already has the most hits.
    pub album: usize,
    /// Because a hit just before is by the same artist or from the same album.
    pub gap: usize,
    /// Because they are too like other hits, with variety.
    pub variety: usize,
    /// Because they are versions of a hit, under which they are listed.
    pub versions: usize,
}

/// A hit of a search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The number of the track.
    pub track: usize,
    /// The number of the segment, if passages are searched.
    pub segment: Option<usize>,
    /// The path of its file, escaped by [`mert_table::escape`].
    pub file: String,
    /// Its title, if it is known.
    pub title: Option<String>,
    /// Its artist, if it is known.
    pub artist: Option<String>,
    /// The sum of the terms `w_g · cos_g` over the weighted hidden states.
    pub cosine: f64,
    /// What the hit is ranked by: the cosine, or what CSLS or a blend make of it.
    pub score: f64,
    /// The share of random pairs of tracks by different artists whose cosine is lower, in percent.
    pub percentile: Option<f64>,
    /// The share of other artists' tracks whose cosine with the same seeds is lower, in percent.
    pub percentile_of_query: Option<f64>,
    /// The passage: its start and end in seconds, if passages are searched.
    pub passage: Option<(f64, f64)>,
    /// Other tracks that are versions of this one.
    pub versions: Vec<Version>,
}

/// A track that is a version of a hit or a seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// The number of the track.
    pub track: usize,
    /// The path of its file, escaped.
    pub file: String,
    /// The cosine with the hit or seed that it is a version of.
    pub cosine: f64,
    /// By how many seconds it is longer than that.
    pub longer: f64,
}
