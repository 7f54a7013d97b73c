//! Metrics learned from judgments whose truth is known.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::fit::tests::gradient_error;
use super::*;
use crate::analysis::testing::judged_catalogue;
use crate::{Catalogue, Geometry, testing};

/// Judgments of pairs of tracks by a rule.
fn pairs(count: usize, tracks: usize, rule: impl Fn(usize, usize) -> bool) -> Judgments {
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let mut items = Vec::new();
    while items.len() < count {
        let (a, b) = (random.random_range(0..tracks), random.random_range(0..tracks));
        if a != b {
            items.push(Judgment::Pair { a, b, alike: rule(a, b) });
        }
    }
    judgments(JudgmentKind::Pairs, items)
}

fn judgments(kind: JudgmentKind, items: Vec<Judgment>) -> Judgments {
    Judgments { kind, sha256: "00".into(), items, unmatched: 0, unmatched_files: Vec::new(), same_track: 0 }
}

/// Triplets of tracks that are odd by the sign of one value of their vectors, which is small beside the others.
fn odd_ones(catalogue: &Catalogue, count: usize) -> Judgments {
    let side = catalogue.column("side").unwrap();
    let sign = |track: usize| side.text(track).map(str::to_string);
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut items = Vec::new();
    while items.len() < count {
        let [a, b, odd] = [0; 3].map(|_: usize| random.random_range(0..catalogue.tracks()));
        if a != b && sign(a) == sign(b) && sign(odd) != sign(a) {
            items.push(Judgment::Triplet { a, b, odd });
        }
    }
    judgments(JudgmentKind::Triplets, items)
}

fn space(catalogue: &Catalogue) -> Space<'_> {
    Space::new(catalogue, Geometry::of(catalogue)).unwrap()
}

#[test]
fn gradients_are_those_of_differences() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = judged_catalogue(folder.path(), 60);
    let space = space(&catalogue);
    for judgments in [odd_ones(&catalogue, 30), pairs(30, 60, |a, b| (a + b) % 3 == 0)] {
        let features = Features::new(&space, &judgments.tracks(), 1);
        for kind in ModelKind::ALL {
            let error = gradient_error(kind, &features, &judgments);
            // The error of central differences at a step of 1e-5.
            assert!(error < 1e-6, "{kind:?} {error}");
        }
    }
}

#[test]
fn a_metric_that_generalizes_to_other_artists_is_learned() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = judged_catalogue(folder.path(), 150);
    let space = space(&catalogue);
    let judgments = odd_ones(&catalogue, 400);
    let options = LearnOptions { repeats: 2, draws: 500, ..LearnOptions::default() };
    let (report, metric) = learn(&space, &judgments, &options, &|_| ()).unwrap();
    let best = report.models.iter().find(|gain| Some(gain.model) == report.chosen).unwrap();
    assert!(best.gain.low > 0.05 && best.after.value > best.before.value + 0.1, "{best:?}");
    // New judgments, by the score of the space with the metric.
    let metric = metric.unwrap();
    let mapped = with_metric(&space, metric.clone()).unwrap();
    let accuracy = |space: &Space<'_>| {
        let point = |track| space.point(crate::Level::Tracks, track);
        let right = |item: &&Judgment| match **item {
            Judgment::Triplet { a, b, odd } => {
                let (a, b, odd) = (point(a), point(b), point(odd));
                space.score(&a, &b) > space.score(&a, &odd).max(space.score(&b, &odd))
            }
            Judgment::Pair { .. } => false,
        };
        judgments.items.iter().filter(right).count() as f64 / judgments.items.len() as f64
    };
    assert!(accuracy(&mapped) > accuracy(&space) + 0.1);
    // The same on one thread.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let (again, same) = pool.install(|| learn(&space, &judgments, &options, &|_| ())).unwrap();
    assert_eq!((again, same.unwrap()), (report, metric));
}

