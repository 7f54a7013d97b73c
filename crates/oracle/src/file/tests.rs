//! Both forms reload to the same bytes, every damaged field is named, and no stated length is believed.

use mert_events::scale::FeatureScales;
use mert_events::{Event, FEATURES, Note};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{Distance, NearTokens, OracleError, SuffixMethod, TokenMatch};

fn event(at: u32) -> Event {
    let mut features = [None; FEATURES.len()];
    features[0] = Some(f64::from(at % 3) / 7.0);
    features[2] = (!at.is_multiple_of(4)).then_some(f64::from(at % 12));
    let start = f64::from(at % 20) * 0.1;
    let note = Note { key: (40 + at) as u8, velocity: 90, start: start + 0.01, end: start + 0.07 };
    Event {
        source: at / 20,
        start,
        end: start + 0.1,
        token: at % 3 * 100,
        first_frame: u64::from(at) * 75,
        frames: 75,
        notes: vec![note; at as usize % 3],
        features,
        rhythm_ratio: (at % 2 == 1).then_some([3, 2]),
    }
}

fn source(name: &str, events: u32) -> Source {
    Source { name: name.to_string(), sha256: Some("0123456789abcdef".repeat(4)), duration: Some(2.5), events }
}

fn events_file() -> OracleFile {
    let events: Vec<Event> = (0..40).map(event).collect();
    let pairs = NearTokens::among(&[0, 100, 200], 0.5, |left, right| f64::from(right - left) / 300.0);
    let scales = FeatureScales::of(&events, 0.05, 0.95).unwrap();
    let compared = ["consonance", "root"].map(ToString::to_string).to_vec();
    let token = TokenMatch::Near { threshold: 0.5, pairs };
    let matching =
        Matching::Events { token, compared, scales, threshold: 0.1, suffix_method: SuffixMethod::Incremental };
    let sources = vec![source("a.ogg", 20), source("b.ogg", 20)];
    let file = OracleFile::build(matching, Material::Events(events), sources).unwrap();
    file.with_digests(Some("ab".repeat(32)), None).unwrap()
}

fn symbols_file(symbols: Vec<u32>) -> OracleFile {
    OracleFile::build(Matching::Symbols, Material::Symbols(symbols), Vec::new()).unwrap()
}

fn vectors_file(rows: Vec<Vec<f64>>, suffix_method: SuffixMethod) -> OracleFile {
    let matching = Matching::Vectors { distance: Distance::Euclidean, threshold: 0.3, suffix_method };
    OracleFile::build(matching, Material::Vectors(rows), Vec::new()).unwrap()
}

fn json(file: &OracleFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.write_json(&mut bytes).unwrap();
    bytes
}

fn assert_round_trips(file: &OracleFile) {
    let (text, binary) = (json(file), file.to_binary().unwrap());
    let from_text = OracleFile::from_bytes(&text).unwrap();
    let from_binary = OracleFile::from_bytes(&binary).unwrap();
    assert_eq!(from_text.to_binary().unwrap(), binary);
    assert_eq!(json(&from_binary), text);
    assert_eq!(json(&from_text), text);
    assert_eq!(from_text.material(), file.material());
    assert_eq!(from_binary.sources(), file.sources());
}

/// The message for a JSON form after a change.
fn refusal(file: &OracleFile, change: impl FnOnce(&mut Value)) -> String {
    let mut value: Value = serde_json::from_slice(&json(file)).unwrap();
    change(&mut value);
    OracleFile::from_bytes(value.to_string().as_bytes())
        .map_or_else(|error| error.to_string(), |_| "not refused".to_string())
}

#[test]
fn both_forms_reload_to_the_same_bytes() {
    assert_round_trips(&events_file());
    assert_round_trips(&symbols_file(b"abbbaab".iter().map(|byte| u32::from(*byte)).collect()));
    let rows = (0..50).map(|at| vec![f64::from(at % 7) / 3.0, -0.0, 1e-300 * f64::from(at)]).collect();
    assert_round_trips(&vectors_file(rows, SuffixMethod::Complete));
}

#[test]
fn the_json_form_is_the_contract() {
    let text = json(&symbols_file(vec![1, 2, 2, 2, 1, 1, 2]));
    let value: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(value["sfx"], json!([null, 0, 0, 2, 3, 1, 1, 2]));
    assert_eq!(value["lrs"], json!([0, 0, 0, 1, 2, 1, 1, 2]));
    assert_eq!(value["trn"], json!([[1, 2], [2, 6], [3, 5], [4, 5], [5], [6], [7], []]));
    assert_eq!(value["symbols"], json!([1, 2, 2, 2, 1, 1, 2]));
    assert_eq!(value["match"], json!({"rule": "symbols"}));
    let text = String::from_utf8(json(&events_file())).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("  {\"source\":")).count(), 40, "an event a line");
}

