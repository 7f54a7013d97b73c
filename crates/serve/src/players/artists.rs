//! Artists as points: the direction of the mean of their tracks' directions.

use std::collections::HashMap;

use mert_search::space::Query;
use mert_search::{Level, Space};

use super::similar::{self, Similar, similarity};
use crate::api::ApiResult;
use crate::snapshot::Snapshot;

/// The most tracks of an artist that its point is made of.
const MOST_TRACKS: usize = 500;

/// The artists of a catalogue.
#[derive(Debug)]
pub(crate) struct Artists {
    artists: Vec<Artist>,
}

/// An artist.
#[derive(Debug)]
struct Artist {
    /// The live tracks.
    tracks: Vec<usize>,
    point: Query,
}

/// An artist that is like another.
#[derive(Debug)]
pub(super) struct SimilarArtist {
    /// A track of the artist, which has its name.
    pub(super) track: usize,
    /// From 0 to 1, which the same artist has.
    pub(super) similarity: f64,
    /// The tracks of the artist that was asked for that are nearest to this one.
    pub(super) theirs: Vec<Similar>,
    /// The tracks of this artist that are nearest to the one that was asked for.
    pub(super) own: Vec<Similar>,
}

impl Artists {
    /// The artists of a catalogue, in its default geometry.
    pub(crate) fn new(snapshot: &Snapshot) -> ApiResult<Self> {
        let space = similar::space(snapshot)?;
        let mut tracks: HashMap<String, Vec<usize>> = HashMap::new();
        for track in snapshot.catalogue.live().ones() {
            if let Some(artist) = snapshot.artist(track) {
                tracks.entry(artist.to_lowercase()).or_default().push(track);
            }
        }
        let mut artists: Vec<Artist> =
            tracks.into_values().map(|tracks| Artist { point: point(&space, &tracks), tracks }).collect();
        artists.sort_by_key(|artist| artist.tracks.first().copied());
        Ok(Artists { artists })
    }

    /// The artists nearest to the one that has `tracks`, of those with at least `fewest` tracks: one song by chance close
    /// to everything does not make its artist so.
    pub(super) fn similar(
        &self,
        snapshot: &Snapshot,
        tracks: &[usize],
        count: usize,
        fewest: usize,
    ) -> ApiResult<Vec<SimilarArtist>> {
        /// The tracks that stand for an artist.
        const REPRESENTATIVES: usize = 3;
        let space = similar::space(snapshot)?;
        let own = point(&space, tracks);
        let mut scored: Vec<(f64, &Artist)> = self
            .artists
            .iter()
            .filter(|artist| artist.tracks.len() >= fewest && artist.tracks.first() != tracks.first())
            .map(|artist| (space.score(&own, &artist.point), artist))
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.tracks.cmp(&b.1.tracks)));
        scored.truncate(count);
        let nearest = |tracks: &[usize], point: &Query| {
            let mut nearest: Vec<Similar> = tracks
                .iter()
                .map(|&track| Similar {
                    track,
                    similarity: similarity(space.score(point, &space.point(Level::Tracks, track))),
                })
                .collect();
            nearest.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.track.cmp(&b.track)));
            nearest.truncate(REPRESENTATIVES);
            nearest
        };
        let similar = |(cosine, artist): (f64, &Artist)| {
            Some(SimilarArtist {
                track: *artist.tracks.first()?,
                similarity: similarity(cosine),
                theirs: nearest(tracks, &artist.point),
                own: nearest(&artist.tracks, &own),
            })
        };
        Ok(scored.into_iter().filter_map(similar).collect())
    }
}

fn point(space: &Space<'_>, tracks: &[usize]) -> Query {
    let step = tracks.len().div_ceil(MOST_TRACKS).max(1);
    let points: Vec<(Query, f64)> =
        tracks.iter().step_by(step).map(|&track| (space.point(Level::Tracks, track), 1.0)).collect();
    space.combine(&points)
}
