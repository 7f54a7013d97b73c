//! Scales and distances of events with known features.

use super::*;

fn event(features: [Option<f64>; COUNT]) -> Event {
    Event {
        source: 0,
        start: 0.0,
        end: 1.0,
        token: 0,
        first_frame: 0,
        frames: 1,
        notes: Vec::new(),
        features,
        rhythm_ratio: None,
    }
}

/// 101 events whose feature k is the index times k + 1.
fn scales() -> FeatureScales {
    let events: Vec<Event> =
        (0..=100).map(|n| event(std::array::from_fn(|k| Some(f64::from(n) * (k + 1) as f64)))).collect();
    FeatureScales::of(&events, 0.05, 0.95).unwrap()
}

#[test]
fn quantiles_become_zero_and_one_and_the_rest_is_clamped() {
    let scales = scales();
    assert_eq!(scales.scales()[3].scale, Scale::Quantile { low: 20.0, high: 380.0 });
    let scaled = |value: f64| scales.scale(&event([Some(value); COUNT]))[3].unwrap();
    assert_eq!([20.0, 200.0, 380.0, -5.0, 1e9].map(scaled), [0.0, 0.5, 1.0, 0.0, 1.0]);
    assert_eq!(scales.scale(&event([None; COUNT])), [None; COUNT]);
    let constant = FeatureScales::of(&[event([Some(3.0); COUNT])], 0.05, 0.95).unwrap();
    let scaled = |value: f64| constant.scale(&event([Some(value); COUNT]))[0].unwrap();
    assert_eq!([2.0, 3.0, 4.0].map(scaled), [0.0, 0.5, 1.0]);
    let none = FeatureScales::of(&[], 0.05, 0.95).unwrap();
    assert!(none.scales().iter().all(|scale| scale.events == 0));
}

#[test]
fn roots_are_compared_on_a_circle_and_polarity_by_name() {
    let scales = scales();
    let distance = |index: usize, a: f64, b: f64| {
        let with = |value: f64| {
            let mut features = [None; COUNT];
            features[index] = Some(value);
            scales.scale(&event(features))
        };
        // Only this feature differs.
        (scales.distance(&with(a), &with(b)).powi(2) * COUNT as f64).sqrt()
    };
    assert_eq!(FEATURES[2].name, "root");
    assert!((distance(2, 11.0, 0.0) - 1.0 / 6.0).abs() < 1e-12);
    assert!((distance(2, 0.0, 6.0) - 1.0).abs() < 1e-12);
    assert_eq!(FEATURES[5].name, "polarity");
    assert!((distance(5, -1.0, 0.0) - distance(5, -1.0, 1.0)).abs() < 1e-12);
    assert_eq!(FEATURES[6].name, "pulse");
    assert!((distance(6, 2.0, 3.0) - 1.0).abs() < 1e-12);
}

#[test]
fn a_missing_value_is_a_distance_of_one_and_the_distance_is_a_metric() {
    let scales = scales();
    let (all, none) = (scales.scale(&event([Some(50.0); COUNT])), [None; COUNT]);
    assert_eq!(scales.distance(&all, &none), 1.0);
    assert_eq!(scales.distance(&none, &none), 0.0);
    let mut points = vec![all, none];
    for n in 0..6 {
        points
            .push(scales.scale(&event(std::array::from_fn(|k| ((n + k) % 3 != 0).then(|| (n * n * 31 % 97) as f64)))));
    }
    for a in &points {
        for b in &points {
            let ab = scales.distance(a, b);
            assert_eq!(ab, scales.distance(b, a));
            assert!((0.0..=1.0).contains(&ab));
            assert!(points.iter().all(|c| ab <= scales.distance(a, c) + scales.distance(c, b) + 1e-12));
        }
    }
}

#[test]
fn scales_keep_their_names_and_refuse_others() {
    let text = serde_json::to_string(&scales()).unwrap();
    assert!(text.contains(r#"{"name":"root","scale":"circle","period":12.0,"events":101}"#), "{text}");
    assert_eq!(serde_json::from_str::<FeatureScales>(&text).unwrap(), scales());
    let problem = |from: &str, to: &str| {
        let changed = text.replace(from, to);
        assert_ne!(changed, text);
        serde_json::from_str::<FeatureScales>(&changed).unwrap_err().to_string()
    };
    assert!(problem(r#""root""#, r#""rooot""#).contains("`rooot`, expected `root`"));
    assert!(problem(r#""period":12.0"#, r#""period":0.0"#).contains("period is 0"));
    assert!(problem(r#""low":5.0"#, r#""low":500.0"#).contains("ascending"));
    assert!(problem("}]", r#"},{"name":"x","scale":"name","events":0}]"#).contains("unknown feature `x`"));
    let cut = format!("{}]", &text[..text.rfind(",{").unwrap()]);
    assert!(serde_json::from_str::<FeatureScales>(&cut).unwrap_err().to_string().contains("`syncopation` is missing"));
}

#[test]
fn quantiles_out_of_order_are_refused() {
    for (low, high) in [(0.5, 0.5), (0.9, 0.1), (-0.1, 0.5), (0.1, f64::NAN)] {
        assert!(FeatureScales::of(&[], low, high).is_err());
    }
}
