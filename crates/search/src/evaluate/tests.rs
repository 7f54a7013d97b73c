//! Evaluations of a small catalogue beside a brute force that shares no code with them.

use super::*;
use crate::{Geometry, Level, testing};

/// P@k and MAP of `tag`, with filters or without.
fn brute_force(catalogue: &Catalogue, k: usize, with_filters: bool) -> (f64, f64) {
    let space = Space::new(catalogue, Geometry::of(catalogue)).unwrap();
    let texts = |name: &str, track| catalogue.column(name).unwrap().text(track).map(str::to_string);
    let (mut precision, mut map, mut queries) = (0.0, 0.0, 0.0);
    for query in 0..catalogue.tracks() {
        let mut ranked: Vec<(f64, usize)> = (0..catalogue.tracks())
            .filter(|&track| track != query)
            .filter(|&track| {
                !with_filters
                    || texts("artist", track) != texts("artist", query)
                        && texts("album", track) != texts("album", query)
            })
            .map(|track| (space.score(&space.point(Level::Tracks, query), &space.point(Level::Tracks, track)), track))
            .collect();
        ranked.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap());
        let relevant: Vec<bool> =
            ranked.iter().map(|&(_, track)| texts("genre", track) == texts("genre", query)).collect();
        let total = relevant.iter().filter(|&&is_relevant| is_relevant).count();
        if total > 0 {
            queries += 1.0;
            precision += relevant.iter().take(k).filter(|&&is_relevant| is_relevant).count() as f64 / k as f64;
            let at = |rank: usize| relevant[..=rank].iter().filter(|&&is_relevant| is_relevant).count() as f64;
            let ranks = (0..relevant.len()).filter(|&rank| relevant[rank]);
            map += ranks.map(|rank| at(rank) / (rank + 1) as f64).sum::<f64>() / total as f64;
        }
    }
    (precision / queries, map / queries)
}

fn one(catalogue: &Catalogue, options: &EvaluateOptions) -> Evaluation {
    let candidate = Candidate { name: "mix".into(), geometry: Geometry::of(catalogue) };
    evaluate(catalogue, &[candidate], options, &|_| ()).unwrap()
}

#[test]
fn figures_are_those_of_a_brute_force_with_both_filters() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 60);
    for k in [3, 10] {
        let found = one(&catalogue, &EvaluateOptions { k, ..EvaluateOptions::new("genre") });
        let row = &found.rows[0].figures;
        let (precision, map) = brute_force(&catalogue, k, true);
        assert!((row.precision.value - precision).abs() < 1e-12 && (row.map.value - map).abs() < 1e-12);
        assert!(row.precision.low <= precision && precision <= row.precision.high);
        // Without the filters each track finds its artist: a figure that says nothing about genres.
        let (unfiltered, _) = brute_force(&catalogue, k, false);
        assert!(unfiltered > precision + 0.2, "{unfiltered} {precision}");
        assert_eq!((found.queries, found.without_tag, found.unknown_artists), (60, 0, 8));
        // And a list of one more is another figure.
        assert!((brute_force(&catalogue, k + 1, true).0 - precision).abs() > 1e-6);
    }
}

#[test]
fn queries_that_cannot_be_judged_are_counted_and_a_sample_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 60);
    let options = EvaluateOptions { queries: 20, ..EvaluateOptions::new("genre") };
    let found = one(&catalogue, &options);
    assert_eq!((found.queries, found.possible_queries), (20, 60));
    assert!(found.notes[0].contains("20 of 60"), "{:?}", found.notes);
    assert_eq!(found, one(&catalogue, &options));
    let refusal = |tag: &str| {
        let candidate = Candidate { name: "mix".into(), geometry: Geometry::of(&catalogue) };
        evaluate(&catalogue, &[candidate], &EvaluateOptions::new(tag), &|_| ()).unwrap_err().to_string()
    };
    assert!(refusal("artist").contains("same artist"));
    assert!(refusal("bpm").contains("numbers"));
    assert!(refusal("mood").contains("no column `mood`"));
}

#[test]
fn the_table_has_each_state_and_the_mix_and_csls_has_fewer_hubs() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 60);
    let candidates = table(&catalogue, &Geometry::of(&catalogue).weights);
    let names: Vec<&str> = candidates.iter().map(|candidate| candidate.name.as_str()).collect();
    assert!(names.contains(&"mix centred") && names.contains(&"1 raw") && names.contains(&"2 CSLS"), "{names:?}");
    let found = evaluate(&catalogue, &candidates, &EvaluateOptions::new("genre"), &|_| ()).unwrap();
    let hubs = |name: &str| found.rows.iter().find(|row| row.name == name).unwrap().hubs;
    assert!(hubs("mix CSLS").robin_hood < hubs("mix centred").robin_hood);
    assert_eq!(hubs("mix raw").lists, 60);
    let none = found.chance.precision;
    assert!(none > 0.3 && none < 0.7, "{none}");
}