#[test]
fn a_changed_field_is_named() {
    let file = events_file();
    let refused = |pointer: &str, value: Value, expected: &str| {
        let message = refusal(&file, |document| *document.pointer_mut(pointer).unwrap() = value.clone());
        assert!(message.contains(expected) && message != "not refused", "{pointer} = {value}: {message}");
    };
    refused("/format", json!("other"), "its field `format` is other: expected `mert-oracle`");
    refused("/version", json!(2), "its field `version` is 2: expected 1; use the mert-tokens that wrote the file");
    refused("/vocabulary_sha256", json!("AB"), "`vocabulary_sha256` is AB: expected a SHA-256");
    refused("/match/rule", json!("symbols"), "match");
    refused("/match/threshold", json!(5.0), "by the events");
    refused("/match/threshold", json!(-1.0), "threshold of features");
    refused("/match/compared/0", json!("consonence"), "did you mean `consonance`?");
    refused("/match/scales/0/name", json!("consonence"), "expected `consonance`");
    refused("/match/scales/0/low", json!(9.0), "ascending");
    refused("/match/token/near/pairs/0/2", json!(0.7), "pairs of near tokens");
    refused("/feature_names/3", json!("unit"), "feature_names");
    refused("/sources/0/events", json!(19), "events[19].source");
    refused("/sources/1/events", json!(21), "its field `sources` is 41: expected 40 events in all");
    refused("/sources/1/events", json!(4_000_000_000u32), "expected 40 events in all");
    refused("/sources/1/sha256", json!("xyz"), "sources[1].sha256");
    refused("/sources/1/duration", json!(-1.0), "sources[1].duration");
    refused("/sfx/0", json!(0), "its `sfx` of state 0 is 0: expected null");
    refused("/sfx/9", json!(9), "its `sfx` of state 9 is 9: expected a state below 9");
    refused("/sfx/9", json!(null), "its `sfx` of state 9 is null");
    refused("/sfx/9", json!(-1), "sfx[9]");
    refused("/lrs/7", json!(7), "its `lrs` of state 7");
    refused("/lrs/40", json!(0), "its `lrs` of state 40 is 0: expected 1 to 39");
    refused("/trn/5/0", json!(7), "its `trn` of state 5 is [7]: expected 6 first");
    refused("/trn/40", json!([41]), "its `trn` of state 40 is [41]: expected empty");
    refused("/trn/0", json!([1, 3, 2]), "its `trn` of state 0 is [1, 3, 2]: expected ascending");
    refused("/trn/0", json!([1, 99]), "its `trn` of state 0 is [1, 99]: expected ascending states up to 40");
    refused("/trn/5", json!([6, 7]), "by the events");
    refused("/events/3/end", json!(-1.0), "events[3].end");
    refused("/events/3/start", json!(0.0), "events[3].start");
    refused("/events/4/notes/0/key", json!(128), "events[4].notes[0].key");
    refused("/events/4/notes/0/velocity", json!(0), "events[4].notes[0].velocity");
    refused("/events/4/notes/0/end", json!(0.0), "events[4].notes[0].end");
    refused("/events/3/rhythm_ratio", json!([6, 4]), "events[3].rhythm_ratio");
    refused("/events/3/features", json!([1.0]), "events[3].features");
    refused("/events/3/token", json!("142"), "events[3].token");
    refused("/events/3/token", json!(5), "by the events");
    let message = refusal(&file, |document| drop(document.as_object_mut().unwrap().remove("lrs")));
    assert!(message.contains("missing field `lrs`"), "{message}");
    let message = refusal(&file, |document| drop(document["lrs"].as_array_mut().unwrap().pop()));
    assert_eq!(message, "its field `lrs` is an array of 40: expected 41 states, one more than events");
    let message = refusal(&file, |document| document["symbols"] = json!([1]));
    assert!(message.contains("exactly one"), "{message}");
    let message = refusal(&file, |document| document["extra"] = json!(1));
    assert!(message.contains("unknown field `extra`"), "{message}");
}

#[test]
fn values_that_no_file_may_have_are_refused() {
    let mut events = vec![event(0)];
    events[0].features[1] = Some(f64::NAN);
    let matching = Matching::Events {
        token: TokenMatch::Same,
        compared: Vec::new(),
        scales: FeatureScales::of(&events, 0.05, 0.95).unwrap(),
        threshold: 0.0,
        suffix_method: SuffixMethod::Incremental,
    };
    let message = OracleFile::build(matching.clone(), Material::Events(events), vec![source("a", 1)]).unwrap_err();
    assert!(message.to_string().contains("events[0].features (harmonicity)` is NaN"), "{message}");
    let empty = OracleFile::build(Matching::Symbols, Material::Symbols(Vec::new()), Vec::new());
    assert!(matches!(empty, Err(OracleError::Empty)));
    let other = OracleFile::build(matching, Material::Symbols(vec![1]), Vec::new()).unwrap_err().to_string();
    assert_eq!(other, "its field `match.rule` is events: expected symbols");
}

