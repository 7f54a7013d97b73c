//! Maps of a small catalogue: what is near stays near, for any number of threads.

use super::*;
use crate::vectors::{read_checked_json, write_checked_json};
use crate::{Catalogue, Geometry, testing};

fn space(catalogue: &Catalogue) -> Space<'_> {
    Space::new(catalogue, Geometry::of(catalogue)).unwrap()
}

/// The share of tracks whose nearest point is a track of the same one of the five artists.
fn nearest_is_of_the_artist(map: &Map) -> f64 {
    let nearest = |&(track, x, y): &(usize, f32, f32)| {
        let distance = |other: &&(usize, f32, f32)| (other.1 - x).powi(2) + (other.2 - y).powi(2);
        let others = map.points.iter().filter(|other| other.0 != track);
        others.min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap().0
    };
    let same = map.points.iter().filter(|point| nearest(point) % 5 == point.0 % 5).count();
    same as f64 / map.points.len() as f64
}

#[test]
fn tsne_keeps_artists_together_for_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 120);
    let options = MapOptions { method: MapMethod::Tsne, perplexity: Some(10.0), ..MapOptions::default() };
    let tsne = map(&space(&catalogue), &options, &|_| ()).unwrap();
    assert!(nearest_is_of_the_artist(&tsne) > 0.95);
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(one.install(|| map(&space(&catalogue), &options, &|_| ()).unwrap()), tsne);
    // A sample of 100: the others are placed beside their artist's.
    let sampled = map(&space(&catalogue), &MapOptions { fit: 100, ..options.clone() }, &|_| ()).unwrap();
    assert_eq!((sampled.fitted, sampled.placed, sampled.points.len()), (100, 20, 120));
    assert!(nearest_is_of_the_artist(&sampled) > 0.9);
    assert!(sampled.notes[0].contains("100 of 120"));
    // 120 tracks have 39 times three neighbours each, and that option is refused by its name.
    let refused = |perplexity, fit| {
        let options =
            MapOptions { method: MapMethod::Tsne, perplexity: Some(perplexity), fit, ..MapOptions::default() };
        map(&space(&catalogue), &options, &|_| ()).unwrap_err().to_string()
    };
    assert!(refused(40.0, 1000).contains("invalid --perplexity 40: expected 1 to 39"), "{}", refused(40.0, 1000));
    assert!(refused(f64::NAN, 1000).contains("--perplexity") && refused(10.0, 99).contains("invalid --fit 99"));
}

#[test]
fn a_map_is_kept_and_extended() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 60);
    let space = space(&catalogue);
    let options = MapOptions::default();
    let (first, source) = cached(&space, &options, false, &|_| ()).unwrap();
    assert_eq!((source, first.points.len(), first.method), (MapSource::Computed, 60, MapMethod::Pca));
    assert_eq!(cached(&space, &options, false, &|_| ()).unwrap(), (first.clone(), MapSource::Kept));
    assert_eq!(cached(&space, &options, true, &|_| ()).unwrap(), (first.clone(), MapSource::Computed));
    assert_eq!(
        cached(&space, &MapOptions { seed: 3, ..options.clone() }, false, &|_| ()).unwrap().1,
        MapSource::Computed
    );
    // A folder of maps that cannot be made, here because a file is in its place, loses no map.
    let maps = catalogue.folder().join("cache/maps");
    let aside = catalogue.folder().join("cache/aside");
    std::fs::rename(&maps, &aside).unwrap();
    std::fs::write(&maps, "").unwrap();
    let (unkept, source) = cached(&space, &options, false, &|_| ()).unwrap();
    assert_eq!((&unkept.points, source), (&first.points, MapSource::Computed));
    assert!(unkept.notes[0].contains("not kept"), "{:?}", unkept.notes);
    std::fs::remove_file(&maps).unwrap();
    std::fs::rename(&aside, &maps).unwrap();
    // As if three of the tracks had been added later.
    let file = std::fs::read_dir(catalogue.folder().join("cache/maps")).unwrap();
    for path in file.map(|entry| entry.unwrap().path()) {
        let mut entry: serde_json::Value = read_checked_json(&path).unwrap();
        entry["map"]["points"].as_array_mut().unwrap().truncate(57);
        write_checked_json(&path, &entry).unwrap();
    }
    let (extended, source) = cached(&space, &options, false, &|_| ()).unwrap();
    assert_eq!((source, extended.points.len(), extended.placed), (MapSource::Extended(3), 60, 3));
    assert_eq!(extended.points[..57], first.points[..57]);
}

#[test]
fn the_json_has_points_of_track_x_and_y() {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = testing::catalogue(folder.path(), 40);
    let map = map(&space(&catalogue), &MapOptions::default(), &|_| ()).unwrap();
    let json = serde_json::to_value(&map).unwrap();
    assert_eq!((json["method"].as_str(), json["seed"].as_u64()), (Some("pca"), Some(15)));
    assert_eq!((json["points"][7][0].as_u64(), json["points"][7].as_array().unwrap().len()), (Some(7), 3));
    let share = json["explained"].as_f64().unwrap();
    assert!(share > 0.2 && share < 1.0, "{share}");
    let genre = catalogue.column("genre").unwrap();
    let picture = svg(&map, "a < b", Some(&genre));
    assert_eq!(picture.matches("<circle").count(), 40 + 2);
    assert!(picture.contains("a &lt; b") && picture.contains("rock (24)"), "{picture}");
}
