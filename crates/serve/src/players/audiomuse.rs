//! The routes of AudioMuse-AI that its plugin for Navidrome calls, `/api/similar_tracks`, `/api/find_path` and
//! `/api/similar_artists`, as the plugin reads their answers: <https://github.com/NeptuneHub/AudioMuse-AI-NV-plugin>.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State as Shared};
use axum::routing::get;
use mert_search::excerpt;
use serde::Serialize;

use super::keys::{artist_id_for_players, id_for_players};
use super::similar::{Similar, similar, way};
use crate::api::{ApiError, ApiResult, MOST, Route, blocking};
use crate::params::Params;
use crate::snapshot::Snapshot;
use crate::state::State;

/// The fewest tracks of an artist that is called similar, unless `min_tracks` is given.
const FEWEST_TRACKS: usize = 2;

pub(super) fn routes() -> Vec<Route> {
    vec![
        ("/api/similar_tracks", get(similar_tracks)),
        ("/api/find_path", get(find_path)),
        ("/api/similar_artists", get(similar_artists)),
    ]
}

/// A track.
#[derive(Debug, Serialize)]
struct Item {
    item_id: String,
    title: String,
    author: String,
    album: String,
    /// From 0, for the same song, to 1.
    distance: f64,
}

impl Item {
    fn new(snapshot: &Snapshot, similar: Similar) -> Self {
        let text = |text: Option<&str>| text.unwrap_or_default().to_string();
        let track = similar.track;
        Item {
            item_id: id_for_players(snapshot, track),
            title: snapshot.title(track).into_owned(),
            author: text(snapshot.artist(track)),
            album: text(snapshot.album(track)),
            distance: 1.0 - similar.similarity,
        }
    }
}

async fn similar_tracks(Shared(state): Shared<Arc<State>>, RawQuery(query): RawQuery) -> ApiResult<Json<Vec<Item>>> {
    let items = blocking(&state, move |snapshot| {
        let params = Params::parse_any(query.as_deref());
        let track = track(snapshot, &params)?;
        let limited = params.text("eliminate_duplicates").is_none_or(|text| text.eq_ignore_ascii_case("true"));
        let found = similar(snapshot, &[track], count(&params, "n", 50), limited)?;
        Ok(found.into_iter().map(|similar| Item::new(snapshot, similar)).collect())
    });
    Ok(Json(items.await?))
}

/// A way between two songs.
#[derive(Debug, Serialize)]
struct Way {
    path: Vec<Item>,
    /// The sum of the distances from the first song.
    total_distance: f64,
}

async fn find_path(Shared(state): Shared<Arc<State>>, RawQuery(query): RawQuery) -> ApiResult<Json<Way>> {
    let found = blocking(&state, move |snapshot| {
        let params = Params::parse_any(query.as_deref());
        let [from, to] = ["start_song_id", "end_song_id"].map(|name| {
            let id = params.required(name)?;
            snapshot.keys().track(id).ok_or_else(|| unknown(id))
        });
        let steps = way(snapshot, from?, to?, count(&params, "max_steps", 25))?;
        let path: Vec<Item> = steps.into_iter().map(|similar| Item::new(snapshot, similar)).collect();
        Ok(Way { total_distance: path.iter().map(|item| item.distance).sum(), path })
    });
    Ok(Json(found.await?))
}

/// An artist.
#[derive(Debug, Serialize)]
struct ArtistItem {
    artist: String,
    artist_id: String,
    /// From 0, for the same artist, to 1.
    divergence: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    component_matches: Vec<ComponentMatch>,
}

/// The songs in which two artists are nearest.
#[derive(Debug, Serialize)]
struct ComponentMatch {
    artist1_representative_songs: Vec<Song>,
    artist2_representative_songs: Vec<Song>,
}

#[derive(Debug, Serialize)]
struct Song {
    item_id: String,
    title: String,
}

async fn similar_artists(
    Shared(state): Shared<Arc<State>>,
    RawQuery(query): RawQuery,
) -> ApiResult<Json<Vec<ArtistItem>>> {
    let artists = blocking(&state, move |snapshot| {
        let params = Params::parse_any(query.as_deref());
        let id = params.text("artist").or_else(|| params.text("artist_id"));
        let id = id.ok_or_else(|| ApiError::invalid("the parameter `artist` is missing, and so is `artist_id`"))?;
        let (_, tracks) = snapshot.keys().collection(id).ok_or_else(|| {
            let id = excerpt(id);
            ApiError::not_found(format!(
                "no track of the catalogue is by an artist `{id}`: expected the name in its tags, or an identifier that a \
                 column artist_id or mb_artist_id has"
            ))
        })?;
        let fewest = params.number("min_tracks", 1..=MOST)?.unwrap_or(FEWEST_TRACKS);
        let with_songs = params.text("include_component_matches").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let found = snapshot.artists()?.similar(snapshot, tracks, count(&params, "n", 10), fewest)?;
        let songs = |similar: &[Similar]| {
            let song = |similar: &Similar| Song {
                item_id: id_for_players(snapshot, similar.track),
                title: snapshot.title(similar.track).into_owned(),
            };
            similar.iter().map(song).collect()
        };
        let item = |similar: super::artists::SimilarArtist| ArtistItem {
            artist: snapshot.artist(similar.track).unwrap_or_default().to_string(),
            artist_id: artist_id_for_players(snapshot, similar.track).unwrap_or_default(),
            divergence: 1.0 - similar.similarity,
            component_matches: match with_songs {
                true => vec![ComponentMatch {
                    artist1_representative_songs: songs(&similar.theirs),
                    artist2_representative_songs: songs(&similar.own),
                }],
                false => Vec::new(),
            },
        };
        Ok(found.into_iter().map(item).collect())
    });
    Ok(Json(artists.await?))
}

/// The track that a player asks about: by an identifier of any kind, or by artist and title, with the length in seconds.
fn track(snapshot: &Snapshot, params: &Params) -> ApiResult<usize> {
    let keys = snapshot.keys();
    let ids = ["item_id", "mbid", "isrc"].into_iter().filter_map(|name| params.text(name));
    let by_id = ids.clone().find_map(|id| keys.track(id));
    let by_name = || {
        let artist = params.text("artist").or_else(|| params.text("author"))?;
        let duration = params.text("duration").and_then(|text| text.parse().ok());
        keys.titled(snapshot, artist, params.text("title")?, duration)
    };
    match by_id.or_else(by_name) {
        Some(track) => Ok(track),
        None => Err(match ids.clone().next().or_else(|| params.text("title")) {
            Some(id) => unknown(id),
            None => ApiError::invalid("the parameter `item_id` is missing, and so are `title` and `artist`"),
        }),
    }
}

fn unknown(id: &str) -> ApiError {
    ApiError::not_found(format!(
        "the catalogue has no track `{}`: join the player's identifiers as a column item_id, or tag files with \
         MusicBrainz's",
        excerpt(id)
    ))
}

/// A number of results; what is no number, or out of range, is the usual one or the nearest.
fn count(params: &Params, name: &str, usual: usize) -> usize {
    params.text(name).and_then(|text| text.parse::<usize>().ok()).unwrap_or(usual).clamp(1, MOST)
}
