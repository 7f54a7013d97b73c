//! The cached table of a part's tracks: everything that a search reads of them, mapped and used in place.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::path::Path;

use mert_table::FileVersion;

use super::arrays::{Arrays, ArraysBuilder, Span, TextSpan};
use crate::catalogue::tracks::{TrackRecord, Value};
use crate::{Result, SearchError};

/// The size that marks an unknown version.
const UNKNOWN: u64 = u64::MAX;

/// The tracks of a part in a mapped file.
#[derive(Debug)]
pub(in crate::catalogue) struct TrackTable {
    arrays: Arrays,
    tracks: usize,
    /// The first segment of each track, and the number of all.
    starts: Span,
    durations: Span,
    sizes: Span,
    modified: Span,
    digests: Span,
    files: TextSpan,
    /// The tracks in the order of their files' names.
    order: Span,
}

/// The values of a column in a part.
pub(in crate::catalogue) enum CachedColumn<'a> {
    /// Numbers, unknown ones NaN.
    Numbers(&'a [f64]),
    /// Codes of texts: those of each track, from its start to that of the next, and the texts.
    Texts { starts: &'a [u32], codes: &'a [u32], names: Vec<&'a str> },
}

impl TrackTable {
    /// Maps the table of `tracks` tracks with `segments` segments.
    pub(super) fn open(path: &Path, tracks: usize, segments: usize) -> Result<Self> {
        let arrays = Arrays::open(path)?;
        let starts = arrays.find::<u64>("starts", Some(tracks + 1))?;
        let table = TrackTable {
            tracks,
            starts,
            durations: arrays.find::<f64>("durations", Some(tracks))?,
            sizes: arrays.find::<u64>("sizes", Some(tracks))?,
            modified: arrays.find::<i64>("modified", Some(tracks))?,
            digests: arrays.find::<u8>("sha256", Some(32 * tracks))?,
            files: arrays.find_texts("files", Some(tracks))?,
            order: arrays.find::<u32>("order", Some(tracks))?,
            arrays,
        };
        if table.arrays.values::<u64>(starts).last() != Some(&(segments as u64)) {
            let reason = format!("expected {segments} segments");
            return Err(SearchError::Damaged { path: path.to_path_buf(), reason, remedy: crate::vectors::REBUILD });
        }
        Ok(table)
    }

    /// The escaped path of a track's file.
    pub(in crate::catalogue) fn file(&self, track: usize) -> &str {
        self.arrays.text(self.files, track)
    }

    /// The length of a track's file in seconds.
    pub(in crate::catalogue) fn duration(&self, track: usize) -> f64 {
        self.arrays.values::<f64>(self.durations)[track]
    }

    /// The segments of a track.
    pub(in crate::catalogue) fn segments(&self, track: usize) -> Range<usize> {
        let starts = self.arrays.values::<u64>(self.starts);
        starts[track] as usize..starts[track + 1] as usize
    }

    /// The track of a segment.
    pub(in crate::catalogue) fn track_of(&self, segment: usize) -> usize {
        let starts = self.arrays.values::<u64>(self.starts);
        starts.partition_point(|&start| start <= segment as u64).saturating_sub(1)
    }

    /// Size and time of a track's file when it was embedded.
    pub(in crate::catalogue) fn version(&self, track: usize) -> Option<FileVersion> {
        let size = self.arrays.values::<u64>(self.sizes)[track];
        let modified = self.arrays.values::<i64>(self.modified)[track];
        (size != UNKNOWN).then_some(FileVersion { size, modified })
    }

    /// SHA-256 of a track's file, in hexadecimal, if it is known.
    pub(in crate::catalogue) fn sha256(&self, track: usize) -> Option<String> {
        let digest = &self.arrays.values::<u8>(self.digests)[32 * track..][..32];
        digest.iter().any(|&byte| byte != 0).then(|| mert_fs::hex(digest))
    }

    /// The tracks of the file with this escaped path, removed ones included.
    pub(in crate::catalogue) fn find(&self, file: &str) -> &[u32] {
        let order = self.arrays.values::<u32>(self.order);
        let start = order.partition_point(|&track| self.file(track as usize) < file);
        let count = order[start..].iter().take_while(|&&track| self.file(track as usize) == file).count();
        &order[start..start + count]
    }

    /// The names of the columns, those of joined tables with [`JOINED`] before them.
    pub(in crate::catalogue) fn columns(&self) -> impl Iterator<Item = String> {
        let names = self.arrays.names();
        names.filter_map(|name| {
            name.strip_prefix("number:").or_else(|| name.strip_prefix("codes:")).map(ToString::to_string)
        })
    }

    /// A column, `None` if there is none of this name.
    pub(in crate::catalogue) fn column(&self, name: &str) -> Result<Option<CachedColumn<'_>>> {
        let (number, codes) = (format!("number:{name}"), format!("codes:{name}"));
        let names: BTreeSet<String> = self.arrays.names().collect();
        if names.contains(&number) {
            let numbers = self.arrays.find::<f64>(&number, Some(self.tracks))?;
            return Ok(Some(CachedColumn::Numbers(self.arrays.values(numbers))));
        }
        if !names.contains(&codes) {
            return Ok(None);
        }
        let codes = self.arrays.find::<u32>(&codes, None)?;
        let starts = self.arrays.find::<u32>(&format!("starts:{name}"), Some(self.tracks + 1))?;
        let texts = self.arrays.find_texts(&format!("names:{name}"), None)?;
        let names = (0..Arrays::texts(texts)).map(|index| self.arrays.text(texts, index)).collect();
        let (starts, codes) = (self.arrays.values(starts), self.arrays.values(codes));
        Ok(Some(CachedColumn::Texts { starts, codes, names }))
    }
}

