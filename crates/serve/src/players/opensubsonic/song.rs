//! A song as OpenSubsonic's `Child`: <https://opensubsonic.netlify.app/docs/responses/child/>.

use std::path::Path;

use super::envelope::Field;
use crate::audio::media_type;
use crate::players::keys::{album_id, artist_id_for_players, id_for_players};
use crate::snapshot::Snapshot;

/// A track as a `Child`.
pub(super) fn child(snapshot: &Snapshot, track: usize) -> Field {
    let catalogue = &snapshot.catalogue;
    let record = catalogue.track(track);
    let mut fields = vec![
        ("id", Field::Text(id_for_players(snapshot, track))),
        ("isDir", Field::Flag(false)),
        ("title", Field::Text(snapshot.title(track).into_owned())),
        ("isVideo", Field::Flag(false)),
        ("type", Field::Text("music".into())),
        ("mediaType", Field::Text("song".into())),
        ("duration", Field::Whole(record.duration.round() as i64)),
        ("contentType", Field::Text(media_type(record.file).into())),
        ("path", Field::Text(record.file.into())),
    ];
    let artist = snapshot.artist(track);
    if let Some(extension) = Path::new(record.file).extension() {
        fields.push(("suffix", Field::Text(extension.to_string_lossy().to_lowercase())));
    }
    if let Some(artist) = artist {
        fields.push(("artist", Field::Text(artist.into())));
    }
    if let Some(id) = artist_id_for_players(snapshot, track) {
        fields.push(("artistId", Field::Text(id)));
    }
    if let Some(album) = snapshot.album(track) {
        fields.push(("album", Field::Text(album.into())));
        let id = album_id(artist, album);
        fields.push(("albumId", Field::Text(id.clone())));
        fields.push(("parent", Field::Text(id)));
    }
    for (name, column) in [("track", "track_number"), ("year", "year"), ("bpm", "bpm")] {
        if let Some(number) = catalogue.column(column).ok().and_then(|column| column.number(track)) {
            fields.push((name, Field::Whole(number.round() as i64)));
        }
    }
    let texts = |column: &str| -> Vec<String> {
        let column = catalogue.column(column).ok();
        column.iter().flat_map(|column| column.texts(track)).map(ToString::to_string).collect()
    };
    let genres = texts("genre");
    if let Some(genre) = genres.first() {
        fields.push(("genre", Field::Text(genre.clone())));
    }
    if let Some(recording) = texts("mb_recording_id").into_iter().next() {
        fields.push(("musicBrainzId", Field::Text(recording)));
    }
    let name = |genre: String| Field::Node(vec![("name", Field::Text(genre))]);
    fields.push(("genres", Field::List(genres.into_iter().map(name).collect())));
    fields.push(("isrc", Field::List(texts("isrc").into_iter().map(Field::Text).collect())));
    fields.push(("moods", Field::List(texts("mood").into_iter().map(Field::Text).collect())));
    Field::Node(fields)
}
