//! Events of generated recordings whose tokens, notes and onsets are known.

use std::f64::consts::TAU;

use super::*;
use crate::pitch::PitchSettings;

const RATE: u32 = 24_000;
const HOP: u32 = 320;
const FIELD: u32 = 400;

/// Tokens of the frames of a recording: `token` of the time of their middle.
fn tokens(duration: f64, token: impl Fn(f64) -> u32) -> Vec<u32> {
    let count = ((duration * f64::from(RATE)) as usize - FIELD as usize) / HOP as usize + 1;
    (0..count).map(|frame| token((frame as f64 * 320.0 + 200.0) / 24_000.0)).collect()
}

fn frames(tokens: &[u32]) -> TokenFrames<'_> {
    TokenFrames::new(tokens, HOP, FIELD, RATE).unwrap()
}

fn known(tokens: &[u32], duration: f64, onsets: &[f64], notes: &[Note]) -> Analysis {
    analyse(&[], duration, onsets, &frames(tokens), NoteSource::Known(notes), 3, &SegmentSettings::default()).unwrap()
}

fn note(key: u8, start: f64, end: f64) -> Note {
    Note { key, velocity: 80, start, end }
}

#[test]
fn events_go_from_onset_to_onset_and_have_each_frame_once() {
    let tokens = tokens(4.0, |time| time as u32);
    let analysis = known(&tokens, 4.0, &[0.0, 1.0, 2.0, 3.0], &[]);
    assert_eq!(analysis.events.iter().map(|event| event.token).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(analysis.token_shares, [1.0; 4]);
    let mut next = 0;
    for event in &analysis.events {
        assert_eq!((event.first_frame, event.source), (next, 3));
        next += u64::from(event.frames);
    }
    assert_eq!(next, tokens.len() as u64);
    assert_eq!((analysis.events[3].start, analysis.events[3].end), (3.0, 4.0));
    assert_eq!(analysis.events[1].rhythm_ratio, Some([1, 1]));
    assert_eq!(analysis.events[0].features[2], None);
}

#[test]
fn the_token_is_the_most_frequent_one_and_the_earliest_of_equals() {
    let frames = frames(&[7, 7, 2, 2, 9, 5, 5, 5, 1, 1]);
    assert_eq!(frames.most_frequent(0, 4), Some((7, 0.5)));
    assert_eq!(frames.most_frequent(1, 4), Some((2, 0.5)));
    assert_eq!(frames.most_frequent(4, 6), Some((5, 0.5)));
    assert_eq!(frames.most_frequent(4, 0), None);
    assert_eq!(frames.most_frequent(8, 3), None);
    assert_eq!(frames.starting_at(100).most_frequent(104, 2), Some((9, 0.5)));
    assert_eq!(frames.starting_at(100).most_frequent(99, 1), None);
}

#[test]
fn frames_are_those_whose_middle_is_inside() {
    let tokens = vec![0; 1000];
    let frames = frames(&tokens);
    for (start, end) in
        [(0.0, 0.1), (0.0083, 0.0084), (1.0, 1.0), (0.345, 2.71), (13.0, 20.0), (50.0, 60.0), (-1.0, 0.5)]
    {
        let inside: Vec<u64> = (0..1000).filter(|&frame| (start..end).contains(&frames.time(frame))).collect();
        let (first, count) = frames.between(start, end);
        assert_eq!(u64::from(count), inside.len() as u64, "{start} {end}");
        assert!(inside.first().is_none_or(|&frame| frame == first));
    }
    assert!(TokenFrames::new(&tokens, 0, 400, 24_000).is_err());
}

#[test]
fn short_events_and_events_without_a_frame_are_merged_and_counted() {
    let tokens = tokens(2.0, |_| 1);
    let merged = known(&tokens, 2.0, &[0.0, 0.05, 0.5, 1.95], &[]);
    assert_eq!(merged.events.iter().map(|event| event.start).collect::<Vec<_>>(), [0.0, 0.5]);
    assert_eq!((merged.merged_short, merged.merged_without_frame), (2, 0));
    // Tokens for the first second only: what starts later has no frame.
    let merged = known(&tokens[..75], 2.0, &[0.0, 0.5, 1.2, 1.6], &[]);
    assert_eq!(
        merged.events.iter().map(|event| (event.start, event.end)).collect::<Vec<_>>(),
        [(0.0, 0.5), (0.5, 2.0)]
    );
    assert_eq!(merged.merged_without_frame, 2);
    // Frames that begin late: the first event with one starts where the first onset was.
    let late = frames(&tokens[..75]).starting_at(75);
    let settings = SegmentSettings::default();
    let merged = analyse(&[], 2.0, &[0.0, 0.5, 1.2], &late, NoteSource::Known(&[]), 0, &settings).unwrap();
    assert_eq!((merged.events[0].start, merged.events[0].end, merged.events.len()), (0.0, 1.2, 2));
    let merged = analyse(&[], 2.0, &[0.0, 1.2], &late.starting_at(110), NoteSource::Known(&[]), 0, &settings).unwrap();
    assert_eq!(merged.events.iter().map(|event| event.start).collect::<Vec<_>>(), [0.0]);
    assert_eq!(known(&[], 2.0, &[0.0], &[]).events, []);
}

#[test]
fn a_recording_without_onsets_is_one_event_and_a_lead_in_must_sound() {
    let tokens = tokens(2.0, |_| 4);
    let whole = known(&tokens, 2.0, &[], &[]);
    assert_eq!((whole.events.len(), whole.events[0].start, whole.events[0].end), (1, 0.0, 2.0));
    let settings = SegmentSettings::default();
    let starts = |samples: &[f32]| -> Vec<f64> {
        let analysis = analyse(samples, 2.0, &[1.0], &frames(&tokens), NoteSource::Known(&[]), 0, &settings).unwrap();
        analysis.events.iter().map(|event| event.start).collect()
    };
    assert_eq!(starts(&vec![0.0; 48_000]), [1.0]);
    assert_eq!(starts(&vec![0.1; 48_000]), [0.0, 1.0]);
}

#[test]
fn notes_belong_to_the_onset_that_they_are_next_to_and_sound_on() {
    let tokens = tokens(3.0, |_| 0);
    // A bass note over three events, and a third and a fifth above it that start 10 ms before their onsets.
    let notes = [note(48, 0.0, 3.0), note(64, 0.99, 1.9), note(67, 1.99, 3.0)];
    let events = known(&tokens, 3.0, &[0.0, 1.0, 2.0], &notes).events;
    let keys = |index: usize| events[index].notes.iter().map(|note| note.key).collect::<Vec<_>>();
    assert_eq!([keys(0), keys(1), keys(2)], [vec![48], vec![64], vec![67]]);
    let value = |index: usize, feature: usize| events[index].features[feature];
    assert_eq!(value(0, 0), None);
    assert_eq!(value(1, 0), consonance(&[48, 64], None).consonance);
    assert_eq!(value(2, 0), consonance(&[48, 67], None).consonance);
    assert_eq!([value(0, 2), value(1, 2), value(2, 2)], [Some(0.0); 3]);
}

#[test]
fn a_tracked_melody_has_a_note_for_each_event_and_the_consonance_of_its_steps() {
    let melody = [440.0, 440.0 * 1.5, 440.0 * 1.5 * 16.0 / 15.0];
    let samples: Vec<f32> =
        (0..36_000).map(|n| (0.4 * (TAU * melody[n / 12_000] * n as f64 / 24_000.0).sin()) as f32).collect();
    let tokens = tokens(1.5, |_| 0);
    let mut tracker = PitchTracker::new(RATE, PitchSettings::default()).unwrap();
    let notes = NoteSource::Tracker(&mut tracker, RATE);
    let settings = SegmentSettings::default();
    let events = analyse(&samples, 1.5, &[0.0, 0.5, 1.0], &frames(&tokens), notes, 0, &settings).unwrap().events;
    assert_eq!(events.iter().map(|event| event.notes[0].key).collect::<Vec<_>>(), [69, 76, 77]);
    assert_eq!(events.iter().map(|event| event.features[0]).collect::<Vec<_>>(), [None, Some(1.0), Some(0.0)]);
}

#[test]
fn live_events_are_those_of_the_recording_where_the_past_is_the_phrase() {
    let onsets = [0.0, 0.5, 0.75, 1.0, 1.5];
    let notes = [note(60, 0.0, 0.5), note(64, 0.5, 0.75), note(67, 0.75, 1.0), note(72, 1.0, 1.5)];
    let tokens = tokens(5.0, |time| (time * 4.0) as u32);
    let offline = known(&tokens, 5.0, &onsets, &notes).events;
    let mut live = LiveEvents::new(SegmentSettings::default()).unwrap();
    assert_eq!(live.onset(0.0, 9, &[]).unwrap(), None);
    assert_eq!(live.onset(0.05, 9, &[]).unwrap(), None);
    let mut last = None;
    for (index, &onset) in onsets.iter().enumerate().skip(1) {
        last = live.onset(onset, 7, &notes[index - 1..index]).unwrap();
    }
    let last = last.unwrap();
    assert_eq!((last.start, last.end, last.token, live.merged_short()), (1.0, 1.5, 7, 1));
    assert_eq!((last.features, last.rhythm_ratio), (offline[3].features, offline[3].rhythm_ratio));
    assert!(live.onset(1.5, 0, &[]).is_err());
}

#[test]
fn chords_of_midi_have_one_onset() {
    let notes = [note(60, 1.0, 2.0), note(64, 1.005, 2.0), note(67, 1.04, 2.0)];
    assert_eq!(note_onsets(&notes, 0.02), [1.0, 1.04]);
    assert_eq!(note_onsets(&[], 0.02), [0.0; 0]);
}

#[test]
fn bad_onsets_and_settings_are_refused() {
    let tokens = tokens(2.0, |_| 0);
    let run = |onsets: &[f64], settings: &SegmentSettings| {
        analyse(&[], 2.0, onsets, &frames(&tokens), NoteSource::Known(&[]), 0, settings).unwrap_err().to_string()
    };
    let settings = SegmentSettings::default();
    assert!(run(&[0.5, 0.5], &settings).contains("onset 1"));
    assert!(run(&[f64::NAN], &settings).contains("onset 0"));
    assert!(run(&[0.0], &SegmentSettings { min_length: -1.0, ..settings }).contains("shortest event"));
}
