//! `GET /suggest`: tracks for what was typed into the search box.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State as Shared};
use serde::Serialize;

use super::{ApiResult, TrackCard, blocking};
use crate::params::Params;
use crate::snapshot::Snapshot;
use crate::state::State;

/// Tracks whose title, artist, album or file have all words of the text.
#[derive(Debug, Serialize)]
pub(super) struct Suggestions {
    generation: u64,
    /// How many tracks have all words.
    total: usize,
    /// The first of them: those first whose title begins with the text, then those where a word begins with it.
    tracks: Vec<TrackCard>,
}

/// The most tracks of an answer.
const MOST: usize = 100;

pub(super) async fn suggest(
    Shared(state): Shared<Arc<State>>,
    RawQuery(query): RawQuery,
) -> ApiResult<Json<Suggestions>> {
    let params = Params::parse(query.as_deref(), &["q", "limit"])?;
    let limit = params.number("limit", 1..=MOST)?.unwrap_or(10);
    let text = params.text("q").unwrap_or_default().to_lowercase();
    let suggestions = blocking(&state, move |snapshot| {
        let found = find(snapshot, &text);
        let tracks = match text.trim().is_empty() {
            true => spread(&found, limit),
            false => found.iter().take(limit).copied().collect(),
        };
        let tracks = tracks.into_iter().map(|track| TrackCard::new(snapshot, track)).collect();
        Ok(Suggestions { generation: snapshot.generation(), total: found.len(), tracks })
    });
    Ok(Json(suggestions.await?))
}

/// The live tracks that have all words of a text in lower case, best first.
pub(crate) fn find(snapshot: &Snapshot, text: &str) -> Vec<usize> {
    let text = text.trim();
    let words: Vec<&str> = text.split_whitespace().collect();
    let names = snapshot.names();
    let mut found: Vec<(u8, usize)> = Vec::new();
    for track in snapshot.catalogue.live().ones() {
        let Some(name) = names.get(track) else { continue };
        if words.iter().all(|word| name.contains(word)) {
            found.push((rank(name, text, &words), track));
        }
    }
    found.sort_unstable();
    found.into_iter().map(|(_, track)| track).collect()
}

/// 0 if a name begins with the text, 1 if a line of it does, 2 if all words begin words of it, else 3.
fn rank(name: &str, text: &str, words: &[&str]) -> u8 {
    let begins_word =
        |word: &&str| name.match_indices(*word).any(|(at, _)| !name[..at].ends_with(char::is_alphanumeric));
    match () {
        () if name.starts_with(text) => 0,
        () if name.lines().any(|line| line.starts_with(text)) => 1,
        () if words.iter().all(begins_word) => 2,
        () => 3,
    }
}

/// Tracks at equal distances, so that an empty search box shows what the catalogue is like.
fn spread(tracks: &[usize], limit: usize) -> Vec<usize> {
    let count = limit.min(tracks.len());
    (0..count).filter_map(|index| tracks.get(index * tracks.len() / count.max(1)).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_begin_with_the_text_come_first() {
        let words = ["mo"];
        let ranks: Vec<u8> = ["moon river\nandy", "river\nmoby", "the moon\na", "demo\na"]
            .iter()
            .map(|name| rank(name, "mo", &words))
            .collect();
        assert_eq!(ranks, [0, 1, 2, 3]);
    }

    #[test]
    fn an_empty_box_shows_tracks_from_the_whole_catalogue() {
        let tracks: Vec<usize> = (0..100).collect();
        assert_eq!(spread(&tracks, 4), [0, 25, 50, 75]);
        assert_eq!(spread(&tracks[..2], 4), [0, 1]);
        assert!(spread(&[], 4).is_empty());
    }
}