#[test]
fn nothing_is_learned_from_noise_nor_from_few_artists() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = judged_catalogue(folder.path(), 150);
    let space = space(&catalogue);
    let mut random = ChaCha8Rng::seed_from_u64(6);
    let noise: Vec<bool> = (0..22_500).map(|_| random.random()).collect();
    let options = LearnOptions { repeats: 2, draws: 500, ..LearnOptions::default() };
    let learn = |judgments: &Judgments| learn(&space, judgments, &options, &|_| ()).unwrap();
    let (report, metric) = learn(&pairs(200, 150, |a, b| noise[150 * a + b]));
    assert!(metric.is_none() && report.chosen.is_none());
    assert!(report.refused.unwrap().contains("surely better"));
    // Tracks 0 to 9 are by five artists.
    let (report, metric) = learn(&pairs(60, 10, |a, b| (a + b) % 2 == 0));
    assert!(metric.is_none() && report.refused.as_ref().unwrap().contains("artists are too few"), "{report:?}");
    let (report, _) = learn(&pairs(5, 150, |_, _| true));
    assert!(report.refused.unwrap().contains("5 judgments are too few"));
}

/// Pairs that are alike if a direction of the first group, which no value has alone, has the same sign in both; of tracks far
/// from its middle, a tenth judged wrongly.
fn rotated(catalogue: &Catalogue, count: usize) -> Judgments {
    let mut random = ChaCha8Rng::seed_from_u64(9);
    let direction: Vec<f32> = (0..16).map(|_| if random.random() { 0.25 } else { -0.25 }).collect();
    let along = |track: usize| -> f32 {
        catalogue.vectors(crate::Level::Tracks, 0).row(track).iter().zip(&direction).map(|(a, b)| a * b).sum()
    };
    let clear: Vec<usize> = (0..catalogue.tracks()).filter(|&track| along(track).abs() > 0.4).collect();
    let mut items = Vec::new();
    while items.len() < count {
        let [a, b] = [0; 2].map(|_: usize| clear[random.random_range(0..clear.len())]);
        if a != b {
            let is_wrong = random.random_bool(0.1);
            items.push(Judgment::Pair { a, b, alike: (along(a) * along(b) > 0.0) != is_wrong });
        }
    }
    judgments(JudgmentKind::Feedback, items)
}

#[test]
fn a_direction_across_values_is_learned_by_the_low_rank_model_from_noisy_feedback() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = judged_catalogue(folder.path(), 300);
    let space = space(&catalogue);
    let options = LearnOptions { repeats: 2, draws: 500, ..LearnOptions::default() };
    let (report, metric) = learn(&space, &rotated(&catalogue, 800), &options, &|_| ()).unwrap();
    let gain = |kind| report.models.iter().find(|gain| gain.model == kind).unwrap();
    let (diagonal, low_rank) = (gain(ModelKind::Diagonal), gain(ModelKind::LowRank));
    assert!(low_rank.gain.low > 0.05, "{low_rank:?}");
    assert!(low_rank.gain.value > diagonal.gain.value + 0.05, "{diagonal:?} {low_rank:?}");
    assert_eq!((report.chosen, report.figure), (Some(ModelKind::LowRank), "AUC"));
    assert!(matches!(metric.unwrap().transform(), crate::space::Transform::Linear(_)));
}

/// The mean gain of a model on what is held out by `splits`.
fn mean_gain(space: &Space<'_>, judgments: &Judgments, splits: &[(Vec<usize>, Vec<usize>)]) -> f64 {
    let features = Features::new(space, &judgments.tracks(), 1);
    let by_track = |track: usize| track;
    let gains = splits.iter().map(|(train, test)| {
        let model = fit::select_and_fit(ModelKind::LowRank, &features, judgments, train, &by_track, 1);
        let figure = |mapped: &nalgebra::DMatrix<f64>| {
            let scores = fit::scores(&features, mapped, judgments, test);
            let (right, all) = gain::right(judgments, test, &scores, &vec![1.0; test.len()]);
            right / all
        };
        figure(&features.map(&model)) - figure(&features.unmapped())
    });
    gains.sum::<f64>() / splits.len() as f64
}

