//! The order of a playlist: no two songs of one artist in a row.

use crate::query::Credits;

/// `tracks` in an order in which at least `gap` others are between two by one artist, as far as that is possible: at each
/// place the first of the rest whose artist was not among the last `gap`, or else the first of the rest. Returns indices
/// in `tracks`, and how many stand closer than that.
pub fn spread(credits: &Credits, tracks: &[usize], gap: usize) -> (Vec<usize>, usize) {
    let mut rest: Vec<usize> = (0..tracks.len()).collect();
    let (mut order, mut close) = (Vec::with_capacity(tracks.len()), 0);
    while !rest.is_empty() {
        let is_free = |&index: &usize| {
            let last = order.iter().rev().take(gap);
            !last.into_iter().any(|&other: &usize| credits.same_artist(tracks[other], tracks[index]))
        };
        let next = rest.iter().position(is_free).unwrap_or_else(|| {
            close += 1;
            0
        });
        order.push(rest.remove(next));
    }
    (order, close)
}
