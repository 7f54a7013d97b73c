//! Searches against rankings by the definition, with the choices that limits, versions and variety must make.

use super::*;
use crate::space::{Geometry, Space};
use crate::vectors::Level;
use crate::{Catalogue, Seed, testing};

/// The options of a pure ranking.
fn pure(top: usize) -> SearchOptions {
    SearchOptions { top, limits: Limits::NONE, versions: None, ..SearchOptions::default() }
}

fn with_space<T>(tracks: usize, run: impl FnOnce(&Catalogue, &Space<'_>, &Calibration) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), tracks);
    let space = Space::new(&catalogue, Geometry::of(&catalogue)).unwrap();
    let calibration = Calibration::new(&space, SearchLevel::Tracks, 0);
    run(&catalogue, &space, &calibration)
}

fn tracks(answer: &Answer) -> Vec<usize> {
    answer.hits.iter().map(|hit| hit.track).collect()
}

#[test]
fn the_seed_is_not_its_own_hit_and_every_other_track_is_one() {
    with_space(40, |catalogue, space, calibration| {
        for seed in [Seed::Track(7), Seed::Passage { track: 7, start: 0.0, end: 9.0 }] {
            let answer = search(space, calibration, &[(seed.clone(), 1.0)], &pure(100)).unwrap();
            let mut found = tracks(&answer);
            found.sort_unstable();
            assert_eq!(found, (0..40).filter(|&track| track != 7).collect::<Vec<_>>(), "{seed:?}");
            assert!(answer.notes.iter().any(|note| note.starts_with("39 of 100 hits")), "{:?}", answer.notes);
            assert!(answer.hits.is_sorted_by(|a, b| a.score >= b.score));
        }
        let both = [(Seed::Track(7), 1.0), (Seed::Track(9), -1.0)];
        let answer = search(space, calibration, &both, &pure(100)).unwrap();
        assert_eq!(answer.hits.len(), 38);
        assert_eq!(answer.compared, 38);
        let _ = catalogue;
    });
}

#[test]
fn vectors_of_a_track_are_found_as_a_version_and_score_as_the_track_does() {
    with_space(40, |catalogue, space, calibration| {
        let segments = catalogue.track(7).segments.map(|row| {
            let values = (0..2).flat_map(|group| catalogue.vectors(Level::Segments, group).row(row).to_vec());
            let segment = catalogue.segment(row);
            SeedSegment { start: segment.start, end: segment.end, values: values.collect() }
        });
        let seed = |duration| Seed::Vectors {
            label: "outside".into(),
            duration,
            segments: segments.clone().collect(),
            metadata: Default::default(),
        };
        let as_track = search(space, calibration, &[(Seed::Track(7), 1.0)], &pure(39)).unwrap();
        let outside = search(space, calibration, &[(seed(None), 1.0)], &pure(40)).unwrap();
        assert_eq!(outside.hits[0].track, 7);
        assert!((outside.hits[0].cosine - 1.0).abs() < 1e-12);
        assert_eq!(tracks(&outside)[1..], tracks(&as_track));
        for (a, b) in outside.hits[1..].iter().zip(&as_track.hits) {
            assert_eq!(a.cosine, b.cosine);
        }
        // With its length known it is the same recording, and no hit.
        let options = SearchOptions { versions: Some(Versions::default()), ..pure(40) };
        let known = search(space, calibration, &[(seed(Some(catalogue.track(7).duration)), 1.0)], &options).unwrap();
        assert_eq!(known.seed_versions[0].track, 7);
        assert!(!tracks(&known).contains(&7));
    });
}

#[test]
fn limits_hold_until_the_list_cannot_be_filled() {
    with_space(60, |_, space, calibration| {
        let seeds = [(Seed::Track(7), 1.0)];
        let limits = Limits { per_artist: 2, per_album: 1, artist_gap: 1, album_gap: 0 };
        let answer = search(space, calibration, &seeds, &SearchOptions { limits, ..pure(6) }).unwrap();
        let credits = calibration.credits();
        let found = tracks(&answer);
        for artist in found.iter().filter_map(|&track| credits.artist(track)) {
            assert!(found.iter().filter(|&&track| credits.artist(track) == Some(artist)).count() <= 2);
        }
        assert!(found.windows(2).all(|pair| !credits.same_artist(pair[0], pair[1])), "{found:?}");
        assert!(answer.hits.is_sorted_by(|a, b| a.score >= b.score));
        // What was left out and what was chosen is the whole ranking up to the last hit.
        let all = search(space, calibration, &seeds, &pure(59)).unwrap();
        let last = tracks(&all).iter().position(|track| track == found.last().unwrap()).unwrap();
        let left_out = answer.left_out.artist + answer.left_out.album + answer.left_out.gap;
        assert_eq!(left_out + found.len(), last + 1);
        // Five artists and one that is unknown allow no 30 hits.
        let many = search(space, calibration, &seeds, &SearchOptions { limits, ..pure(30) }).unwrap();
        assert_eq!(many.hits.len(), 30);
        assert!(
            many.notes.iter().any(|note| note.contains("exceed the numbers for artist or album")),
            "{:?}",
            many.notes
        );
    });
}

#[test]
fn variety_chooses_by_marginal_relevance() {
    with_space(40, |_, space, calibration| {
        let seeds = [(Seed::Track(7), 1.0)];
        let options = SearchOptions { variety: 0.6, ..pure(8) };
        let found = tracks(&search(space, calibration, &seeds, &options).unwrap());
        let point = |track| space.point(Level::Tracks, track);
        let mut expected: Vec<usize> = Vec::new();
        while expected.len() < 8 {
            let value = |track: usize| {
                let nearest = expected.iter().map(|&other| space.score(&point(track), &point(other)));
                let score = space.score(&point(7), &point(track));
                let nearest = nearest.fold(f64::NEG_INFINITY, f64::max);
                if expected.is_empty() { score } else { 0.4 * score - 0.6 * nearest }
            };
            let rest = (0..40).filter(|track| *track != 7 && !expected.contains(track));
            expected.push(rest.max_by(|&a, &b| value(a).total_cmp(&value(b))).unwrap());
        }
        assert_eq!(found, expected);
        let plain = tracks(&search(space, calibration, &seeds, &pure(8)).unwrap());
        assert_ne!(found, plain);
    });
}

#[test]
fn a_list_is_not_emptied_by_versions_of_the_seed() {
    with_space(40, |catalogue, space, calibration| {
        // With these conditions every track is a version of every other.
        let versions = Some(Versions { distance: 2.0, seconds: 1000.0 });
        let options = SearchOptions { versions, ..pure(5) };
        let answer = search(space, calibration, &[(Seed::Track(7), 1.0)], &options).unwrap();
        assert_eq!(answer.hits.len(), 5);
        assert_eq!(answer.seed_versions.len(), 39);
        assert!(answer.notes.iter().any(|note| note.contains("versions of the seed")), "{:?}", answer.notes);
        // Either condition alone does not suffice.
        for versions in [Versions { distance: 2.0, seconds: 0.0 }, Versions { distance: 0.0, seconds: 1000.0 }] {
            let options = SearchOptions { versions: Some(versions), ..pure(5) };
            let answer = search(space, calibration, &[(Seed::Track(7), 1.0)], &options).unwrap();
            assert!(answer.seed_versions.is_empty(), "{versions:?}");
        }
        let _ = catalogue;
    });
}

#[test]
fn percentiles_are_shares_of_pairs_by_different_artists() {
    with_space(40, |_, space, calibration| {
        let credits = calibration.credits();
        let mut cosines = Vec::new();
        for a in 0..40 {
            for b in a + 1..40 {
                if !credits.same_artist(a, b) {
                    cosines.push(space.score(&space.point(Level::Tracks, a), &space.point(Level::Tracks, b)));
                }
            }
        }
        assert_eq!(calibration.pairs(), cosines.len());
        let answer = search(space, calibration, &[(Seed::Track(7), 1.0)], &pure(39)).unwrap();
        for hit in answer.hits {
            let lower = cosines.iter().filter(|&&cosine| cosine < hit.cosine).count();
            assert_eq!(hit.percentile, Some(100.0 * lower as f64 / cosines.len() as f64));
        }
        let average: f64 = calibration.average_terms().iter().sum();
        assert!((average - cosines.iter().sum::<f64>() / cosines.len() as f64).abs() < 1e-12);
    });
}

#[test]
fn large_catalogues_are_sampled_and_the_sample_depends_on_the_seed_alone() {
    with_space(230, |_, space, calibration| {
        assert_eq!(calibration.pairs(), 20_000);
        let again = Calibration::new(space, SearchLevel::Tracks, 0);
        let other = Calibration::new(space, SearchLevel::Tracks, 1);
        assert_eq!(again.average_terms(), calibration.average_terms());
        assert_ne!(other.average_terms(), calibration.average_terms());
    });
}

#[test]
fn a_blend_ranks_by_standardised_sums_and_unknown_values_count_as_the_mean() {
    with_space(40, |catalogue, space, calibration| {
        let blend = vec![Blend { column: "bpm".into(), weight: 1.0 }];
        let answer =
            search(space, calibration, &[(Seed::Track(7), 1.0)], &SearchOptions { blend, ..pure(39) }).unwrap();
        let bpm = catalogue.column("bpm").unwrap();
        let known: Vec<f64> = answer.hits.iter().filter_map(|hit| bpm.number(hit.track)).collect();
        assert!(known.is_sorted_by(|a, b| a > b), "{known:?}");
        let unknown = answer.hits.iter().filter(|hit| bpm.number(hit.track).is_none());
        assert!(unknown.clone().count() > 10 && unknown.into_iter().all(|hit| hit.score == 0.0));
        let blend = vec![Blend { column: "duration".into(), weight: -1.0 }];
        let options = SearchOptions { blend, ..pure(39) };
        let answer = search(space, calibration, &[(Seed::Track(7), 1.0)], &options).unwrap();
        assert!(answer.hits.is_sorted_by_key(|hit| (1e6 * catalogue.track(hit.track).duration) as u64));
        for (column, weight) in [("artist", 0.2), ("file", 0.2), ("bpm", 1.2), ("bpm", f64::NAN), ("none", 0.2)] {
            let blend = vec![Blend { column: column.into(), weight }];
            let options = SearchOptions { blend, ..pure(5) };
            search(space, calibration, &[(Seed::Track(7), 1.0)], &options).unwrap_err();
        }
    });
}

#[test]
fn impossible_searches_are_refused() {
    with_space(40, |_, space, calibration| {
        let refused = |seeds: &[(Seed, f64)], options: &SearchOptions| {
            search(space, calibration, seeds, options).unwrap_err().to_string()
        };
        let one = [(Seed::Track(7), 1.0)];
        assert!(refused(&[], &pure(5)).contains("a seed with a weight above zero"));
        assert!(refused(&[(Seed::Track(7), -1.0)], &pure(5)).contains("a seed with a weight above zero"));
        assert!(refused(&[(Seed::Track(400), 1.0)], &pure(5)).contains("no track 400"));
        assert!(refused(&[(Seed::Track(7), 1.0), (Seed::Track(7), -1.0)], &pure(5)).contains("cancel"));
        let late = refused(&[(Seed::Passage { track: 7, start: 100.0, end: 110.0 }, 1.0)], &pure(5));
        assert!(late.contains("@100-110") && late.contains("the track ends at"), "{late}");
        assert!(refused(&one, &pure(0)).contains("expected 1 to 1000000, found 0"));
        assert!(refused(&one, &SearchOptions { variety: 1.5, ..pure(5) }).contains("from 0 to 1"));
        assert!(refused(&one, &SearchOptions { level: SearchLevel::Passages, ..pure(5) }).contains("calibration"));
        let none = SearchOptions { filter: Some("bpm > 1000".into()), ..pure(5) };
        let empty = search(space, calibration, &one, &none).unwrap();
        assert!(empty.hits.is_empty() && empty.notes[0].contains("keeps none of the 40 tracks"), "{:?}", empty.notes);
    });
}

#[test]
fn a_path_always_answers_and_begins_and_ends_with_the_given_songs() {
    with_space(40, |_, space, calibration| {
        for (from, to, steps) in [(0, 1, 0), (3, 9, 8), (4, 4, 5), (0, 39, 100)] {
            let options = PathOptions { steps, ..PathOptions::default() };
            let path = path(space, calibration, &Seed::Track(from), &Seed::Track(to), &options).unwrap();
            let tracks: Vec<usize> = path.steps.iter().filter_map(|step| step.track).collect();
            assert_eq!((tracks[0], *tracks.last().unwrap()), (from, to));
            let between = &tracks[1..tracks.len() - 1];
            let others = if from == to { 39 } else { 38 };
            assert_eq!(between.len(), steps.min(others));
            assert_eq!(between.iter().collect::<std::collections::HashSet<_>>().len(), between.len());
            assert_eq!(path.notes.len(), usize::from(steps > others), "{:?}", path.notes);
            assert!(path.steps.iter().skip(1).all(|step| step.is_wide == (step.percentile.unwrap() < 50.0)));
        }
    });
}

#[test]
fn options_are_read_from_json_with_defaults() {
    let options: SearchOptions =
        serde_json::from_str(r#"{"top": 3, "level": "passages", "limits": {"per_artist": 1}}"#).unwrap();
    assert_eq!(options.limits, Limits { per_artist: 1, ..Limits::default() });
    assert_eq!((options.top, options.level), (3, SearchLevel::Passages));
    assert!(serde_json::from_str::<SearchOptions>(r#"{"topp": 3}"#).is_err());
}
