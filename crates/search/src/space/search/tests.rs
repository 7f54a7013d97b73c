//! Scans beside brute force in f64.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::space::{Affine, Geometry, Metric, MetricGroup, MetricOrigin, Transform};
use crate::{Catalogue, testing};

/// The best rows by their scores in f64, all of them scored and sorted: what a scan has to return.
fn brute_force(space: &Space, query: &Query, rows: &FixedBitSet, top: usize) -> Vec<Scored> {
    let score = |row| Scored { row, score: space.score(query, &space.point(Level::Tracks, row)) };
    let mut scored: Vec<Scored> = rows.ones().map(score).collect();
    scored.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
    scored.truncate(top);
    scored
}

/// The scores of a row by their definition, without the code of a space.
fn defined(catalogue: &Catalogue, geometry: &Geometry, a: usize, b: usize) -> f64 {
    let score = |&(group, weight): &(usize, f64)| {
        let placed = |row| {
            let values = catalogue.vectors(Level::Tracks, group).row(row);
            let mean = &catalogue.statistics().means[group];
            let center = if geometry.center { 1.0 } else { 0.0 };
            let mut placed: Vec<f64> = values.iter().zip(mean).map(|(&x, m)| f64::from(x) - center * m).collect();
            let components = &catalogue.statistics().components[group][..geometry.drop_components];
            let shares: Vec<f64> = components.iter().map(|c| c.iter().zip(&placed).map(|(c, x)| c * x).sum()).collect();
            for (component, share) in components.iter().zip(shares) {
                placed.iter_mut().zip(component).for_each(|(x, c)| *x -= share * c);
            }
            placed
        };
        let (a, b) = (placed(a), placed(b));
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        weight * product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
    };
    geometry.weights.iter().map(score).sum()
}

/// Rows that are hard for an approximation: nearly the same direction for all, copies, and rows far shorter and
/// longer than others.
fn adversarial(rows: usize, dim: usize) -> Vec<Vec<f32>> {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut vector = |scale: f32| -> Vec<f32> { (0..dim).map(|_| scale * random.random_range(-1.0..1.0f32)).collect() };
    let common = vector(1.0);
    let mut all: Vec<Vec<f32>> = Vec::new();
    for row in 0..rows {
        let scale = [0.1, 0.1, 0.1, 1e-6, 1e-7][row % 5];
        let near: Vec<f32> = common.iter().zip(vector(scale)).map(|(mean, noise)| mean + noise).collect();
        all.push(match row % 11 {
            3 if row > 20 => all[row - 17].clone(),
            7 => near.iter().map(|value| value * 1e-42).collect(),
            8 => near.iter().map(|value| value * 1e-30).collect(),
            9 => near.iter().map(|value| value * 3e37).collect(),
            _ => near,
        });
    }
    all
}

#[test]
fn the_best_rows_are_those_of_brute_force_in_f64_on_adversarial_rows() {
    let folder = tempfile::tempdir().unwrap();
    // Statistics of rows that differ by 80 orders of magnitude would be those of the longest alone.
    for (name, dim, huge) in [("a", 24, false), ("b", 37, true)] {
        let mut vectors = adversarial(1000, 2 * dim);
        if !huge {
            vectors.retain(|vector| vector.iter().all(|value| value.abs() < 1e9));
        }
        let catalogue = testing::catalogue_of(&folder.path().join(name), 2, dim, &vectors);
        let all = catalogue.live().clone();
        let mut few = FixedBitSet::with_capacity(catalogue.tracks());
        (0..catalogue.tracks()).filter(|row| row % 13 == 5).for_each(|row| few.insert(row));
        for (center, drop_components) in [(true, 0), (false, 0), (true, 3), (true, 16)] {
            let geometry =
                Geometry { center, drop_components, weights: vec![(1, 0.3), (0, 0.7)], ..Geometry::of(&catalogue) };
            let space = Space::new(&catalogue, geometry).unwrap();
            let mut queries: Vec<Query> = (0..9).map(|row| space.point(Level::Tracks, 37 * row)).collect();
            queries.push(space.combine(&[(queries[0].clone(), 1.0), (queries[1].clone(), -0.5)]));
            queries.push(space.place(vec![vec![0.0; dim]; 2]));
            for (rows, top) in [(&all, 1), (&all, 10), (&few, 10), (&all, 400), (&few, 5000), (&all, 0)] {
                let found = space.scan(Level::Tracks, &queries, rows, top);
                for (query, found) in queries.iter().zip(&found) {
                    assert_eq!(
                        *found,
                        brute_force(&space, query, rows, top),
                        "{name} {center} {drop_components} {top}"
                    );
                }
            }
        }
    }
}

