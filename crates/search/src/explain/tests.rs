//! Explanations against scores: what is listed sums to the score, and to nothing else.

use super::*;
use crate::query::{Calibration, SearchLevel, Seed};
use crate::space::{Affine, Geometry, Metric, MetricGroup, MetricOrigin, Space, Transform};
use crate::testing;
use crate::vectors::Level;

fn all_pairs() -> ExplainOptions {
    ExplainOptions { pairs: usize::MAX, ..ExplainOptions::default() }
}

#[test]
fn every_list_of_terms_sums_to_the_score() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 40);
    for (center, drop_components) in [(true, 0), (false, 0), (true, 2)] {
        let weights = vec![(0, 0.3), (1, 0.7)];
        let geometry = Geometry { center, drop_components, weights, ..Geometry::of(&catalogue) };
        let space = Space::new(&catalogue, geometry).unwrap();
        let calibration = Calibration::new(&space, SearchLevel::Tracks, 0);
        let passage = Seed::Passage { track: 9, start: 10.0, end: 30.0 };
        for seeds in [
            vec![(Seed::Track(7), 1.0)],
            vec![(Seed::Track(7), 2.5)],
            vec![(Seed::Track(7), 1.0), (passage, 0.4), (Seed::Track(11), -0.7)],
        ] {
            for (level, row) in [(Level::Tracks, 12), (Level::Segments, 40)] {
                let reasons = explain(&space, &calibration, &seeds, level, row, &all_pairs()).unwrap();
                let cosine = reasons.cosine;
                let is_cosine = |sum: f64| (sum - cosine).abs() < 1e-6;
                assert!(is_cosine(reasons.terms.iter().map(|term| term.term).sum()));
                assert!(is_cosine(reasons.average + reasons.terms.iter().map(|term| term.deviation).sum::<f64>()));
                assert!(is_cosine(reasons.seeds.iter().map(|seed| seed.term).sum()), "{:?}", reasons.seeds);
                assert!(is_cosine(reasons.passages.iter().map(|pair| pair.share).sum()));
                let part = reasons.participation.unwrap();
                assert!(is_cosine(part.sum));
                assert_eq!(part.pairs, reasons.passages.len());
                assert!(reasons.passages.is_sorted_by(|a, b| a.share >= b.share));
            }
        }
    }
}

#[test]
fn a_share_is_what_the_score_loses_without_the_pair_and_not_the_cosine_of_the_passages() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 40);
    let space = Space::new(&catalogue, Geometry::of(&catalogue)).unwrap();
    let calibration = Calibration::new(&space, SearchLevel::Tracks, 0);
    let reasons = explain(&space, &calibration, &[(Seed::Track(7), 1.0)], Level::Tracks, 12, &all_pairs()).unwrap();
    // What a program that took the cosines of passages for their shares would print.
    let cosines: f64 = reasons.passages.iter().map(|pair| pair.cosine).sum::<f64>() / reasons.passages.len() as f64;
    assert!((cosines - reasons.cosine).abs() > 0.01, "{cosines}");
    // The norms of the seed and of the hit: those of another track give another sum.
    let length = |track: usize| -> f64 {
        let centred = space.center(space.raw(Level::Tracks, track));
        centred[0].iter().map(|value| value * value).sum::<f64>().sqrt()
    };
    assert!((length(7) - length(12)).abs() > 0.01);
}

#[test]
fn shares_sum_to_the_score_of_a_linear_metric_and_a_head_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 40);
    let layer = |outputs: usize, inputs: usize| Affine {
        weight: (0..outputs * inputs).map(|index| ((index * 37 % 101) as f64 - 50.0) / 50.0).collect(),
        bias: Vec::new(),
        inputs,
    };
    let groups = [("1", 0.25), ("2", 0.75)].map(|(name, weight)| MetricGroup { name: name.into(), weight });
    let origin = MetricOrigin {
        settings: None,
        groups: groups.into(),
        center: true,
        drop_components: 0,
        learned: serde_json::Value::Null,
    };
    let diagonal = Transform::Diagonal((0..32).map(|index| 0.5 + index as f64 / 10.0).collect());
    let head = Transform::Head { first: layer(8, 32), second: layer(4, 8) };
    for (transform, is_linear) in [(diagonal, true), (Transform::Linear(layer(5, 32)), true), (head, false)] {
        let metric = Metric::new(transform, origin.clone()).unwrap();
        let geometry = metric.geometry(&catalogue).unwrap();
        let geometry = Geometry { metric: Some(std::sync::Arc::new(metric)), ..geometry };
        let space = Space::new(&catalogue, geometry).unwrap();
        let calibration = Calibration::new(&space, SearchLevel::Tracks, 0);
        let seeds = [(Seed::Track(7), 1.0), (Seed::Track(11), -0.7)];
        let reasons = explain(&space, &calibration, &seeds, Level::Tracks, 12, &all_pairs()).unwrap();
        assert!((reasons.terms.iter().map(|term| term.term).sum::<f64>() - reasons.cosine).abs() < 1e-12);
        assert!((reasons.seeds.iter().map(|seed| seed.term).sum::<f64>() - reasons.cosine).abs() < 1e-12);
        let shares: f64 = reasons.passages.iter().map(|pair| pair.share).sum();
        assert_eq!(reasons.participation.is_some(), is_linear);
        assert_eq!(reasons.notes.len(), usize::from(!is_linear), "{:?}", reasons.notes);
        assert!(!is_linear || (shares - reasons.cosine).abs() < 1e-6, "{shares} {}", reasons.cosine);
    }
}

