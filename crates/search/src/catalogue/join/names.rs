//! The names of columns: those of other programs, and the standard ones that they become.

use crate::catalogue::tags;

/// Names that belong to the catalogue or to the language of filters.
const RESERVED: [(&str, &str); 3] = [
    ("file", "because that name is the path of each track here"),
    ("duration", "because every track has its own, from its file"),
    ("seed", "because that name has a meaning in filters"),
];

/// The names of the column with paths, the first that a table has.
const KEYS: [&str; 7] = ["path", "file", "filename", "file_name", "filepath", "file_path", "location"];

/// Names of beets (<https://beets.readthedocs.io>), of tags, and usual ones of other programs, and the standard ones.
const SYNONYMS: [(&str, &str); 30] = [
    ("tempo", "bpm"),
    ("beats_per_minute", "bpm"),
    ("genres", "genre"),
    ("moods", "mood"),
    ("languages", "language"),
    ("initial_key", "key"),
    ("initialkey", "key"),
    ("musical_key", "key"),
    ("albumartist", "album_artist"),
    ("artists", "artist"),
    ("artist_name", "artist"),
    ("album_name", "album"),
    ("album_title", "album"),
    ("track_name", "title"),
    ("track_title", "title"),
    ("song", "title"),
    ("composers", "composer"),
    ("track", "track_number"),
    ("tracknumber", "track_number"),
    ("track_no", "track_number"),
    ("rg_track_gain", "replay_gain"),
    ("replaygain", "replay_gain"),
    ("replaygain_track_gain", "replay_gain"),
    ("mb_trackid", "mb_recording_id"),
    ("musicbrainz_trackid", "mb_recording_id"),
    ("musicbrainz_recordingid", "mb_recording_id"),
    ("mb_artistid", "mb_artist_id"),
    ("musicbrainz_artistid", "mb_artist_id"),
    ("mb_albumid", "mb_album_id"),
    ("musicbrainz_albumid", "mb_album_id"),
];

/// Columns that hold lists, whose texts may be separated by semicolons.
const LISTS: [&str; 3] = ["genre", "mood", "language"];

/// Columns in which 0 stands for an unknown value, as beets writes it.
const POSITIVE: [&str; 3] = ["bpm", "year", "track_number"];

/// Whether the texts of the column may be lists with semicolons.
pub(super) fn is_list(name: &str) -> bool {
    LISTS.contains(&name)
}

/// Whether 0 stands for an unknown value in the column.
pub(super) fn is_zero_unknown(name: &str) -> bool {
    POSITIVE.contains(&name)
}

/// The column of the paths among `names`: `key` if it is given, or else the first usual name, in any case.
pub(super) fn key_of(names: &[String], key: Option<&str>) -> Option<usize> {
    if let Some(key) = key {
        let same = names.iter().position(|name| name == key);
        return same.or_else(|| names.iter().position(|name| name.to_lowercase() == key.to_lowercase()));
    }
    KEYS.iter().find_map(|key| names.iter().position(|name| plain(name) == *key))
}

/// The name that the column `name` has in a catalogue with the columns `known`.
pub(super) fn standard_name(name: &str, known: &[&str]) -> String {
    let plain = plain(name);
    let synonym = SYNONYMS.iter().find(|(synonym, _)| *synonym == plain).map(|&(_, standard)| standard);
    if let Some(standard) = synonym.or_else(|| tags::names().find(|standard| *standard == plain)) {
        return standard.to_string();
    }
    let lower = name.to_lowercase();
    match known.iter().find(|known| known.to_lowercase() == lower) {
        Some(known) if !known.eq(&name) => (*known).to_string(),
        _ => name.to_string(),
    }
}

/// Why no column of a joined table can have the name `name`, if none can.
pub(super) fn check_name(name: &str) -> Option<&'static str> {
    RESERVED.iter().find(|(reserved, _)| name.eq_ignore_ascii_case(reserved)).map(|&(_, reason)| reason)
}

/// A name in lower case, with underscores for spaces and hyphens.
fn plain(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '-'], "_")
}