#[test]
fn few_rows_of_ordinary_data_are_scored_twice_and_their_scores_are_as_defined() {
    let mut random = ChaCha8Rng::seed_from_u64(8);
    let mut vector = |scale: f32| -> Vec<f32> { (0..128).map(|_| scale * random.random_range(-1.0..1.0f32)).collect() };
    let mean = vector(3.0);
    let vectors: Vec<Vec<f32>> =
        (0..2000).map(|_| mean.iter().zip(vector(1.0)).map(|(mean, noise)| mean + noise).collect()).collect();
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue_of(folder.path(), 2, 64, &vectors);
    for (center, drop_components) in [(true, 0), (false, 0), (true, 2)] {
        let geometry = Geometry { center, drop_components, ..Geometry::of(&catalogue) };
        let space = Space::new(&catalogue, geometry.clone()).unwrap();
        let queries: Vec<Query> = (0..20).map(|row| space.point(Level::Tracks, row)).collect();
        let candidates = space.approximate(Level::Tracks, &queries, |scan| scan.candidates(catalogue.live(), 10));
        assert!(candidates.iter().all(|found| (10..13).contains(&found.len())), "{candidates:?}");
        let approximate = space.scores(Level::Tracks, &queries, catalogue.live());
        for (query, found) in space.scan(Level::Tracks, &queries, catalogue.live(), 10).iter().enumerate() {
            for hit in found {
                let expected = defined(&catalogue, &geometry, query, hit.row);
                assert!((hit.score - expected).abs() < 1e-12, "{hit:?} {expected}");
                assert!((f64::from(approximate[query][hit.row]) - expected).abs() < 1e-5);
            }
        }
    }
}

#[test]
fn the_best_rows_of_a_metric_are_those_of_brute_force_and_its_rows_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 300);
    let weight: Vec<f64> = (0..6 * 32).map(|index| f64::from(index * 37 % 101) / 50.0 - 1.0).collect();
    let groups = [("2", 0.4), ("1", 0.6)].map(|(name, weight)| MetricGroup { name: name.into(), weight });
    let origin = MetricOrigin {
        settings: None,
        groups: groups.into(),
        center: true,
        drop_components: 1,
        learned: serde_json::json!({}),
    };
    let layer =
        |weight: &[f64], inputs| Affine { weight: weight.to_vec(), bias: vec![0.3; weight.len() / inputs], inputs };
    let transforms = [
        Transform::Diagonal(weight[..32].to_vec()),
        Transform::Linear(Affine { bias: Vec::new(), ..layer(&weight, 32) }),
        Transform::Head { first: layer(&weight, 32), second: layer(&weight[..24], 6) },
    ];
    for transform in transforms {
        let metric = Metric::new(transform, origin.clone()).unwrap();
        let geometry = metric.geometry(&catalogue).unwrap();
        let space = Space::new(&catalogue, Geometry { metric: Some(metric.into()), ..geometry }).unwrap();
        let queries: Vec<Query> = (0..3).map(|row| space.point(Level::Tracks, 50 * row)).collect();
        let candidates = space.approximate(Level::Tracks, &queries, |scan| scan.candidates(catalogue.live(), 10));
        assert!(candidates.iter().all(|found| found.len() < 60), "{:?}", candidates[0].len());
        for (query, found) in queries.iter().zip(space.scan(Level::Tracks, &queries, catalogue.live(), 10)) {
            assert_eq!(found, brute_force(&space, query, catalogue.live(), 10));
        }
    }
    let kept = std::fs::read_dir(catalogue.folder().join("cache")).unwrap().count();
    assert_eq!(kept, 3);
}

#[test]
fn rows_in_f16_leave_the_results_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let mut vectors = adversarial(1000, 48);
    vectors.retain(|vector| vector.iter().all(|value| value.abs() < 1e4));
    let catalogue = testing::catalogue_of(folder.path(), 2, 24, &vectors);
    let search = |catalogue: &Catalogue, center| {
        let space = Space::new(catalogue, Geometry { center, ..Geometry::of(catalogue) }).unwrap();
        let queries: Vec<Query> = (0..7).map(|row| space.point(Level::Tracks, 31 * row)).collect();
        let errors = space.approximate(Level::Tracks, &queries, |scan| scan.candidates(catalogue.live(), 10));
        (space.scan(Level::Tracks, &queries, catalogue.live(), 10), errors)
    };
    let single = [true, false].map(|center| search(&catalogue, center));
    crate::space::build_half(&catalogue).unwrap();
    let again = Catalogue::open(catalogue.folder()).unwrap();
    for (single, half) in single.iter().zip([true, false].map(|center| search(&again, center))) {
        assert_eq!(single.0, half.0);
        // The bound is wider, so that they must have been read.
        let widest = |found: &[Vec<crate::scan::Estimate>]| {
            found.iter().flatten().map(|hit| hit.error).filter(|error| error.is_finite()).fold(0.0, f64::max)
        };
        assert!(widest(&half.1) > widest(&single.1));
    }
}

