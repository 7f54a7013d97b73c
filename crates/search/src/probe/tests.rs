//! Probes of columns whose relation to the vectors is known.

use super::*;
use crate::analysis::testing::judged_catalogue;

#[test]
fn what_vectors_hold_is_predicted_and_luck_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = judged_catalogue(folder.path(), 200);
    let probe = |tag: &str| probe(&catalogue, &ProbeOptions::new(tag), &|_| ()).unwrap();
    let tempo = probe("tempo");
    // The noise has a variance of 1/3, the tempo of some 400 (1/3 + 1/12).
    assert!(
        tempo.rows[0].figures[0].interval.low > 0.95 && tempo.rows[0].is_predictable,
        "{:?}",
        tempo.rows[0].figures
    );
    assert!(!tempo.rows[1].is_predictable, "the second group knows nothing of it: {:?}", tempo.rows[1].figures);
    let luck = probe("luck");
    assert!(luck.rows.iter().all(|row| !row.is_predictable && row.figures[0].interval.value < 0.1));
    let kind = probe("kind");
    assert!(kind.rows[1].figures[1].interval.value > 0.9 && kind.rows[1].is_predictable);
    assert!(kind.rows[1].areas.iter().all(|area| area.low > 0.9) && kind.rows[1].areas.len() == 4);
    assert_eq!(kind.rows[0].figures[0].chance, 0.5);
    let chance = kind.rows[0].figures[1].chance;
    assert!((chance - 0.25).abs() < 0.03, "{chance}");
    assert!(!kind.rows[0].is_predictable);
    let names: Vec<&str> = kind.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!((names, kind.classes.len(), kind.artists), (vec!["1", "2", "all"], 4, 100));
}

#[test]
fn each_of_several_texts_is_predicted_and_rare_ones_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = judged_catalogue(folder.path(), 200);
    let report = probe(&catalogue, &ProbeOptions::new("labels"), &|_| ()).unwrap();
    let names: Vec<&str> = report.classes.iter().map(|class| class.text.as_str()).collect();
    assert_eq!(names, ["kind 0", "kind 1", "kind 2", "kind 3", "left", "right"]);
    assert_eq!((report.several, report.rare, report.tracks), (200, 0, 200));
    assert_eq!(report.left_out, [ClassCount { text: "rare".into(), tracks: 1, artists: 1 }]);
    // The first group knows the sides, the second the kinds.
    let areas = |row: usize| report.rows[row].areas.iter().map(|area| area.value).collect::<Vec<_>>();
    assert!(areas(0)[..4].iter().all(|area| *area < 0.7) && areas(0)[4..].iter().all(|area| *area > 0.95));
    assert!(areas(1)[..4].iter().all(|area| *area > 0.95) && areas(1)[4..].iter().all(|area| *area < 0.7));
    assert_eq!(report.rows[0].predictions[3].texts.len(), 2);
}

#[test]
fn no_artist_is_in_two_folds_and_figures_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = judged_catalogue(folder.path(), 100);
    let report = probe(&catalogue, &ProbeOptions { tracks: 80, ..ProbeOptions::new("side") }, &|_| ()).unwrap();
    let predictions = &report.rows[0].predictions;
    assert_eq!((report.tracks, predictions.len()), (80, 80));
    assert!(report.notes[0].contains("80 of 100"));
    for a in predictions {
        assert!(predictions.iter().all(|b| a.track / 2 != b.track / 2 || a.fold == b.fold));
    }
    let path = keep(&catalogue, &report).unwrap();
    assert!(path.ends_with("cache/probes/side.json"));
    let kept: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(kept["rows"][0]["figures"][0]["name"], "macro_auc");
    let refused = probe(&catalogue, &ProbeOptions::new("artist"), &|_| ()).unwrap_err().to_string();
    assert!(refused.contains("found 0 of 50 texts"), "{refused}");
    assert!(cache_path(&catalogue, "a/b").ends_with("cache/probes/a%2fb.json"));
}
