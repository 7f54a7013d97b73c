//! Metrics beside closed forms, in files and in spaces.

use std::sync::Arc;

use super::*;
use crate::testing;
use crate::{Level, Space};

/// The origin of a metric over the two groups of the tests' catalogue.
fn origin(catalogue: &Catalogue) -> MetricOrigin {
    let groups = [("1", 0.25), ("2", 0.75)].map(|(name, weight)| MetricGroup { name: name.into(), weight });
    MetricOrigin {
        settings: Some(catalogue.settings().clone()),
        groups: groups.into(),
        center: true,
        drop_components: 0,
        learned: serde_json::json!({ "from": "a test" }),
    }
}

fn space(catalogue: &Catalogue, metric: Metric) -> Space<'_> {
    let geometry = metric.geometry(catalogue).unwrap();
    Space::new(catalogue, Geometry { metric: Some(Arc::new(metric)), ..geometry }).unwrap()
}

fn linear(outputs: usize) -> Transform {
    let weight = (0..outputs * 32).map(|index| ((index * 37 % 101) as f64 - 50.0) / 50.0).collect();
    Transform::Linear(Affine { weight, bias: Vec::new(), inputs: 32 })
}

#[test]
fn the_identity_changes_no_score_and_no_term() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 40);
    let identity = (0..32 * 32).map(|index| f64::from(u8::from(index / 32 == index % 32))).collect();
    let transforms = [
        Transform::Diagonal(vec![1.0; 32]),
        Transform::Linear(Affine { weight: identity, bias: Vec::new(), inputs: 32 }),
    ];
    for transform in transforms {
        let metric = Metric::new(transform, origin(&catalogue)).unwrap();
        let plain = Space::new(&catalogue, metric.geometry(&catalogue).unwrap()).unwrap();
        let mapped = space(&catalogue, metric);
        for (a, b) in [(0, 1), (3, 8), (7, 7)] {
            let [plain, mapped] = [&plain, &mapped]
                .map(|space| space.terms(&space.point(Level::Tracks, a), &space.point(Level::Tracks, b)));
            assert!(plain.iter().zip(&mapped).all(|(a, b)| (a - b).abs() < 1e-12), "{plain:?} {mapped:?}");
        }
    }
}

#[test]
fn a_linear_metric_scores_by_the_cosine_of_mapped_vectors_and_its_terms_sum_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 40);
    let metric = Metric::new(linear(5), origin(&catalogue)).unwrap();
    // The placed vector, from the raw vectors, without the code of spaces.
    let placed = |track: usize| -> Vec<f64> {
        let group = |(group, weight): (usize, f64)| {
            let row = catalogue.vectors(Level::Tracks, group).row(track);
            let centred: Vec<f64> =
                row.iter().zip(&catalogue.statistics().means[group]).map(|(a, b)| f64::from(*a) - b).collect();
            let norm = centred.iter().map(|value| value * value).sum::<f64>().sqrt();
            centred.into_iter().map(move |value| weight.sqrt() * value / norm).collect::<Vec<_>>()
        };
        [(0, 0.25), (1, 0.75)].into_iter().flat_map(group).collect()
    };
    let mapped = space(&catalogue, metric.clone());
    for (a, b) in [(0, 1), (3, 8), (7, 7)] {
        let (x, y) = (metric.apply(&placed(a)), metric.apply(&placed(b)));
        let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let expected = product(&x, &y) / (product(&x, &x) * product(&y, &y)).sqrt();
        let (a, b) = (mapped.point(Level::Tracks, a), mapped.point(Level::Tracks, b));
        assert!((mapped.score(&a, &b) - expected).abs() < 1e-12);
        let terms = mapped.terms(&a, &b);
        assert!(terms.len() == 2 && (terms.iter().sum::<f64>() - expected).abs() < 1e-12, "{terms:?}");
        assert!(mapped.terms(&b, &a).iter().zip(&terms).all(|(a, b)| (a - b).abs() < 1e-12));
    }
}