#[test]
fn a_split_by_pairs_would_report_what_was_memorized() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = judged_catalogue(folder.path(), 40);
    let space = space(&catalogue);
    // A bit of each artist that no vector has anything to do with.
    let bit = |track: usize| [1, 0, 0, 1, 1, 1, 0, 1, 0, 0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1][track / 2] == 1;
    let judgments = pairs(400, 40, |a, b| bit(a) == bit(b));
    let indices: Vec<usize> = (0..400).collect();
    let by_artist = fit::splits(&judgments, &indices, &|track| track / 2, 3, 1);
    let by_pair: Vec<_> =
        (0..3).map(|fold| indices.iter().partition::<Vec<usize>, _>(|&&index| index % 3 != fold)).collect();
    let (leaked, gained) = (mean_gain(&space, &judgments, &by_pair), mean_gain(&space, &judgments, &by_artist));
    assert!(leaked > 0.2 && gained < 0.1, "by pair {leaked}, by artist {gained}");
    let (report, metric) = learn(&space, &judgments, &LearnOptions::default(), &|_| ()).unwrap();
    assert!(metric.is_none(), "{:?}", report.models);
}

#[test]
fn no_artist_is_on_both_sides_of_a_split() {
    let judgments = pairs(300, 100, |a, b| (a + b) % 2 == 0);
    let indices: Vec<usize> = (0..300).collect();
    let splits = super::fit::splits(&judgments, &indices, &|track| track / 4, 3, 1);
    assert_eq!(splits.len(), 3);
    for (train, test) in splits {
        let artists = |indices: &[usize]| -> std::collections::BTreeSet<usize> {
            indices.iter().flat_map(|&index| judgments.items[index].tracks()).map(|track| track / 4).collect()
        };
        assert!(artists(&train).is_disjoint(&artists(&test)) && train.len() > 60 && test.len() > 10);
    }
}

#[test]
fn files_of_judgments_are_joined_by_path_and_rows_without_a_track_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 40);
    let path = folder.path().join("judgments.csv");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Judgments::read(&path, &catalogue)
    };
    let found = read("\u{feff}a,b,label\nmusic/0.flac,music/1.flac,1\nmusic/2.flac, music/3.flac ,0\nmusic/9.mp3,music/1.flac,1\nmusic/4.flac,music/4.flac,1\n").unwrap();
    let items = vec![Judgment::Pair { a: 0, b: 1, alike: true }, Judgment::Pair { a: 2, b: 3, alike: false }];
    assert_eq!((found.kind, &found.items, found.unmatched, found.same_track), (JudgmentKind::Pairs, &items, 1, 1));
    assert_eq!(found.unmatched_files, ["music/9.mp3"]);
    let found = read("track,event,seed\nmusic/1.flac,like,music/0.flac\nmusic/3.flac,skip,music/2.flac\n").unwrap();
    assert_eq!((found.kind, &found.items), (JudgmentKind::Feedback, &items));
    let found = read("a,odd,b\nmusic/1.flac,music/2.flac,music/0.flac\n").unwrap();
    assert_eq!(
        (found.kind, &found.items[..]),
        (JudgmentKind::Triplets, &[Judgment::Triplet { a: 1, b: 0, odd: 2 }][..])
    );
    for (text, expected) in [
        ("a,b\n", "found a,b"),
        ("a,b,label\nmusic/0.flac,music/1.flac,yes\n", "line 2: expected the label 1 or 0"),
        ("seed,track,event\nx,y,play\n", "like or skip"),
        ("a,b,label\nmusic/0.flac\n", "record"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_area_under_the_curve_is_that_of_counting() {
    // scikit-learn 1.9.1: roc_auc_score([1, 0, 1, 0, 1], [0.9, 0.9, 0.4, 0.3, 0.2]) = 2.5 / 6
    let labels = [true, false, true, false, true];
    let items = labels.iter().map(|&alike| Judgment::Pair { a: 0, b: 1, alike }).collect();
    let judgments = judgments(JudgmentKind::Pairs, items);
    let (right, all) = gain::right(&judgments, &[0, 1, 2, 3, 4], &[0.9, 0.9, 0.4, 0.3, 0.2], &[1.0; 5]);
    assert!((right / all - 2.5 / 6.0).abs() < 1e-12);
    // A weight of two is the pair twice.
    let twice = gain::right(&judgments, &[0, 1, 2, 3, 4, 2], &[0.9, 0.9, 0.4, 0.3, 0.2, 0.4], &[1.0; 6]);
    assert_eq!(
        gain::right(&judgments, &[0, 1, 2, 3, 4], &[0.9, 0.9, 0.4, 0.3, 0.2], &[1.0, 1.0, 2.0, 1.0, 1.0]),
        twice
    );
}
