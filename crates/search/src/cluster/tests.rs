//! Clusters of a catalogue of four kinds.

use std::collections::BTreeSet;

use super::*;
use crate::analysis::testing::judged_catalogue;
use crate::{Catalogue, Geometry};

/// The largest number of tracks of one kind, summed over clusters, as a share of the tracks in clusters (purity).
fn purity(catalogue: &Catalogue, found: &Clustering) -> f64 {
    let kind = catalogue.column("kind").unwrap();
    let clusters = (0..found.clusters.len()).map(|index| {
        let members: Vec<&str> = found
            .tracks
            .iter()
            .filter(|(_, label)| *label == Some(index))
            .map(|(track, _)| kind.text(*track).unwrap())
            .collect();
        let kinds: BTreeSet<&str> = members.iter().copied().collect();
        kinds.into_iter().map(|kind| members.iter().filter(|other| **other == kind).count()).max().unwrap_or(0)
    });
    clusters.sum::<usize>() as f64 / (found.tracks.len() - found.noise) as f64
}

#[test]
fn both_methods_find_the_kinds_and_name_their_tags_with_counts() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = judged_catalogue(folder.path(), 200);
    let geometry = Geometry { weights: vec![(1, 1.0)], ..Geometry::of(&catalogue) };
    let space = Space::new(&catalogue, geometry).unwrap();
    for method in [ClusterMethod::Kmeans { clusters: 4 }, ClusterMethod::Hdbscan { min_size: 10 }] {
        let options = ClusterOptions { method, seed: 3, central: 5 };
        let found = cluster(&space, &options, &|_| ()).unwrap();
        assert_eq!(found.clusters.len(), 4, "{found:?}");
        assert!(
            purity(&catalogue, &found) > 0.97 && found.noise < 60,
            "{} {}",
            purity(&catalogue, &found),
            found.noise
        );
        let sizes: Vec<usize> = found.clusters.iter().map(|cluster| cluster.size).collect();
        assert!(sizes.is_sorted_by(|a, b| a >= b) && sizes.iter().sum::<usize>() + found.noise == 200);
        for (index, cluster) in found.clusters.iter().enumerate() {
            let tag = &cluster.tags[0];
            assert!(tag.column == "kind" && tag.inside <= tag.total && tag.probability < 1e-6, "{tag:?}");
            assert!(cluster.central.len() == 5);
            let inside = |track: &usize| found.tracks.contains(&(*track, Some(index)));
            assert!(cluster.central.iter().all(inside));
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(pool.install(|| cluster(&space, &options, &|_| ())).unwrap(), found);
    }
}

#[test]
fn chance_tags_are_not_listed_and_impossible_sizes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = judged_catalogue(folder.path(), 60);
    let space = Space::new(&catalogue, Geometry { weights: vec![(0, 1.0)], ..Geometry::of(&catalogue) }).unwrap();
    let options = |method| ClusterOptions { method, seed: 3, central: 5 };
    let found = cluster(&space, &options(ClusterMethod::Kmeans { clusters: 2 }), &|_| ()).unwrap();
    let kinds = found.clusters.iter().flat_map(|cluster| &cluster.tags).filter(|tag| tag.column == "kind");
    assert_eq!(kinds.count(), 0);
    for (method, expected) in [
        (ClusterMethod::Kmeans { clusters: 61 }, "invalid --clusters 61: expected 2 to 60"),
        (ClusterMethod::Hdbscan { min_size: 31 }, "invalid --min-size 31: expected 2 to 30"),
    ] {
        let error = cluster(&space, &options(method), &|_| ()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