#[test]
fn a_head_reads_raw_vectors_and_has_one_term() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 40);
    let Transform::Linear(mut first) = linear(6) else { panic!() };
    first.bias = vec![0.5, -4.0, 0.25, -2.0, 1.0, 0.0];
    let second =
        Affine { weight: (0..24).map(|index| f64::from(index % 7) - 3.0).collect(), bias: vec![0.1; 4], inputs: 6 };
    let raw: Vec<f64> = (0..2)
        .flat_map(|group| catalogue.vectors(Level::Tracks, group).row(4))
        .map(|&value| f64::from(value))
        .collect();
    let metric = Metric::new(
        Transform::Head { first: first.clone(), second: second.clone() },
        MetricOrigin { center: false, ..origin(&catalogue) },
    )
    .unwrap();
    let hidden: Vec<f64> = first.apply(&raw).iter().map(|&value| if value > 0.0 { value } else { 0.0 }).collect();
    assert!(hidden.contains(&0.0), "no value is cut: {hidden:?}");
    assert_eq!(metric.apply(&raw), second.apply(&hidden));
    let mapped = space(&catalogue, metric);
    let point = mapped.point(Level::Tracks, 4);
    assert!((mapped.score(&point, &point) - 1.0).abs() < 1e-12);
    assert_eq!(mapped.terms(&point, &mapped.point(Level::Tracks, 5)).len(), 1);
}

#[test]
fn a_file_is_read_back_to_the_same_metric_and_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 40);
    let head = Transform::Head {
        first: Affine { weight: vec![0.1; 64], bias: vec![1.0, 2.0], inputs: 32 },
        second: Affine { weight: vec![0.3; 6], bias: vec![0.0; 3], inputs: 2 },
    };
    for (index, transform) in [Transform::Diagonal(vec![0.5; 32]), linear(3), head].into_iter().enumerate() {
        let metric = Metric::new(transform, origin(&catalogue)).unwrap();
        let path = folder.path().join(format!("{index}.safetensors"));
        metric.save(&path, false).unwrap();
        assert_eq!(Metric::load(&path).unwrap(), metric);
        assert_eq!(mert_fs::sha256_file(&path).unwrap(), metric.sha256().unwrap());
        assert!(metric.save(&path, false).is_err(), "the file is there already");
    }
    let other = folder.path().join("other.safetensors");
    std::fs::write(&other, b"not a metric").unwrap();
    assert!(matches!(Metric::load(&other), Err(SearchError::Metric { .. })));
}

#[test]
fn a_metric_of_another_model_or_geometry_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 40);
    let refusal = |change: fn(&mut MetricOrigin)| {
        let mut origin = origin(&catalogue);
        change(&mut origin);
        let metric = Metric::new(linear(3), origin).unwrap();
        metric.geometry(&catalogue).map(|_| ()).unwrap_err().to_string()
    };
    let model = refusal(|origin| {
        origin.settings.iter_mut().for_each(|settings| settings.model_sha256 = "cd".repeat(32));
    });
    assert!(model.contains("model_sha256") && model.contains("cdcd"), "{model}");
    assert!(refusal(|origin| origin.groups[0].name = "23".into()).contains("hidden state 23"));
    assert!(refusal(|origin| origin.groups.truncate(1)).contains("32 values"));

    let metric = Metric::new(linear(3), origin(&catalogue)).unwrap();
    let own = metric.geometry(&catalogue).unwrap();
    metric.check(&catalogue, &own).unwrap();
    let uncentred = metric.check(&catalogue, &Geometry { center: false, ..own.clone() }).unwrap_err();
    assert!(uncentred.to_string().contains("with centring"), "{uncentred}");
    let equal = Geometry { metric: Some(Arc::new(metric)), ..Geometry::of(&catalogue) };
    assert!(Space::new(&catalogue, equal).unwrap_err().to_string().contains("1:0.25,2:0.75"));
}