#[test]
fn participation_counts_the_fewest_segments_that_reach_half() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 40);
    let space = Space::new(&catalogue, Geometry::of(&catalogue)).unwrap();
    let calibration = Calibration::new(&space, SearchLevel::Tracks, 0);
    for track in (0..40).filter(|&track| track != 7) {
        let reasons =
            explain(&space, &calibration, &[(Seed::Track(7), 1.0)], Level::Tracks, track, &all_pairs()).unwrap();
        let part = reasons.participation.unwrap();
        assert_eq!((part.pairs, part.seed_segments, part.hit_segments), (9, 3, 3));
        assert_eq!(part.hit_segments_for_half.is_some(), reasons.cosine > 0.0);
        let Some(count) = part.hit_segments_for_half else { continue };
        let mut shares: Vec<f64> = [0.0, 10.0, 20.0]
            .map(|start| reasons.passages.iter().filter(|pair| pair.start == start).map(|pair| pair.share).sum())
            .to_vec();
        shares.sort_by(|a, b| b.total_cmp(a));
        assert!(shares[..count].iter().sum::<f64>() >= 0.5 * reasons.cosine);
        assert!(shares[..count - 1].iter().sum::<f64>() < 0.5 * reasons.cosine);
    }
}

#[test]
fn a_contrast_is_the_difference_of_the_same_terms() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 40);
    let space = Space::new(&catalogue, Geometry::of(&catalogue)).unwrap();
    let calibration = Calibration::new(&space, SearchLevel::Tracks, 0);
    let seeds = [(Seed::Track(7), 1.0)];
    let contrast = contrast(&space, &calibration, &seeds, 12, 3).unwrap();
    let [one, other] = [12, 3]
        .map(|track| explain(&space, &calibration, &seeds, Level::Tracks, track, &ExplainOptions::default()).unwrap());
    assert_eq!((contrast.cosine, contrast.versus_cosine), (one.cosine, other.cosine));
    let sum: f64 = contrast.terms.iter().map(|term| term.difference).sum();
    assert!((sum - (one.cosine - other.cosine)).abs() < 1e-12);
}

#[test]
fn unknown_facts_are_empty() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 40);
    let space = Space::new(&catalogue, Geometry::of(&catalogue)).unwrap();
    let calibration = Calibration::new(&space, SearchLevel::Tracks, 0);
    let seeds = [(Seed::Track(6), 1.0)];
    let reasons = explain(&space, &calibration, &seeds, Level::Tracks, 8, &ExplainOptions::default()).unwrap();
    let fact = |name: &str| reasons.facts.iter().find(|fact| fact.column == name).unwrap();
    assert_eq!(fact("artist").seeds, [Vec::<FactValue>::new()]);
    assert_eq!(fact("artist").hit, [FactValue::Text("artist 3".into())]);
    assert_eq!((fact("bpm").seeds[0][..].to_vec(), fact("bpm").hit.len()), (vec![FactValue::Number(66.0)], 0));
    // Numbers are numbers in JSON.
    let json = serde_json::to_value(fact("bpm")).unwrap();
    assert_eq!(json["seeds"], serde_json::json!([[66.0]]));
    assert_eq!(fact("duration").hit, [FactValue::Number(catalogue.track(8).duration)]);
    let options = ExplainOptions { columns: vec!["none".into()], ..ExplainOptions::default() };
    explain(&space, &calibration, &seeds, Level::Tracks, 8, &options).unwrap_err();
    explain(&space, &calibration, &seeds, Level::Tracks, 400, &ExplainOptions::default()).unwrap_err();
}

#[test]
fn figures_of_probes_stand_beside_hidden_states_while_they_are_current() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 40);
    let space = Space::new(&catalogue, Geometry::of(&catalogue)).unwrap();
    let calibration = Calibration::new(&space, SearchLevel::Tracks, 0);
    let probes = || {
        let seeds = [(Seed::Track(7), 1.0)];
        let reasons = explain(&space, &calibration, &seeds, Level::Tracks, 8, &ExplainOptions::default()).unwrap();
        reasons.terms.into_iter().map(|term| term.probes).collect::<Vec<_>>()
    };
    let kept = catalogue.folder().join("cache/probes");
    std::fs::create_dir_all(&kept).unwrap();
    std::fs::write(kept.join("damaged.json"), "{").unwrap();
    assert_eq!(probes(), [Vec::new(), Vec::new()]);
    let generation = catalogue.manifest().generation;
    for (generation, shown) in [(generation + 1, 0), (generation, 1)] {
        let figure =
            serde_json::json!({ "name": "balanced_accuracy", "value": 0.61, "low": 0.5, "high": 0.7, "chance": 0.5 });
        let row = |name: &str, is_predictable: bool| serde_json::json!({ "name": name, "figures": [figure], "is_predictable": is_predictable });
        let file = serde_json::json!({
            "tag": "genre", "generation": generation, "tracks": 40, "artists": 5,
            "rows": [row("1", false), row("2", true), row("all", true)],
        });
        std::fs::write(kept.join("genre.json"), file.to_string()).unwrap();
        let found = probes();
        assert_eq!((found[0].len(), found[1].len()), (0, shown));
        assert!(found[1].iter().all(|probe| probe.tag == "genre" && probe.value == 0.61));
    }
}
