//! MIDI files made byte by byte, valid and damaged. `scripts/check/events.py` compares with mido and pretty_midi.

use super::*;

/// A file of a format and division with tracks of these bytes.
fn file(format: u16, division: u16, tracks: &[&[u8]]) -> Vec<u8> {
    let mut bytes = b"MThd\0\0\0\x06".to_vec();
    for number in [format, tracks.len() as u16, division] {
        bytes.extend(number.to_be_bytes());
    }
    for track in tracks {
        bytes.extend(b"MTrk");
        bytes.extend((track.len() as u32).to_be_bytes());
        bytes.extend(*track);
    }
    bytes
}

const END: [u8; 4] = [0, 0xFF, 0x2F, 0];

fn track(events: &[&[u8]]) -> Vec<u8> {
    [events.concat(), END.to_vec()].concat()
}

fn tempo(delta: u8, microseconds: u32) -> Vec<u8> {
    [&[delta, 0xFF, 0x51, 3], &microseconds.to_be_bytes()[1..]].concat()
}

fn note(key: u8, start: f64, end: f64) -> Note {
    Note { key, velocity: 64, start, end }
}

#[test]
fn every_change_of_tempo_counts_also_within_a_note() {
    // 96 ticks a quarter note; the tempo changes in another track, at ticks 0, 96 and 144.
    let tempi = track(&[&tempo(0, 1_000_000), &tempo(96, 500_000), &tempo(48, 250_000)]);
    let notes = track(&[&[0, 0x90, 60, 64], &[96, 60, 0], &[0, 62, 64], &[0x81, 0, 0x80, 62, 0]]);
    let read = read_midi(&file(1, 96, &[&tempi, &notes])).unwrap();
    // From tick 96 to 224: 48 ticks at 0.5 s and 80 at 0.25 s a quarter note.
    assert_eq!(read.notes, [note(60, 0.0, 1.0), note(62, 1.0, 1.0 + 0.25 + 80.0 / 96.0 * 0.25)]);
    assert_eq!((read.tempi, read.unended, read.restruck, read.stray_ends), (3, 0, 0, 0));
}

#[test]
fn without_a_tempo_it_is_120_and_smpte_has_no_tempo() {
    let notes = track(&[&[24, 0x90, 60, 64], &[24, 60, 0]]);
    assert_eq!(read_midi(&file(0, 24, &[&notes])).unwrap().notes, [note(60, 0.5, 1.0)]);
    // 25 frames of 40 ticks: a tick is 1 ms, whatever the tempo.
    let with_tempo = track(&[&tempo(0, 1_000_000), &[100, 0x90, 60, 64], &[100, 60, 0]]);
    let read = read_midi(&file(0, 0xE728, &[&with_tempo])).unwrap();
    assert_eq!(read.notes, [note(60, 0.1, 0.2)]);
    // −29 is 30000/1001 frames a second.
    let read = read_midi(&file(0, 0xE301, &[&track(&[&[30, 0x90, 60, 64], &[30, 60, 0]])])).unwrap();
    assert!((read.notes[0].start - 1.001).abs() < 1e-12);
}

#[test]
fn notes_without_an_end_end_with_their_track_and_doubled_ones_do_not_overlap() {
    let notes = track(&[
        &[0, 0x90, 60, 64],
        &[12, 60, 64],      // struck again
        &[12, 0x80, 60, 0], // ends the second one
        &[0, 60, 0],        // ends nothing
        &[0, 0x90, 64, 64], // has no end
        &[0, 0x91, 64, 64], // the same key of another channel
        &[24, 0x81, 64, 0],
        &[0, 0x99, 36, 64], // percussion
        &[12, 0x89, 36, 0],
        &[0, 0x90, 70, 64], // of no length
        &[0, 70, 0],
        &[12, 0xC0, 5], // a program change after the last end
    ]);
    let read = read_midi(&file(0, 24, &[&notes])).unwrap();
    assert_eq!(read.notes, [note(60, 0.0, 0.25), note(60, 0.25, 0.5), note(64, 0.5, 1.0), note(64, 0.5, 1.5)]);
    assert_eq!((read.restruck, read.stray_ends, read.unended, read.percussion, read.empty), (1, 1, 1, 1, 1));
}

#[test]
fn damaged_files_are_refused_with_what_is_wrong() {
    let notes = track(&[&[0, 0x90, 60, 64], &[24, 60, 0]]);
    let good = file(1, 24, &[&notes, &notes]);
    assert!(read_midi(&good).is_ok());
    for length in 0..good.len() {
        assert!(read_midi(&good[..length]).is_err(), "cut to {length} bytes");
    }
    let message = |bytes: &[u8]| read_midi(bytes).unwrap_err().to_string();
    assert!(message(b"RIFF....WAVE").contains("not a valid Standard MIDI File"));
    assert!(message(&file(2, 24, &[&notes])).contains("format 2"));
    assert!(message(&file(0, 0, &[&notes])).contains("0 ticks"));
    assert!(message(&file(0, 0xE700, &[&notes])).contains("0 ticks"));
    assert!(message(&file(0, 24, &[&notes[..notes.len() - 4]])).contains("track 1 has no end-of-track"));
    // Running status without a status, and a key above 127.
    assert!(message(&file(0, 24, &[&track(&[&[0, 60, 64]])])).contains("track 1"));
    assert!(read_midi(&file(0, 24, &[&track(&[&[0, 0x90, 0xF8, 64]])])).is_err());
    let mut declared = good.clone();
    declared[11] = 3;
    assert!(message(&declared).contains("declares 3 tracks, and it has 2"));
}

#[test]
fn no_single_byte_makes_the_reader_panic() {
    let notes = track(&[&tempo(0, 400_000), &[0, 0x90, 60, 64], &[24, 60, 0]]);
    let good = file(1, 24, &[&notes, &notes]);
    for index in 0..good.len() {
        for value in [0, 1, 0x2F, 0x7F, 0x80, 0xF0, 0xFF] {
            let mut bytes = good.clone();
            bytes[index] = value;
            if let Ok(read) = read_midi(&bytes) {
                assert!(
                    read.notes.iter().all(|note| note.start.is_finite() && note.end > note.start && note.key < 128)
                );
            }
        }
    }
}
