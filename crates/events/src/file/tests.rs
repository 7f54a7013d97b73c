//! Files that come back byte by byte, and files with one defect each.

use super::*;
use crate::Note;

fn file() -> EventsFile {
    let event = |source, start: f64, third: f64| Event {
        source,
        start,
        end: start + 0.5,
        token: 142,
        first_frame: 12,
        frames: 38,
        notes: vec![
            Note { key: 60, velocity: 100, start, end: start + 0.1 + 0.2 },
            Note { key: 64, velocity: 1, start, end: start + 1.0 / 3.0 },
        ],
        features: std::array::from_fn(|index| (index != 8).then_some(third * index as f64)),
        rhythm_ratio: Some([3, 2]),
    };
    let recording = |index: u32, events| Recording {
        file: format!("music/ä \"{index}\".flac"),
        sha256: "0123456789abcdef".repeat(4),
        duration: 2.0,
        events,
    };
    let recordings = vec![
        recording(0, vec![event(0, 0.1, 1.0 / 3.0), event(0, 0.7, 0.1 + 0.2)]),
        recording(1, vec![]),
        recording(2, vec![event(2, 1.0 / 7.0, 1e-17)]),
    ];
    let events: Vec<Event> = recordings.iter().flat_map(|recording| recording.events.clone()).collect();
    EventsFile {
        vocabulary: "a".repeat(64),
        model: "b".repeat(64),
        scales: FeatureScales::of(&events, 0.05, 0.95).unwrap(),
        recordings,
    }
}

fn text(file: &EventsFile) -> String {
    let mut bytes = Vec::new();
    file.write(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_file_comes_back_and_is_written_again_byte_by_byte() {
    let written = text(&file());
    let read = EventsFile::read(&written).unwrap();
    assert_eq!(read, file());
    assert_eq!(text(&read), written);
    assert_eq!(read.events().count(), 3);
}

#[test]
fn each_defect_is_refused_with_its_line_and_field() {
    let written = text(&file());
    let defects = [
        ("\"format\":\"mert-events\"", "\"format\":\"mert-oracle\"", "line 1: `format` is `mert-oracle`"),
        ("\"version\":1", "\"version\":2", "line 1: `version` is 2, expected 1"),
        ("\"name\":\"units\"", "\"name\":\"unit\"", "`unit`, expected `units`"),
        ("\"recordings\":3", "\"recordings\":4", "`recordings` is 4, and 3 follow"),
        (&"a".repeat(64), "A", "line 1: `vocabulary` is `A`"),
        ("\"sha256\":\"0123", "\"sha256\":\"x123", "line 2: `sha256`"),
        ("\"start\":0.7,\"end\":1.2", "\"start\":0.3,\"end\":1.2", "line 2: event 1: it is from 0.3 s"),
        ("\"end\":1.2,", "\"end\":2.2,", "line 2: event 1: it ends at 2.2 s"),
        ("\"source\":2", "\"source\":1", "line 4: event 0: `source` is 1, expected 2"),
        ("\"key\":64", "\"key\":128", "the key 128"),
        ("\"key\":64", "\"key\":59", "not in the order"),
        ("\"velocity\":1,", "\"velocity\":0,", "the velocity 0"),
        ("[3,2]", "[6,4]", "`rhythm_ratio` is 6:4"),
        ("[3,2]", "[3,0]", "`rhythm_ratio` is 3:0"),
        ("\"token\":142", "\"tokens\":142", "unknown field `tokens`"),
        ("\"token\":142", "\"token\":-1", "line 2"),
        (
            "\"first_frame\":12",
            "\"first_frame\":9007199254740993",
            "line 2: event 0: `first_frame` is 9007199254740993",
        ),
        ("\"duration\":2.0", "\"duration\":1e999", "line 2"),
        ("\"duration\":2.0", "\"duration\":-1.0", "`duration` is -1"),
        ("\"features\":[0.0,", "\"features\":[", "line 2"),
    ];
    for (from, to, expected) in defects {
        assert!(written.contains(from), "{from}");
        let message = EventsFile::read(&written.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(message.contains(expected), "{to}: {message}");
    }
    assert!(EventsFile::read("").is_err() && EventsFile::read("RIFF").is_err() && EventsFile::read("{}").is_err());
    for length in 0..written.len() - 1 {
        let cut = written.get(..length).unwrap_or_default();
        assert!(EventsFile::read(cut).is_err(), "cut to {length} bytes");
    }
}

#[test]
fn a_file_that_could_not_be_read_is_not_written() {
    let mut bad = file();
    bad.recordings[2].events[0].features[0] = Some(f64::NAN);
    let message = bad.write(&mut Vec::new()).unwrap_err().to_string();
    assert!(message.contains("line 4: event 0: `consonance`"), "{message}");
}
