//! Rendered files read back, and notes that must not overlap or hang.

use super::*;
use crate::midi::read_midi;
use crate::render::end_to_end;
use crate::{Event, Note};

fn event(source: u32, start: f64, end: f64, notes: &[(u8, f64, f64)]) -> Event {
    let note = |&(key, start, end): &(u8, f64, f64)| Note { key, velocity: 90, start, end };
    Event {
        source,
        start,
        end,
        token: 0,
        first_frame: 0,
        frames: 1,
        notes: notes.iter().map(note).collect(),
        features: [None; 14],
        rhythm_ratio: None,
    }
}

/// The notes of a rendered file, as key, start and end in milliseconds.
fn rendered(placed: &[Placed<'_>], options: &MidiOptions) -> (Vec<(u8, i64, i64)>, MidiReport) {
    let (bytes, report) = midi_file(placed, options).unwrap();
    assert_eq!(midi_file(placed, options).unwrap().0, bytes);
    let read = read_midi(&bytes).unwrap();
    assert_eq!((read.unended, read.restruck, read.stray_ends, read.empty), (0, 0, 0, 0));
    assert_eq!(read.notes.len() as u64, report.notes);
    let milliseconds = |time: f64| (time * 1000.0).round() as i64;
    (read.notes.iter().map(|note| (note.key, milliseconds(note.start), milliseconds(note.end))).collect(), report)
}

#[test]
fn events_end_to_end_keep_their_notes_at_any_tempo() {
    let events = [event(0, 2.0, 2.5, &[(60, 2.0, 2.4), (64, 2.1, 2.5)]), event(1, 7.0, 7.25, &[(67, 7.0, 7.25)])];
    for tempo in [33.3, 120.0, 480.0] {
        let options = MidiOptions { tempo, ..MidiOptions::default() };
        let (notes, report) = rendered(&end_to_end(&events), &options);
        for (found, expected) in notes.iter().zip([(60, 0, 400), (64, 100, 500), (67, 500, 750)]) {
            // A tick of the slowest tempo is 1.9 ms, and rounding half of it.
            assert!(found.0 == expected.0 && (found.1 - expected.1).abs() <= 1 && (found.2 - expected.2).abs() <= 1);
        }
        assert_eq!(report, MidiReport { notes: 3, ..MidiReport::default() });
    }
}

#[test]
fn a_held_note_ends_with_its_event_unless_the_recording_goes_on() {
    let events = [event(0, 0.0, 0.5, &[(60, 0.0, 2.0)]), event(0, 0.5, 1.0, &[(64, 0.5, 1.0)])];
    let next = event(0, 1.5, 2.0, &[]);
    let (notes, report) = rendered(&end_to_end([&events[0], &events[1], &next]), &MidiOptions::default());
    assert_eq!((notes, report.shortened), (vec![(60, 0, 1000), (64, 500, 1000)], 1));
    let (notes, _) = rendered(&end_to_end([&events[0], &next]), &MidiOptions::default());
    assert_eq!(notes, [(60, 0, 500)]);
    // Moved apart in time they do not follow each other.
    let placed = [Placed { event: &events[0], start: 0.0 }, Placed { event: &events[1], start: 1.0 }];
    assert_eq!(rendered(&placed, &MidiOptions::default()).0[0], (60, 0, 500));
}

#[test]
fn one_key_never_sounds_twice() {
    let twice = event(0, 0.0, 1.0, &[(60, 0.0, 0.8), (60, 0.0, 0.5), (60, 0.4, 1.0), (72, 0.9, 1.0)]);
    let (notes, report) = rendered(&end_to_end([&twice]), &MidiOptions::default());
    assert_eq!(notes, [(60, 0, 400), (60, 400, 1000), (72, 900, 1000)]);
    assert_eq!((report.joined, report.shortened), (1, 1));
    // Folding makes one key of two.
    let options = MidiOptions { range: (60, 71), ..MidiOptions::default() };
    let (notes, report) = rendered(&end_to_end([&twice]), &options);
    assert_eq!((notes.len(), report.folded), (3, 1));
    assert!(notes.iter().all(|note| note.0 == 60));
    // Overlapping events at given times, and a note of less than a tick.
    let short = event(0, 0.0, 1.0, &[(60, 0.0, 0.9), (60, 0.9, 0.900_01)]);
    let placed = [Placed { event: &short, start: 0.0 }, Placed { event: &short, start: 0.3 }];
    rendered(&placed, &MidiOptions::default());
}

#[test]
fn transposed_notes_are_folded_into_the_range() {
    let options = |transpose, range| MidiOptions { transpose, range, ..MidiOptions::default() };
    let vectors = [
        (0, (0, 127), 60, 60, false),
        (7, (0, 127), 60, 67, false),
        (12, (0, 127), 120, 120, true),
        (-12, (0, 127), 5, 5, true),
        (0, (48, 59), 60, 48, true),
        (0, (48, 59), 47, 59, true),
        (127, (48, 59), 127, 50, true),
    ];
    for (transpose, range, key, expected, is_folded) in vectors {
        assert_eq!(options(transpose, range).key(key), (expected, is_folded), "{transpose} {range:?} {key}");
    }
    for key in 0..128 {
        for transpose in -127..=127 {
            let found = options(transpose, (50, 61)).key(key).0;
            assert!((50..=61).contains(&found));
            assert_eq!((i32::from(found) - i32::from(key) - transpose).rem_euclid(12), 0);
        }
    }
}

#[test]
fn options_and_times_outside_their_range_are_refused() {
    let ok = event(0, 0.0, 1.0, &[(60, 0.0, 1.0)]);
    let default = MidiOptions::default();
    for options in [
        MidiOptions { tempo: 0.0, ..default },
        MidiOptions { tempo: f64::NAN, ..default },
        MidiOptions { range: (60, 70), ..default },
        MidiOptions { range: (0, 128), ..default },
        MidiOptions { range: (0, 5), ..default },
        MidiOptions { channel: 16, ..default },
        MidiOptions { program: Some(128), ..default },
        MidiOptions { transpose: i32::MAX, ..default },
    ] {
        assert!(midi_file(&end_to_end([&ok]), &options).is_err(), "{options:?}");
    }
    for start in [-1.0, f64::NAN, 1e9] {
        assert!(midi_file(&[Placed { event: &ok, start }], &default).is_err());
    }
    assert!(midi_file(&[], &default).is_ok());
}
