//! The tags of an audio file, of any format, as columns with standard names.
//!
//! | column | |
//! |---|---|
//! | `title`, `artist`, `album`, `album_artist`, `composer`, `isrc` | text |
//! | `genre`, `mood`, `language` | lists of text |
//! | `key` | the musical key as it is tagged, such as `Am` |
//! | `bpm`, `year`, `track_number` | numbers |
//! | `replay_gain` | the gain of the track in dB |
//! | `mb_recording_id`, `mb_artist_id`, `mb_album_id` | identifiers of MusicBrainz |

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use lofty::config::ParseOptions;
use lofty::file::{TaggedFile, TaggedFileExt};
use lofty::probe::Probe;
use lofty::tag::{ItemKey, Tag};

use super::tracks::Value;

/// How the texts of a tag become a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A text for each item.
    Text,
    /// Texts, also several in one item, with semicolons between them.
    List,
    /// The first number of the text, if it is above zero.
    Positive,
    /// The first number of the text.
    Number,
}

/// Columns with the keys of tags that they are read from, the first that is there. The item that tags call
/// `MUSICBRAINZ_TRACKID` is the identifier of the *recording*, and lofty names it so.
const COLUMNS: &[(&str, Kind, &[ItemKey])] = &[
    ("title", Kind::Text, &[ItemKey::TrackTitle]),
    ("artist", Kind::Text, &[ItemKey::TrackArtist, ItemKey::TrackArtists]),
    ("album", Kind::Text, &[ItemKey::AlbumTitle]),
    ("album_artist", Kind::Text, &[ItemKey::AlbumArtist]),
    ("composer", Kind::Text, &[ItemKey::Composer]),
    ("genre", Kind::List, &[ItemKey::Genre]),
    ("mood", Kind::List, &[ItemKey::Mood]),
    ("language", Kind::List, &[ItemKey::Language]),
    ("key", Kind::Text, &[ItemKey::InitialKey]),
    ("bpm", Kind::Positive, &[ItemKey::Bpm, ItemKey::IntegerBpm]),
    (
        "year",
        Kind::Positive,
        &[ItemKey::RecordingDate, ItemKey::Year, ItemKey::ReleaseDate, ItemKey::OriginalReleaseDate],
    ),
    ("track_number", Kind::Positive, &[ItemKey::TrackNumber]),
    ("replay_gain", Kind::Number, &[ItemKey::ReplayGainTrackGain]),
    ("isrc", Kind::Text, &[ItemKey::Isrc]),
    ("mb_recording_id", Kind::Text, &[ItemKey::MusicBrainzRecordingId]),
    ("mb_artist_id", Kind::Text, &[ItemKey::MusicBrainzArtistId]),
    ("mb_album_id", Kind::Text, &[ItemKey::MusicBrainzReleaseId]),
];

/// The tags of the file at `path`; none if it has none. A fault of the tags is a note: the music can be searched without
/// them.
pub fn read_tags(path: &Path) -> (BTreeMap<String, Value>, Option<String>) {
    // A damaged file may be one that lofty did not expect.
    match catch_unwind(AssertUnwindSafe(|| open(path))) {
        Ok(Ok(file)) => (columns(&file), None),
        Ok(Err(error)) => (BTreeMap::new(), Some(format!("its tags cannot be read: {error}"))),
        Err(_) => (BTreeMap::new(), Some("its tags cannot be read: they are damaged".into())),
    }
}

fn open(path: &Path) -> Result<TaggedFile, Box<dyn std::error::Error>> {
    let options = ParseOptions::new().read_properties(false).read_cover_art(false);
    let mut probe = Probe::new(BufReader::new(File::open(path)?)).options(options).guess_file_type()?;
    if probe.file_type().is_none()
        && let Some(kind) = lofty::file::FileType::from_path(path)
    {
        probe = probe.set_file_type(kind);
    }
    Ok(probe.read()?)
}

/// The columns of all tags in a file, the primary one first.
fn columns(file: &TaggedFile) -> BTreeMap<String, Value> {
    let primary = file.primary_tag();
    let others = file.tags().iter().filter(|tag| primary.is_none_or(|primary| !std::ptr::eq(primary, *tag)));
    let tags: Vec<&Tag> = primary.into_iter().chain(others).collect();
    let mut columns = BTreeMap::new();
    for (name, kind, keys) in COLUMNS {
        let values = tags.iter().flat_map(|tag| keys.iter().map(|&key| value(tag, key, *kind)));
        if let Some(value) = values.flatten().next() {
            columns.insert((*name).to_string(), value);
        }
    }
    columns
}

/// The value of an item, if it is there and not empty.
fn value(tag: &Tag, key: ItemKey, kind: Kind) -> Option<Value> {
    let texts = tag.get_strings(key);
    let separators: &[char] = if kind == Kind::List { &[';', '\0'] } else { &['\0'] };
    let mut texts = texts.flat_map(|text| text.split(separators)).map(str::trim).filter(|text| !text.is_empty());
    match kind {
        Kind::Text | Kind::List => {
            let mut found: Vec<String> = Vec::new();
            for text in texts {
                if !found.iter().any(|other| other == text) {
                    found.push(text.to_string());
                }
            }
            (!found.is_empty()).then_some(Value::Texts(found))
        }
        Kind::Positive => texts.find_map(first_number).filter(|&number| number > 0.0).map(Value::Number),
        Kind::Number => texts.find_map(first_number).map(Value::Number),
    }
}

/// The number at the start of a text, such as `3` of `3/12`, `1999` of `1999-05-01` and `-6.5` of `-6.5 dB`.
fn first_number(text: &str) -> Option<f64> {
    let text = text.replace(',', ".");
    let is_part = |(index, c): &(usize, char)| c.is_ascii_digit() || *c == '.' || *index == 0 && matches!(c, '+' | '-');
    let end = text.char_indices().take_while(is_part).last().map_or(0, |(index, c)| index + c.len_utf8());
    text[..end].parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_at_the_start_of_texts() {
        let cases = [
            ("3/12", Some(3.0)),
            ("1999-05-01", Some(1999.0)),
            ("-6.50 dB", Some(-6.5)),
            ("+0,3 dB", Some(0.3)),
            ("128", Some(128.0)),
            ("fast", None),
            ("", None),
            ("-", None),
            ("1.2.3", None),
        ];
        for (text, expected) in cases {
            assert_eq!(first_number(text), expected, "{text}");
        }
    }

    #[test]
    fn tags_of_several_formats_have_the_same_names() {
        let folder = tempfile::tempdir().unwrap();
        let (path, note) = (folder.path().join("x.mp3"), |found: (BTreeMap<String, Value>, Option<String>)| found.1);
        std::fs::write(&path, [0; 100]).unwrap();
        assert!(read_tags(&path).0.is_empty());
        assert!(note(read_tags(&folder.path().join("missing.ogg"))).unwrap().contains("cannot be read"));
    }
}