#[test]
fn times_and_frames_that_no_recording_has_are_refused() {
    let file = events_file();
    for (field, value, expected) in [
        ("start", json!(-0.5), "events[3].start` is -0.5: expected seconds from 0"),
        ("end", json!(2.6), "events[3].end` is 2.6: expected at most 2.5, the duration of its source"),
        ("first_frame", json!(1u64 << 60), "events[3].first_frame"),
        ("first_frame", json!(149), "events[3].first_frame` is 149: expected at least 150"),
    ] {
        let message = refusal(&file, |document| document["events"][3][field] = value);
        assert!(message.contains(expected), "{field}: {message}");
    }
    let message = refusal(&file, |document| document["events"][4]["notes"][0]["start"] = json!(-1));
    assert!(message.contains("events[4].notes[0].start` is -1: expected seconds from 0"), "{message}");
}

#[test]
fn a_changed_byte_or_length_of_the_binary_form_is_noticed() {
    let file = events_file();
    let binary = file.to_binary().unwrap();
    for at in (8..binary.len()).step_by(7) {
        let mut damaged = binary.clone();
        damaged[at] ^= 0x10;
        assert!(OracleFile::from_bytes(&damaged).is_err(), "byte {at}");
        assert!(OracleFile::from_bytes(&binary[..at]).is_err(), "length {at}");
    }
    let mut damaged = binary.clone();
    damaged[100] ^= 1;
    assert!(matches!(OracleFile::from_bytes(&damaged), Err(OracleError::Checksum { .. })));
    let short = OracleFile::from_bytes(&binary[..14]).unwrap_err();
    assert!(matches!(short, OracleError::Truncated { .. } | OracleError::Checksum { .. }), "{short}");
}

/// A file of a few bytes that states billions of events, with a valid checksum.
#[test]
fn a_stated_length_is_not_allocated() {
    for kind in 0..4u8 {
        let mut bytes = symbols_file(vec![1]).to_binary().unwrap();
        let header = 16 + u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
        bytes.truncate(header);
        bytes.push(kind);
        bytes.extend(u32::MAX.to_le_bytes());
        bytes.extend(u32::MAX.to_le_bytes());
        let checksum = crc32fast::hash(&bytes);
        bytes.extend(checksum.to_le_bytes());
        let error = OracleFile::from_bytes(&bytes).unwrap_err();
        assert!(matches!(error, OracleError::Truncated { .. } | OracleError::Field { .. }), "{kind}: {error}");
    }
}

/// An arrow, link or length that the events do not give, with a valid checksum.
#[test]
fn a_changed_number_of_the_binary_form_is_noticed_without_the_checksum() {
    let binary = symbols_file(vec![1, 2, 2, 2, 1, 1, 2]).to_binary().unwrap();
    let content = binary.len() - 4;
    let arrays = content - 8 * 7 - 4 - 8 * 5;
    for at in (arrays..content).step_by(4) {
        let mut damaged = binary[..content].to_vec();
        damaged[at] ^= 1;
        let checksum = crc32fast::hash(&damaged);
        damaged.extend(checksum.to_le_bytes());
        let error = OracleFile::from_bytes(&damaged).map(drop).expect_err("a change is not noticed");
        assert!(!matches!(error, OracleError::Checksum { .. }), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_symbols_round_trip(symbols in prop::collection::vec(0u32..5, 1..80)) {
        assert_round_trips(&symbols_file(symbols));
    }

    #[test]
    fn any_vectors_round_trip(rows in prop::collection::vec(prop::collection::vec(-1e3f64..1e3, 2), 1..40)) {
        assert_round_trips(&vectors_file(rows, SuffixMethod::Incremental));
    }

    #[test]
    fn any_change_of_an_array_is_noticed(
        symbols in prop::collection::vec(0u32..4, 2..60), array in 0usize..3, state in 1usize..60, value in 0u32..70,
    ) {
        let file = symbols_file(symbols);
        let state = 1 + state % (file.links().events() as usize);
        let mut document: Value = serde_json::from_slice(&json(&file)).unwrap();
        let name = ["sfx", "lrs", "trn"][array];
        let place = &mut document[name][state];
        let changed = if name == "trn" { json!([value]) } else { json!(value) };
        prop_assume!(*place != changed);
        *place = changed;
        let message = OracleFile::from_bytes(document.to_string().as_bytes()).map(drop).expect_err("not noticed").to_string();
        // A wrong link may contradict the length of its state first.
        prop_assert!(message.contains(&format!("of state {state} ")), "{}", message);
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut with_magic = b"MERTORCL\x01\0\0\0".to_vec();
        with_magic.extend(&bytes);
        let checksum = crc32fast::hash(&with_magic);
        with_magic.extend(checksum.to_le_bytes());
        prop_assert!(OracleFile::from_bytes(&with_magic).is_err());
        prop_assert!(OracleFile::from_bytes(&bytes).is_err());
    }
}
