//! Oracle files in both forms, files of events, and requests, as `mert-tokens` reads them.

use mert_events::file::{EventsFile, Recording};
use mert_events::scale::FeatureScales;
use mert_events::{Event, FEATURES, Note};
use mert_oracle::{Distance, Matching, Material, OracleFile, Request, Source, SuffixMethod, TokenMatch};
use mert_testkit::fuzz::Seed;

use super::{fuzz_file, said};

fn events() -> Vec<Event> {
    let event = |at: u32| {
        let mut features = [None; FEATURES.len()];
        features[0] = Some(f64::from(at % 3) / 7.0);
        features[2] = (!at.is_multiple_of(4)).then_some(f64::from(at % 12));
        let start = f64::from(at) * 0.25;
        Event {
            source: 0,
            start,
            end: start + 0.25,
            token: at % 3,
            first_frame: u64::from(at) * 19,
            frames: 19,
            notes: vec![Note { key: 60 + at as u8, velocity: 90, start, end: start + 0.2 }; at as usize % 3],
            features,
            rhythm_ratio: (at % 2 == 1).then_some([3, 2]),
        }
    };
    (0..12).map(event).collect()
}

fn scales() -> FeatureScales {
    FeatureScales::of(&events(), 0.05, 0.95).unwrap()
}

fn oracles() -> Vec<OracleFile> {
    let symbols = Material::Symbols(vec![0, 1, 1, 1, 0, 0, 1, 7]);
    let vectors = Material::Vectors((0..8).map(|at| vec![f64::from(at % 3), 0.5]).collect());
    let (threshold, suffix_method) = (0.3, SuffixMethod::Complete);
    let compared = vec!["consonance".to_string()];
    let of_events = Matching::Events { token: TokenMatch::Same, compared, scales: scales(), threshold, suffix_method };
    let source = Source { name: "a.ogg".into(), sha256: Some("ab".repeat(32)), duration: Some(3.0), events: 12 };
    [
        OracleFile::build(Matching::Symbols, symbols, Vec::new()),
        OracleFile::build(
            Matching::Vectors { distance: Distance::Cosine, threshold, suffix_method },
            vectors,
            Vec::new(),
        ),
        OracleFile::build(of_events, Material::Events(events()), vec![source]),
    ]
    .map(Result::unwrap)
    .into()
}

/// The checksum at the end of the binary form, so that changes reach the parser.
fn checksum(bytes: &mut [u8]) {
    if let Some((content, last)) = bytes.split_last_chunk_mut::<4>()
        && content.starts_with(mert_oracle::MAGIC)
    {
        *last = crc32fast::hash(content).to_le_bytes();
    }
}

/// An oracle that is read is written to the same bytes, in the form in which it was read.
#[test]
fn oracle() {
    let mut corpus = Vec::new();
    for (index, file) in oracles().iter().enumerate() {
        corpus.push(Seed { name: format!("{index}.oracle"), bytes: file.to_binary().unwrap() });
        let mut bytes = Vec::new();
        file.write_json(&mut bytes).unwrap();
        corpus.push(Seed { name: format!("{index}.json"), bytes });
    }
    fuzz_file("oracle", corpus, Some(checksum), |path| {
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        let file = match OracleFile::from_bytes(&bytes) {
            Ok(file) => file,
            Err(error) => return said(error),
        };
        let binary = file.to_binary().map_err(|error| error.to_string())?;
        let again =
            OracleFile::from_bytes(&binary).map_err(|error| format!("what was read is not read again: {error}"))?;
        match again.to_binary().map_err(|error| error.to_string())? == binary {
            true => Ok(()),
            false => Err("the same oracle is written to other bytes".into()),
        }
    });
}

/// Events that are read are written to a file that is read to the same events.
#[test]
fn events_file() {
    let recording = Recording { file: "a.ogg".into(), sha256: "cd".repeat(32), duration: 3.0, events: events() };
    let file = EventsFile {
        vocabulary: "ab".repeat(32),
        model: "ef".repeat(32),
        scales: scales(),
        recordings: vec![recording],
    };
    let mut bytes = Vec::new();
    file.write(&mut bytes).unwrap();
    fuzz_file("events", vec![Seed { name: "events.jsonl".into(), bytes }], None, |path| {
        let text = String::from_utf8_lossy(&std::fs::read(path).map_err(|error| error.to_string())?).into_owned();
        let file = match EventsFile::read(&text) {
            Ok(file) => file,
            Err(error) => return said(error),
        };
        let mut written = Vec::new();
        file.write(&mut written).map_err(|error| format!("what was read cannot be written: {error}"))?;
        match EventsFile::read(&String::from_utf8_lossy(&written)) {
            Ok(again) if again == file => Ok(()),
            Ok(_) => Err("other events are read from what was written".into()),
            Err(error) => Err(format!("what was written is not read: {error}")),
        }
    });
}

/// A request that is read has weights from 0 to 1 on every event.
#[test]
fn request() {
    let seed = |name: &str, text: &str| Seed { name: name.into(), bytes: text.as_bytes().to_vec() };
    let corpus = vec![
        seed(
            "short.json",
            r#"{"gesture_token": 1, "consonance": 0.8, "rhythm_ratio": [3, 2], "root": 7, "index": "next"}"#,
        ),
        seed(
            "long.json",
            r#"[{"parameter": "consonance", "type": "gradient", "value": -2, "weight": 0.7},
                {"parameter": "index", "type": "abs >", "value": 3}, {"conditions": [{"parameter": "units", "value": 2}]}]"#,
        ),
    ];
    let material = Material::Events(events());
    fuzz_file("request", corpus, None, |path| {
        let text = String::from_utf8_lossy(&std::fs::read(path).map_err(|error| error.to_string())?).into_owned();
        let compiled = match text.parse::<Request>() {
            Ok(request) => request.compile(&material),
            Err(error) => return said(error),
        };
        let weights = (0..material.len() as u32).map(|event| compiled.product(event));
        match weights.clone().find(|weight| !(0.0..=1.0).contains(weight)) {
            Some(weight) => Err(format!("an event has the weight {weight}")),
            None if weights.sum::<f64>() == 0.0 => Err("no event is left".into()),
            None => Ok(()),
        }
    });
}
