//! The identifiers by which other programs know tracks, artists and albums: this program's own, which depend on nothing but
//! the path or the names, those of MusicBrainz, ISRC, and any that were joined as the columns `item_id` and `artist_id`.

use std::collections::HashMap;

use mert_fs::sha256_bytes;
use mert_search::Column;

use crate::snapshot::Snapshot;

/// Columns of identifiers that stand for a track, the most specific first.
const TRACK_COLUMNS: [&str; 3] = ["item_id", "mb_recording_id", "isrc"];

/// Columns of identifiers that stand for an artist.
const ARTIST_COLUMNS: [&str; 2] = ["artist_id", "mb_artist_id"];

/// The length of an identifier in hexadecimal digits: 128 bits, as UUIDs have.
const DIGITS: usize = 32;

/// The largest difference in seconds of the lengths of two files of one recording.
const SAME_LENGTH: f64 = 3.0;

/// The identifiers of a catalogue's tracks and artists.
#[derive(Debug)]
pub(crate) struct Keys {
    /// This program's identifier of each track.
    ids: Vec<String>,
    /// Live tracks by identifier: their own, and those of [`TRACK_COLUMNS`] in lower case.
    tracks: HashMap<String, usize>,
    /// Live tracks by artist and title in lower case.
    titles: HashMap<(String, String), Vec<usize>>,
    /// Live tracks of artists and of albums.
    collections: HashMap<String, Vec<usize>>,
    /// Identifiers of collections by what else they are known by, in lower case.
    aliases: HashMap<String, String>,
}

impl Keys {
    pub(crate) fn new(snapshot: &Snapshot) -> Self {
        let catalogue = &snapshot.catalogue;
        let live = || catalogue.live().ones();
        let id = |track| identifier("track", catalogue.track(track).file);
        let ids: Vec<String> = (0..catalogue.tracks()).map(id).collect();
        let mut tracks: HashMap<String, usize> =
            live().filter_map(|track| Some((ids.get(track)?.clone(), track))).collect();
        for column in TRACK_COLUMNS.iter().filter_map(|name| catalogue.column(name).ok()) {
            for track in live() {
                for key in keys_in(&column, track) {
                    tracks.entry(key).or_insert(track);
                }
            }
        }
        let mut keys =
            Keys { ids, tracks, titles: HashMap::new(), collections: HashMap::new(), aliases: HashMap::new() };
        let columns: Vec<_> = ARTIST_COLUMNS.iter().filter_map(|name| catalogue.column(name).ok()).collect();
        for track in live() {
            let artist = snapshot.artist(track);
            if let Some(album) = snapshot.album(track) {
                keys.collections.entry(album_id(artist, album)).or_default().push(track);
            }
            let Some(artist) = artist else { continue };
            let id = artist_id(artist);
            let others = columns.iter().flat_map(|column| keys_in(column, track));
            for key in others.chain([artist.to_lowercase()]) {
                keys.aliases.entry(key).or_insert_with(|| id.clone());
            }
            keys.collections.entry(id).or_default().push(track);
            let title = snapshot.title(track).to_lowercase();
            keys.titles.entry((artist.to_lowercase(), title)).or_default().push(track);
        }
        keys
    }

    /// This program's identifier of a track.
    pub(crate) fn id(&self, track: usize) -> &str {
        self.ids.get(track).map_or("", String::as_str)
    }

    /// The live track that an identifier stands for.
    pub(crate) fn track(&self, id: &str) -> Option<usize> {
        self.tracks.get(&id.trim().to_lowercase()).copied()
    }

    /// The live track with an artist and a title in any case, of the length nearest to `duration` in seconds, from which it
    /// may differ by 3 s.
    pub(crate) fn titled(
        &self,
        snapshot: &Snapshot,
        artist: &str,
        title: &str,
        duration: Option<f64>,
    ) -> Option<usize> {
        let tracks = self.titles.get(&(artist.trim().to_lowercase(), title.trim().to_lowercase()))?;
        let Some(duration) = duration else { return tracks.first().copied() };
        let difference = |track: usize| (snapshot.catalogue.track(track).duration - duration).abs();
        let nearest = tracks.iter().copied().min_by(|&a, &b| difference(a).total_cmp(&difference(b)))?;
        (difference(nearest) <= SAME_LENGTH).then_some(nearest)
    }

    /// The identifier and the live tracks of an artist or album, by an identifier or an artist's name in any case.
    pub(crate) fn collection(&self, id: &str) -> Option<(&str, &[usize])> {
        let key = id.trim().to_lowercase();
        let id = self.aliases.get(&key).unwrap_or(&key);
        self.collections.get_key_value(id).map(|(id, tracks)| (id.as_str(), tracks.as_slice()))
    }
}

/// The identifier of an artist.
pub(crate) fn artist_id(name: &str) -> String {
    identifier("artist", &name.to_lowercase())
}

/// The identifier of an album of an artist.
pub(crate) fn album_id(artist: Option<&str>, album: &str) -> String {
    identifier("album", &format!("{}\n{album}", artist.unwrap_or_default()).to_lowercase())
}

/// The identifier of a track for a player: that of the player itself if it was joined as `item_id`, else this program's.
pub(super) fn id_for_players(snapshot: &Snapshot, track: usize) -> String {
    joined(snapshot, "item_id", track).unwrap_or_else(|| snapshot.keys().id(track).to_string())
}

/// The identifier of a track's artist for a player: that of the column `artist_id`, else this program's.
pub(super) fn artist_id_for_players(snapshot: &Snapshot, track: usize) -> Option<String> {
    joined(snapshot, "artist_id", track).or_else(|| snapshot.artist(track).map(artist_id))
}

fn joined(snapshot: &Snapshot, column: &str, track: usize) -> Option<String> {
    let column = snapshot.catalogue.column(column).ok()?;
    column.text(track).map(ToString::to_string).or_else(|| column.number(track).map(|number| number.to_string()))
}

fn identifier(kind: &str, text: &str) -> String {
    let mut digest = sha256_bytes(format!("{kind}\n{text}").as_bytes());
    digest.truncate(DIGITS);
    digest
}

/// What a column knows of a track, in lower case. A column of identifiers that are all digits is one of numbers.
fn keys_in(column: &Column, track: usize) -> Vec<String> {
    match column.number(track) {
        Some(number) => vec![number.to_string()],
        None => column.texts(track).map(|text| text.trim().to_lowercase()).filter(|text| !text.is_empty()).collect(),
    }
}
