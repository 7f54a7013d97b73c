//! Every field of a manifest with other values: refused with the field, or without consequences.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fixedbitset::FixedBitSet;
use serde_json::{Value as Json, json};

use super::*;
use crate::catalogue::Value;
use crate::{Catalogue, Writer, testing};

/// The places of all values in `json`, as JSON pointers.
fn pointers(json: &Json, at: &str, found: &mut Vec<String>) {
    found.push(at.to_string());
    match json {
        Json::Object(fields) => fields.iter().for_each(|(name, value)| {
            pointers(value, &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found);
        }),
        Json::Array(values) => {
            values.iter().enumerate().for_each(|(index, value)| pointers(value, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

/// Values that somebody might put in the place of `value`.
fn mutants(value: &Json) -> Vec<Json> {
    let mut mutants = vec![
        Json::Null,
        json!(true),
        json!(-1),
        json!(0),
        json!(1),
        json!(2),
        json!(1.5),
        json!(1e300),
        json!(u32::MAX),
        json!(u64::MAX),
        json!(""),
        json!("../../x"),
        json!("/etc/passwd"),
        json!("000001"),
        json!("000002"),
        json!("0000001"),
        json!("rows.parquet"),
        json!("../parts/000001"),
        json!("ab".repeat(32)),
        json!("AB".repeat(32)),
        json!("a".repeat(100_000)),
        json!([]),
        json!({}),
        json!([0, 0]),
        json!([1, 0]),
        json!([1_000_000]),
        json!(["x"]),
    ];
    if let Json::Array(values) = value {
        mutants.push(Json::Array([&values[..], &values[..]].concat()));
    }
    if let Json::Object(fields) = value {
        for name in fields.keys() {
            let mut without = fields.clone();
            let taken = without.remove(name);
            mutants.push(Json::Object(without.clone()));
            for other in ["../../x", "/etc/passwd", "x.parquet", "tracks-999999.parquet"] {
                without.insert(other.into(), taken.clone().unwrap_or_default());
                mutants.push(Json::Object(without.clone()));
                without.remove(other);
            }
        }
    }
    mutants
}

/// The live tracks with their durations and vectors.
fn content(catalogue: &Catalogue) -> Vec<String> {
    let of = |track: usize| {
        let found = catalogue.track(track);
        let row = catalogue.vectors(crate::Level::Segments, 1).row(found.segments.start);
        format!("{} {} {row:?}", found.file, found.duration)
    };
    catalogue.live().ones().map(of).collect()
}

#[test]
fn mutants_are_refused_with_the_field_or_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    testing::catalogue(folder.path(), 6);
    let root = folder.path().join("catalogue");
    let mut writer = Writer::open(&root).unwrap();
    let mut some = FixedBitSet::with_capacity(6);
    some.extend([1, 4]);
    let set = |_: usize, track: &mut crate::catalogue::TrackRecord| {
        track.joined.insert("plays".into(), Value::Number(1.0));
    };
    writer.edit(&some, set).unwrap();
    writer.remove(&some).unwrap();
    drop(writer);
    let path = root.join(FILE);
    let whole: Json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(whole["parts"][0]["removed"], json!([1, 4]));
    let expected = content(&Catalogue::open(&root).unwrap());
    let outside = || fs::read_dir(folder.path()).unwrap().count();
    let before = outside();

    let mut places = Vec::new();
    pointers(&whole, "", &mut places);
    let (mut refused, mut harmless) = (0, 0);
    for place in places {
        for mutant in mutants(whole.pointer(&place).unwrap()) {
            let mut changed = whole.clone();
            *changed.pointer_mut(&place).unwrap() = mutant.clone();
            if changed == whole {
                continue;
            }
            fs::write(&path, serde_json::to_vec(&changed).unwrap()).unwrap();
            let opened = catch_unwind(AssertUnwindSafe(|| Catalogue::open(&root)));
            let shown: String = mutant.to_string().chars().take(60).collect();
            match opened.unwrap_or_else(|_| panic!("{place} = {shown}: panicked")) {
                Ok(catalogue) => {
                    let may_differ = ["/parts", "/parts/0", "/parts/0/removed"].contains(&place.as_str())
                        || place.starts_with("/parts/0/removed/");
                    assert!(may_differ || content(&catalogue) == expected, "{place} = {shown}");
                    harmless += 1;
                }
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.contains(&*root.to_string_lossy()), "{place} = {shown}: {text}");
                    // Faults of values have the field; for those of structure the outermost one is enough.
                    let field = place.split('/').nth(1).unwrap_or_default();
                    // A generation before that of a file is found by the file's name.
                    let is_named =
                        field.is_empty() || [field, "parts", "statistics"].iter().any(|name| text.contains(name));
                    assert!(is_named, "{place} = {shown}: {text}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > harmless && harmless > 20, "{refused} refused, {harmless} harmless");
    assert_eq!(outside(), before);
    fs::write(&path, serde_json::to_vec(&whole).unwrap()).unwrap();
    assert_eq!(content(&Catalogue::open(&root).unwrap()), expected);
}

#[test]
fn faults_name_field_found_and_expected() {
    let folder = tempfile::tempdir().unwrap();
    testing::catalogue(folder.path(), 6);
    let root = folder.path().join("catalogue");
    let path = root.join(FILE);
    let whole: Json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let part = &whole["parts"][0];
    for (place, value, fault) in [
        ("/version", json!(2), "version: found 2, expected 1. Another version of mert-search wrote it"),
        ("/format", json!("x"), "format: found \"x\", expected \"mert-search catalogue\""),
        ("/generation", json!(u64::MAX), "generation: found 18446744073709551615, expected 1 to"),
        ("/generation", json!("x"), "generation: invalid type: string \"x\", expected u64"),
        ("/parts/0/name", json!("../../x"), "parts[0].name: found \"../../x\", expected a number of six digits"),
        ("/parts/0/name", json!("/tmp"), "parts[0].name: found \"/tmp\""),
        ("/parts/0/name", json!("1"), "parts[0].name: found \"1\""),
        ("/parts/0/name", json!("000009"), "parts[0].name: found \"000009\""),
        ("/parts", json!([part, part]), "parts[1].name: found 000001, expected a name above that of the part before"),
        ("/parts/0/removed", json!([6]), "parts[0].removed: found 6, expected numbers below 6"),
        ("/parts/0/removed", json!([2, 2]), "parts[0].removed: found 2 before 2, expected ascending numbers"),
        ("/parts/0/tracks", json!(0), "parts[0].tracks: found 0"),
        ("/parts/0/tracks", json!(7), "expected 7 tracks with 18 segments, found 6 with 18"),
        ("/parts/0/segments", json!(5), "parts[0].segments: found 5, expected 6 to"),
        ("/parts/0/files/rows.parquet/sha256", json!("AB".repeat(32)), "rows.parquet.sha256: found"),
        ("/parts/0/files/rows.parquet/size", json!(1), "rows.parquet is damaged: expected 1 bytes"),
        ("/statistics/path", json!("../statistics-000001.safetensors"), "statistics.path: found"),
        ("/statistics/sha256", json!("ab".repeat(32)), "expected the SHA-256 abab"),
        ("/models", json!(["a", "b"]), "models: found 2, expected 1, one for each encoder"),
        ("/settings/hidden_states", json!([]), "settings.hidden_states: found none"),
        ("/settings/hidden_states", json!([1, 1]), "settings.hidden_states: found hidden_state_1 twice"),
        ("/settings/dim", json!(0), "settings.dim: found 0"),
        ("/settings/model_sha256", json!("x"), "settings.model_sha256: found \"x\""),
    ] {
        let mut changed = whole.clone();
        match changed.pointer_mut(place) {
            Some(at) => *at = value,
            None => changed["models"] = value,
        }
        fs::write(&path, serde_json::to_vec(&changed).unwrap()).unwrap();
        let error = Catalogue::open(&root).unwrap_err().to_string();
        assert!(error.contains(fault), "{place}: {error}");
    }
}
