//! Forms of requests, masks against their definitions, and conditions that nothing meets.

use mert_events::{Event, FEATURES};

use super::*;
use crate::Material;

fn memory(consonances: &[Option<f64>]) -> Material {
    let event = |(at, consonance): (usize, &Option<f64>)| {
        let mut features = [None; FEATURES.len()];
        features[0] = *consonance;
        features[2] = Some(at as f64 % 12.0);
        features[4] = Some(at as f64 - 2.0);
        Event {
            source: 0,
            start: at as f64,
            end: at as f64 + 1.0,
            token: at as u32 % 3,
            first_frame: 0,
            frames: 75,
            notes: Vec::new(),
            features,
            rhythm_ratio: [None, Some([3, 2]), Some([2, 1]), Some([1, 1])][at % 4],
        }
    };
    Material::Events(consonances.iter().enumerate().map(event).collect())
}

fn five() -> Material {
    memory(&[Some(0.0), Some(0.25), None, Some(0.5), Some(1.0)])
}

fn compile(text: &str, memory: &Material) -> Compiled {
    text.parse::<Request>().unwrap_or_else(|error| panic!("{text}: {error}")).compile(memory)
}

fn product(text: &str, memory: &Material) -> Vec<f64> {
    let compiled = compile(text, memory);
    (0..memory.len() as u32).map(|event| compiled.product(event)).collect()
}

fn refused(text: &str) -> String {
    text.parse::<Request>().expect_err(text).to_string()
}

#[test]
fn short_long_and_mixed_forms() {
    let short: Request = r#"{"gesture_token": 142, "consonance": 0.8, "rhythm_ratio": [6, 4]}"#.parse().unwrap();
    let mut names: Vec<String> = short.conditions.iter().map(ToString::to_string).collect();
    names.sort();
    assert_eq!(names, ["consonance near 0.8", "gesture_token == 142", "rhythm_ratio == 3:2"]);
    assert!(short.conditions.iter().all(|condition| condition.weight == 1.0));
    let long: Request = r#"[{"parameter": "consonance", "type": ">", "value": 0.5, "weight": 0.7}, {"root": 7},
        {"index": "next"}]"#
        .parse()
        .unwrap();
    let names: Vec<String> = long.conditions.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["consonance > 0.5", "root == 7", "index next"]);
    assert_eq!(long.conditions[0].weight, 0.7);
    let mixed: Request =
        r#"{"gesture_token": 1, "conditions": [{"parameter": "index", "type": "prev"}]}"#.parse().unwrap();
    assert_eq!(mixed.conditions.len(), 2);
    let one: Request = r#"{"parameter": "syncopation", "type": "gr_abs", "value": -2}"#.parse().unwrap();
    assert_eq!(one.conditions[0].kind, ConditionKind::AbsGradient(-2.0));
}

#[test]
fn all_features_are_parameters() {
    for feature in FEATURES {
        assert_eq!(Parameter::of(feature.name).unwrap().name(), feature.name);
    }
}

