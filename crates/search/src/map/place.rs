//! Tracks that a map was not fitted to, placed between those that sound most like them.

use std::collections::BTreeMap;

use super::Map;
use crate::Space;
use crate::analysis::Rows;

/// The neighbours that a track is placed between.
const NEIGHBOURS: usize = 5;

/// Makes a map one of `tracks`, in ascending order: tracks that are not among them are dropped, and tracks without a point
/// are placed at the mean of their five nearest with a point, weighted by the inverse of the squared distance.
pub(super) fn place(space: &Space<'_>, map: &mut Map, tracks: &[usize]) {
    let known: BTreeMap<usize, (f32, f32)> = map.points.iter().map(|&(track, x, y)| (track, (x, y))).collect();
    let mut all: Vec<usize> = known.keys().copied().filter(|track| tracks.binary_search(track).is_ok()).collect();
    let fitted = all.len();
    all.extend(tracks.iter().copied().filter(|track| !known.contains_key(track)));
    let new: Vec<usize> = (fitted..all.len()).collect();
    let rows = Rows::new(space, all);
    let point = |query: usize, scores: &[f64]| {
        let nearest = crate::analysis::best(query, &scores[..fitted], NEIGHBOURS);
        let (mut sum, mut weights) = ([0.0; 2], 0.0);
        for hit in nearest {
            // The squared distance of unit vectors is 2 − 2 cos.
            let weight = 1.0 / (2.0 - 2.0 * hit.score).max(1e-9);
            let (x, y) = known[&rows.tracks()[hit.row]];
            sum[0] += weight * f64::from(x);
            sum[1] += weight * f64::from(y);
            weights += weight;
        }
        let [x, y] = sum.map(|sum| if weights > 0.0 { (sum / weights) as f32 } else { 0.0 });
        (rows.tracks()[query], x, y)
    };
    let placed = rows.map_queries(&new, &|_| (), point);
    map.placed += placed.len();
    map.points.retain(|(track, ..)| tracks.binary_search(track).is_ok());
    map.points.extend(placed);
    map.points.sort_unstable_by_key(|&(track, ..)| track);
}
