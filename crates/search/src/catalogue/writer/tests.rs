//! Tests of additions: rows that are unchanged, and what is known of tracks that are replaced.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mert_table::{FileVersion, MemoryRows, Position, SourceFile, write};

use super::*;
use crate::catalogue::{NewTrack, Value, verify};
use crate::testing::settings;

const DIM: usize = 4;

/// A table of the files `0` and `1`, whose first values are `first`.
fn table(folder: &Path, first: [f32; 2]) -> PathBuf {
    let path = folder.join("table.parquet");
    let mut rows = MemoryRows::default();
    for (file, first) in first.into_iter().enumerate() {
        let version = FileVersion { size: 10, modified: 1 };
        rows.files.push(SourceFile::new(file.to_string().as_ref(), Some(version)));
        for window in 0..2 {
            let start = f64::from(window);
            let values = [first, 1.0 + window as f32, 2.0, 3.0];
            rows.push(Position { file, window, frame: None, start, end: start + 1.0 }, &values);
        }
    }
    write(&path, &settings(1, DIM), &mut rows).unwrap();
    path
}

/// What is known of a file that can be read: its digest, its loudness if it is measured, and a tag.
fn known(digest: &str, loudness: Option<f64>) -> NewTrack {
    let text = Value::Texts(vec!["tagged".into()]);
    let mut metadata = BTreeMap::from([("title".to_string(), text)]);
    metadata.extend(loudness.map(|loudness| ("loudness".to_string(), Value::Number(loudness))));
    NewTrack { sha256: Some(digest.repeat(32)), duration: Some(2.5), metadata, ..NewTrack::default() }
}

#[test]
fn a_table_that_is_added_again_changes_nothing_and_what_is_known_stays() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("catalogue");
    let mut writer = Writer::open(&root).unwrap();
    let first = table(folder.path(), [1.0, 2.0]);
    let added = writer.add(&first, |_| known("ab", Some(-12.0))).unwrap();
    assert_eq!((added.tracks, added.unchanged), (2, 0));
    let mut all = FixedBitSet::with_capacity(2);
    all.insert_range(..);
    let plays = |_: usize, track: &mut crate::catalogue::TrackRecord| {
        track.joined.insert("plays".into(), Value::Number(7.0));
    };
    writer.edit(&all, plays).unwrap();
    let values = |writer: &Writer, file: &str| {
        let catalogue = writer.catalogue().unwrap();
        catalogue.values(catalogue.find_file(file).unwrap())
    };
    let before = values(&writer, "0");
    assert_eq!(before[0].len() + before[1].len(), 3);

    // The same rows: nothing is written, whether the file can be read or not.
    let state = std::fs::read(root.join("catalogue.json")).unwrap();
    for about in [NewTrack::default(), known("ab", None)] {
        let added = writer.add(&first, |_| about.clone()).unwrap();
        assert_eq!((added.tracks, added.unchanged, added.lost_loudness), (0, 2, 0));
        assert_eq!(std::fs::read(root.join("catalogue.json")).unwrap(), state);
    }
    assert_eq!(writer.files_of(&first, str::to_string).unwrap(), [("0".into(), true), ("1".into(), true)]);
    assert_eq!(std::fs::read_dir(root.join("parts")).unwrap().count(), 1);

    // One file has other rows, and cannot be read: all that is known stays.
    let second = table(folder.path(), [1.0, 5.0]);
    assert_eq!(writer.files_of(&second, str::to_string).unwrap(), [("0".into(), true), ("1".into(), false)]);
    let added = writer.add(&second, |_| NewTrack::default()).unwrap();
    assert_eq!((added.tracks, added.replaced, added.unchanged, added.lost_loudness), (1, 1, 1, 0));
    assert_eq!((values(&writer, "0"), values(&writer, "1")), (before.clone(), before.clone()));
    assert_eq!(writer.catalogue().unwrap().sha256(2), Some("ab".repeat(32)));

    // Its bytes have changed, and its loudness was not measured: it is lost, which is counted, and what was joined stays.
    let third = table(folder.path(), [1.0, 6.0]);
    let added = writer.add(&third, |_| known("cd", None)).unwrap();
    assert_eq!((added.replaced, added.lost_loudness), (1, 1));
    let [tags, joined] = values(&writer, "1");
    assert_eq!((tags.contains_key("loudness"), joined), (false, before[1].clone()));
    // The part of the second table has no other track, and is gone with its files.
    assert_eq!(writer.catalogue().unwrap().manifest().parts.len(), 2);
    assert_eq!(std::fs::read_dir(root.join("parts")).unwrap().count(), 2);
    assert!(writer.freed().files > 0);

    // The other bytes of unchanged rows are recorded: only tags have changed.
    let added = writer.add(&third, |_| known("ef", None)).unwrap();
    assert_eq!((added.tracks, added.unchanged), (0, 2));
    let catalogue = writer.catalogue().unwrap();
    let track = catalogue.find_file("0").unwrap();
    assert_eq!(catalogue.sha256(track), Some("ef".repeat(32)));
    assert_eq!(values(&writer, "0"), before, "with the loudness of the same sound");
    drop(writer);
    let found = verify(&root, false, |_, _| ()).unwrap();
    assert!(found.faults.is_empty(), "{:?}", found.faults);
}