#[test]
fn wrong_requests_say_what_to_do() {
    let cases = [
        ("{", "it is not JSON"),
        (r#"{"gesture_token": 3, "gesture_token": 4}"#, "`gesture_token` is given twice in one object"),
        (r#"[{"parameter": "consonance", "value": 1, "value": 2}]"#, "`value` is given twice"),
        ("3", "expected an object or a list"),
        ("[3]", "condition 3: expected an object"),
        (r#"{"consonence": 1}"#, "unknown parameter `consonence` in the request: did you mean `consonance`?"),
        (r#"{"token": 1}"#, "did you mean `gesture_token`?"),
        (r#"{"type": ">"}"#, "`type` without a `parameter`"),
        (r#"{"conditions": 1}"#, "expected a list of conditions"),
        (r#"{"parameter": "consonance", "type": ">"}"#, "has no value"),
        (r#"{"parameter": "consonance", "type": "≥", "value": 1}"#, "unknown type `≥` of consonance: expected =="),
        (r#"{"parameter": "consonance", "value": 1, "weigth": 1}"#, "unknown field `weigth`"),
        (r#"{"parameter": "consonance", "value": 1, "weight": 1.5}"#, "the weight of consonance is 1.5"),
        (r#"{"parameter": "consonance", "value": 1, "weight": "1"}"#, "expected a number from 0 to 1"),
        (r#"{"parameter": "gesture_token", "type": ">", "value": 1}"#, "a token is a name"),
        (r#"{"parameter": "rhythm_ratio", "type": "gradient", "value": 1}"#, "compared as a reduced fraction"),
        (r#"{"gesture_token": 1.5}"#, "expected the number of a token"),
        (r#"{"gesture_token": -1}"#, "expected the number of a token"),
        (r#"{"rhythm_ratio": [3, 0]}"#, "two whole numbers from 1"),
        (r#"{"rhythm_ratio": 1.5}"#, "two whole numbers from 1"),
        (r#"{"consonance": "high"}"#, "consonance is \"high\": expected a number"),
        (r#"{"parameter": "consonance", "type": "next"}"#, "is for the parameter index"),
    ];
    for (text, expected) in cases {
        let message = refused(text);
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn masks_by_definition() {
    let memory = five();
    let check = |kind: &str, value: f64, expected: [f64; 5]| {
        let text = format!(r#"{{"parameter": "consonance", "type": "{kind}", "value": {value}}}"#);
        assert_eq!(product(&text, &memory), expected, "{kind} {value}");
    };
    check("==", 0.5, [0.0, 0.0, 0.0, 1.0, 0.0]);
    check(">", 0.25, [0.0, 0.0, 0.0, 1.0, 1.0]);
    check("<", 0.25, [1.0, 0.0, 0.0, 0.0, 0.0]);
    check("near", 0.5, [0.5, 0.75, 0.0, 1.0, 0.5]);
    check("near", 2.0, [0.0, 0.125, 0.0, 0.25, 0.5]);
    check("gradient", 2.0, [0.0, 0.0625, 0.0, 0.25, 1.0]);
    check("gradient", -2.0, [1.0, 0.5625, 0.0, 0.25, 0.0]);
    check("gradient", 0.5, [0.0, 0.5, 0.0, 0.5f64.sqrt(), 1.0]);
    let deviation = |kind: &str, value: f64| {
        product(&format!(r#"{{"parameter": "deviation", "type": "{kind}", "value": {value}}}"#), &memory)
    };
    // Deviations are -2, -1, 0, 1, 2.
    assert_eq!(deviation("abs >", 1.0), [1.0, 0.0, 0.0, 0.0, 1.0]);
    assert_eq!(deviation("abs <", 1.0), [0.0, 0.0, 1.0, 0.0, 0.0]);
    assert_eq!(deviation("gr_abs", 1.0), [1.0, 0.5, 0.0, 0.5, 1.0]);
    assert_eq!(deviation("gr_abs", -1.0), [0.0, 0.5, 1.0, 0.5, 0.0]);
    assert_eq!(product(r#"{"parameter": "index", "type": "<", "value": 2}"#, &memory), [1.0, 1.0, 0.0, 0.0, 0.0]);
    assert_eq!(product(r#"{"gesture_token": 1}"#, &memory), [0.0, 1.0, 0.0, 0.0, 1.0]);
    assert_eq!(product(r#"{"rhythm_ratio": [6, 4]}"#, &memory), [0.0, 1.0, 0.0, 0.0, 0.0]);
}

#[test]
fn weights_multiply() {
    let text = r#"[{"parameter": "gesture_token", "value": 1, "weight": 0.5},
                   {"parameter": "consonance", "type": ">", "value": 0.3, "weight": 0.8}]"#;
    let low = 1.0 - 0.8 + 0.8 * 0.0;
    assert_eq!(product(text, &five()), [0.5 * low, low, 0.5 * low, 0.5, 1.0]);
}

#[test]
fn the_nearest_value_is_named() {
    let memory = five();
    let compiled = compile(r#"{"parameter": "consonance", "type": "==", "value": 0.6}"#, &memory);
    assert_eq!(compiled.product(3), 1.0);
    assert_eq!(
        compiled.explain(&compiled.remarks()[0]),
        "`consonance == 0.6` takes 0.5, the nearest value in the memory"
    );
    assert_eq!(compiled.dropped().count(), 0);
    // 4:3 is nearer to 3:2 than to 1:1 in proportion.
    let compiled = compile(r#"{"rhythm_ratio": [4, 3]}"#, &memory);
    assert_eq!(compiled.remarks(), [Dropped { condition: 0, reason: Reason::NearestRatio([3, 2]) }]);
    // 11 is next to 0 on the circle, and 4 is not.
    let compiled = compile(r#"{"root": 11}"#, &memory);
    assert_eq!(compiled.product(0), 1.0);
}

#[test]
fn what_nothing_meets_is_dropped_and_named() {
    let memory = five();
    let compiled =
        compile(r#"[{"gesture_token": 142}, {"parameter": "consonance", "type": ">", "value": 0.4}]"#, &memory);
    assert_eq!(compiled.remarks(), [Dropped { condition: 0, reason: Reason::NothingMeets }]);
    let sentence = compiled.explain(&compiled.remarks()[0]);
    assert_eq!(sentence, "`gesture_token == 142` is dropped: no event of the memory meets it");
    assert_eq!(compiled.matching(), Some(&[3, 4][..]));
    // Each is met, but not both: the first stays.
    let compiled = compile(r#"[{"gesture_token": 0}, {"rhythm_ratio": [3, 2]}]"#, &memory);
    assert_eq!(compiled.dropped().collect::<Vec<_>>(), [&Dropped { condition: 1, reason: Reason::Conflict }]);
    assert_eq!(compiled.matching(), Some(&[0, 3][..]));
    // With a weight below 1 nothing conflicts.
    let soft = r#"[{"gesture_token": 0}, {"parameter": "rhythm_ratio", "value": [3, 2], "weight": 0.9}]"#;
    assert_eq!(compile(soft, &memory).dropped().count(), 0);
    // A memory of symbols has no features.
    let compiled = compile(r#"{"consonance": 0.5}"#, &Material::Symbols(vec![1, 2]));
    assert_eq!(compiled.dropped().count(), 1);
    assert_eq!(compiled.matching(), None);
}

#[test]
fn one_value_has_no_gradient() {
    let memory = memory(&[Some(0.5), None, Some(0.5)]);
    for kind in ["gradient", "gr_abs", "near"] {
        let text = format!(r#"{{"parameter": "consonance", "type": "{kind}", "value": 2}}"#);
        let compiled = compile(&text, &memory);
        assert_eq!(compiled.remarks(), [Dropped { condition: 0, reason: Reason::OneValue }], "{kind}");
        assert_eq!(product(&text, &memory), [1.0, 0.0, 1.0], "{kind}");
    }
}

#[test]
fn conditions_without_effect_restrict_nothing() {
    let memory = five();
    for text in [
        r#"{"parameter": "consonance", "type": ">", "value": 0.5, "weight": 0}"#,
        r#"{"parameter": "index", "type": "next", "weight": 0}"#,
    ] {
        let compiled = compile(text, &memory);
        assert_eq!(compiled.remarks(), [Dropped { condition: 0, reason: Reason::NoWeight }], "{text}");
        assert!(compiled.matching().is_none() && compiled.steps().is_empty(), "{text}");
    }
    let met_by_all = compile(r#"{"parameter": "index", "type": ">", "value": -1}"#, &memory);
    assert!(met_by_all.matching().is_none() && met_by_all.remarks().is_empty());
}

#[test]
fn next_and_previous_depend_on_the_current_event() {
    let compiled = compile(r#"{"index": "next"}"#, &five());
    assert_eq!([1, 2, 3].map(|event| compiled.step_factor(Some(1), event)), [0.0, 1.0, 0.0]);
    let compiled = compile(r#"{"parameter": "index", "type": "prev", "weight": 0.5}"#, &five());
    assert_eq!([0, 1, 2].map(|event| compiled.step_factor(Some(1), event)), [1.0, 0.5, 0.5]);
    assert_eq!(compiled.step_factor(Some(0), 0), 0.5);
    assert_eq!(compiled.step_factor(None, 0), 0.5);
}