#[test]
fn lengths_are_kept_and_computed_again_when_they_are_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 40);
    let search = |catalogue: &Catalogue| {
        let space = Space::new(catalogue, Geometry::of(catalogue)).unwrap();
        space.scan(Level::Tracks, &[space.point(Level::Tracks, 3)], catalogue.live(), 5)
    };
    let expected = search(&catalogue);
    let index = catalogue.folder().join("parts/000001/index");
    let names = || {
        let mut names: Vec<String> = std::fs::read_dir(&index)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("norms."))
            .collect();
        names.sort();
        names
    };
    let written = names();
    assert_eq!(written.len(), 2, "{written:?}");
    assert!(written[0].starts_with("norms.tracks.hidden_state_1."), "{written:?}");
    let old = index.join("norms.tracks.hidden_state_1.0123456789abcdef-centered.safetensors");
    std::fs::rename(index.join(&written[0]), &old).unwrap();
    std::fs::write(index.join(&written[1]), "half").unwrap();
    assert_eq!(search(&Catalogue::open(catalogue.folder()).unwrap()), expected);
    assert_eq!(names(), written);
}

/// Writes NaN into the first value of rows of 16 values, in the file as it is.
fn damage(path: &std::path::Path, rows: &[usize]) {
    use std::io::{Seek, SeekFrom, Write};

    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    for row in rows {
        file.seek(SeekFrom::Start(128 + 64 * *row as u64)).unwrap();
        file.write_all(&f32::NAN.to_le_bytes()).unwrap();
    }
}

#[test]
fn rows_of_a_damaged_file_that_are_no_numbers_are_left_out_and_counted() {
    const DAMAGED: [usize; 6] = [3, 8, 13, 18, 23, 28];
    let folder = tempfile::tempdir().unwrap();
    for (csls, is_used_before) in [(false, true), (false, false), (true, true), (true, false)] {
        let catalogue = testing::catalogue(&folder.path().join(format!("{csls}-{is_used_before}")), 100);
        let geometry = Geometry { csls, weights: vec![(0, 1.0)], ..Geometry::of(&catalogue) };
        let mut all = FixedBitSet::with_capacity(catalogue.segments());
        all.insert_range(..);
        if is_used_before {
            // Lengths that were computed from the sound file.
            let space = Space::new(&catalogue, geometry.clone()).unwrap();
            space.scan(Level::Segments, &[space.point(Level::Segments, 0)], &all, 3);
        }
        damage(&catalogue.folder().join("parts/000001/index/segments.hidden_state_1.npy"), &DAMAGED);
        let opened = Catalogue::open(catalogue.folder()).unwrap();
        let space = Space::new(&opened, geometry).unwrap();
        let found = space.scan_above(Level::Segments, &[space.point(Level::Segments, 0)], &all, 60, 0).unwrap();
        let hits = &found.hits[0];
        assert_eq!(hits.len(), 60, "{csls} {is_used_before}");
        assert!(hits.iter().all(|hit| hit.score.is_finite() && !DAMAGED.contains(&hit.row)));
        assert!(found.note.is_some_and(|note| note.contains("6 rows") && note.contains("verify")), "{csls}");
        assert!(space.raw_segment(8).is_err_and(|error| error.to_string().contains("verify --repair")));
    }
}

#[test]
fn vectors_of_tracks_that_are_not_as_they_were_written_are_refused_until_they_are_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 100);
    let geometry = Geometry { weights: vec![(0, 1.0)], ..Geometry::of(&catalogue) };
    let path = catalogue.folder().join("parts/000001/index/tracks.hidden_state_1.npy");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[128 + 64 * 7] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let opened = Catalogue::open(catalogue.folder()).unwrap();
    let error = Space::new(&opened, geometry.clone()).unwrap_err().to_string();
    assert!(error.contains("tracks.hidden_state_1.npy") && error.contains("verify --repair"), "{error}");
    // Of the other hidden state nothing is wrong.
    assert!(Space::new(&opened, Geometry { weights: vec![(1, 1.0)], ..geometry.clone() }).is_ok());
    crate::catalogue::verify(catalogue.folder(), true, |_, _| ()).unwrap();
    let opened = Catalogue::open(catalogue.folder()).unwrap();
    assert!(Space::new(&opened, geometry).is_ok());
}