/// The start of the names of columns that come from joined tables.
pub(in crate::catalogue) const JOINED: &str = "joined.";

/// The bytes of the cached table of `tracks`.
pub(super) fn serialize(tracks: &[TrackRecord]) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let mut arrays = ArraysBuilder::default();
    let mut starts = vec![0];
    starts.extend(tracks.iter().scan(0, |segments, track| {
        *segments += u64::from(track.segments);
        Some(*segments)
    }));
    arrays.push("starts", &starts);
    arrays.push("durations", &tracks.iter().map(|track| track.duration).collect::<Vec<f64>>());
    let versions = || tracks.iter().map(|track| track.version);
    arrays.push("sizes", &versions().map(|version| version.map_or(UNKNOWN, |found| found.size)).collect::<Vec<u64>>());
    arrays.push("modified", &versions().map(|version| version.map_or(0, |found| found.modified)).collect::<Vec<i64>>());
    let digests = tracks.iter().flat_map(|track| digest(track.sha256.as_deref()));
    arrays.push("sha256", &digests.collect::<Vec<u8>>());
    arrays.push_texts("files", tracks.iter().map(|track| track.file.as_str()));
    let mut order: Vec<u32> = (0..tracks.len() as u32).collect();
    order.sort_by(|&a, &b| tracks[a as usize].file.cmp(&tracks[b as usize].file));
    arrays.push("order", &order);
    for name in column_names(tracks) {
        push_column(&mut arrays, &name, tracks.iter().map(|track| track.value(&name)));
    }
    arrays.finish()
}

/// The names of the columns of tracks, those of joined tables with [`JOINED`] before them.
pub(in crate::catalogue) fn column_names(tracks: &[TrackRecord]) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    let mut insert = |name: &str, start: &str| {
        let name = format!("{start}{name}");
        if !names.contains(&name) {
            names.insert(name);
        }
    };
    for track in tracks {
        track.metadata.keys().for_each(|name| insert(name, ""));
        track.joined.keys().for_each(|name| insert(name, JOINED));
    }
    names
}

fn push_column<'a>(arrays: &mut ArraysBuilder, name: &str, values: impl Iterator<Item = Option<&'a Value>> + Clone) {
    if values.clone().flatten().all(|value| matches!(value, Value::Number(_))) {
        let number = |value: Option<&Value>| if let Some(Value::Number(number)) = value { *number } else { f64::NAN };
        return arrays.push(format!("number:{name}"), &values.map(number).collect::<Vec<f64>>());
    }
    let (mut starts, mut codes) = (vec![0], Vec::new());
    let (mut names, mut known) = (Vec::new(), HashMap::new());
    for value in values {
        let texts = value.map(Value::texts).unwrap_or_default();
        for text in texts {
            let next = known.len() as u32;
            codes.push(*known.entry(text.clone()).or_insert_with(|| {
                names.push(text);
                next
            }));
        }
        starts.push(codes.len() as u32);
    }
    arrays.push(format!("codes:{name}"), &codes);
    arrays.push(format!("starts:{name}"), &starts);
    arrays.push_texts(&format!("names:{name}"), names.iter().map(String::as_str));
}

/// The bytes of a digest in hexadecimal; zeros if it is unknown.
fn digest(hex: Option<&str>) -> [u8; 32] {
    let mut digest = [0; 32];
    let pairs = hex.filter(|hex| mert_fs::is_sha256(hex)).unwrap_or_default().as_bytes().as_chunks::<2>().0;
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
    digest.iter_mut().zip(pairs).for_each(|(byte, [high, low])| *byte = digit(*high) * 16 + digit(*low));
    digest
}
