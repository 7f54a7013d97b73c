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

/// The standard names of columns: those that tags are read into, and that of the measured loudness.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    COLUMNS.iter().map(|&(name, ..)| name).chain([super::LOUDNESS])
}

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

    fn texts(texts: &[&str]) -> Value {
        Value::Texts(texts.iter().map(ToString::to_string).collect())
    }

    /// A FLAC file without audio, by the format's specification: STREAMINFO, and a block of Vorbis comments.
    fn flac(comments: &[&str]) -> Vec<u8> {
        let mut block = 0u32.to_le_bytes().to_vec();
        block.extend((comments.len() as u32).to_le_bytes());
        for comment in comments {
            block.extend((comment.len() as u32).to_le_bytes());
            block.extend(comment.as_bytes());
        }
        let mut file = b"fLaC\x00\x00\x00\x22".to_vec();
        file.extend([0x10, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0xc4, 0x40, 0xf0, 0, 0, 0, 0]);
        file.extend([0; 16]);
        file.push(0x84);
        file.extend(&(block.len() as u32).to_be_bytes()[1..]);
        file.extend(block);
        file
    }

    /// An MP3 file of an ID3v2.4 tag with these frames, and one silent frame of MPEG audio.
    fn mp3(frames: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let synchsafe = |size: usize| [21, 14, 7, 0].map(|shift| (size >> shift) as u8 & 0x7f);
        let mut tag = Vec::new();
        for (name, content) in frames {
            tag.extend(name.as_bytes());
            tag.extend(synchsafe(content.len()));
            tag.extend([0, 0]);
            tag.extend(content);
        }
        let mut file = b"ID3\x04\x00\x00".to_vec();
        file.extend(synchsafe(tag.len()));
        file.extend(tag);
        for _ in 0..3 {
            file.extend([0xff, 0xfb, 0x90, 0xc4]);
            file.extend([0; 413]);
        }
        file
    }

    #[test]
    fn tags_of_several_formats_have_the_same_names() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str, bytes: Vec<u8>| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            read_tags(&path)
        };
        let (found, note) = read(
            "x.flac",
            flac(&[
                "TITLE=Ünï",
                "ARTIST=A",
                "ALBUMARTIST=B",
                "GENRE=Rock; Folk",
                "GENRE=Rock",
                "GENRE=Jazz",
                "DATE=1999-05-01",
                "TRACKNUMBER=3/12",
                "BPM=89.5",
                "INITIALKEY=Am",
                "MUSICBRAINZ_TRACKID=recording",
                "MUSICBRAINZ_RELEASETRACKID=track",
                "REPLAYGAIN_TRACK_GAIN=-6.50 dB",
                "LANGUAGE=eng",
                "ALBUM=",
            ]),
        );
        assert_eq!(note, None);
        let expected = [
            ("title", texts(&["Ünï"])),
            ("artist", texts(&["A"])),
            ("album_artist", texts(&["B"])),
            ("genre", texts(&["Rock", "Folk", "Jazz"])),
            ("year", Value::Number(1999.0)),
            ("track_number", Value::Number(3.0)),
            ("bpm", Value::Number(89.5)),
            ("key", texts(&["Am"])),
            ("mb_recording_id", texts(&["recording"])),
            ("replay_gain", Value::Number(-6.5)),
            ("language", texts(&["eng"])),
        ];
        let expected: BTreeMap<String, Value> =
            expected.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        assert_eq!(found, expected);

        let text = |text: &str| [b"\x03", text.as_bytes()].concat();
        let (found, note) = read(
            "x.mp3",
            mp3(&[
                ("TIT2", text("Title")),
                ("TCON", text("Rock\0Folk")),
                ("TBPM", text("120")),
                ("TKEY", text("Ebm")),
                ("TDRC", text("2001")),
                ("UFID", b"http://musicbrainz.org\0recording".to_vec()),
            ]),
        );
        assert_eq!(note, None);
        let expected = [
            ("title", texts(&["Title"])),
            ("genre", texts(&["Rock", "Folk"])),
            ("bpm", Value::Number(120.0)),
            ("key", texts(&["Ebm"])),
            ("year", Value::Number(2001.0)),
            ("mb_recording_id", texts(&["recording"])),
        ];
        let expected: BTreeMap<String, Value> =
            expected.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
        assert_eq!(found, expected);
    }

    /// Whatever the bytes are, the result is tags or a note.
    #[test]
    fn damaged_tags_are_a_note() {
        use rand::{Rng, SeedableRng};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.flac");
        let whole = flac(&["TITLE=T", "GENRE=Rock", "BPM=120"]);
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for cut in 0..whole.len() {
            let mut bytes = whole[..whole.len() - cut / 2].to_vec();
            let at = random.random_range(0..bytes.len());
            bytes[at] ^= random.random_range(1..=255u8);
            std::fs::write(&path, bytes).unwrap();
            let (tags, note) = read_tags(&path);
            assert!(note.is_none() || tags.is_empty());
        }
        assert!(read_tags(&folder.path().join("missing.ogg")).1.unwrap().contains("cannot be read"));
    }
}
