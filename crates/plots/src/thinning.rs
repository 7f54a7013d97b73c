//! Curves of any number of points as ones of a bounded number.

use std::ops::Range;

/// The points of a curve that is not thinned, and half the columns of one that is.
pub(crate) const MAX_POINTS: usize = 2000;

/// The mean, the least and the largest value of a part of a curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    pub(crate) place: f64,
    pub(crate) mean: f64,
    pub(crate) least: f64,
    pub(crate) largest: f64,
}

/// A summary for each of at most [`MAX_POINTS`] parts of equal length; `places` are those of the first and behind the last value.
pub(crate) fn summaries(values: &[f64], places: Range<f64>) -> Vec<Summary> {
    let count = values.len().min(MAX_POINTS);
    let step = (places.end - places.start) / values.len().max(1) as f64;
    (0..count)
        .map(|part| {
            let bounds = part * values.len() / count..(part + 1) * values.len() / count;
            let values = &values[bounds.clone()];
            let middle = (bounds.start + bounds.end) as f64 / 2.0;
            Summary {
                place: places.start + middle * step,
                mean: values.iter().sum::<f64>() / values.len() as f64,
                least: values.iter().copied().fold(f64::INFINITY, f64::min),
                largest: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            }
        })
        .collect()
}

/// The points of a curve that differ on paper: of each of [`MAX_POINTS`] parts the first, least, largest and last.
pub(crate) fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MAX_POINTS {
        return points.to_vec();
    }
    let mut kept = Vec::new();
    for part in 0..MAX_POINTS {
        let start = part * points.len() / MAX_POINTS;
        let slice = &points[start..(part + 1) * points.len() / MAX_POINTS];
        let by = |a: &usize, b: &usize| slice[*a].1.total_cmp(&slice[*b].1);
        let least = (0..slice.len()).min_by(by).unwrap_or(0);
        let largest = (0..slice.len()).max_by(by).unwrap_or(0);
        let mut indices = [0, least, largest, slice.len() - 1];
        indices.sort_unstable();
        let mut before = None;
        for index in indices {
            if before != Some(index) {
                kept.push(slice[index]);
            }
            before = Some(index);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_keep_means_and_extremes() {
        let values: Vec<f64> = (0..100_000).map(f64::from).collect();
        let parts = summaries(&values, 0.0..100_000.0);
        assert_eq!(parts.len(), MAX_POINTS);
        assert_eq!(parts[1], Summary { place: 75.0, mean: 74.5, least: 50.0, largest: 99.0 });
        let few = summaries(&[3.0, 5.0], 0.0..2.0);
        assert_eq!(few.iter().map(|part| (part.place, part.mean)).collect::<Vec<_>>(), [(0.5, 3.0), (1.5, 5.0)]);
        assert!(summaries(&[], 0.0..0.0).is_empty());
    }

    #[test]
    fn a_thinned_curve_keeps_its_peak() {
        let mut points: Vec<_> = (0..50_000).map(|x| (f64::from(x), 0.0)).collect();
        points[31_234].1 = 7.0;
        let kept = thin(&points);
        assert!(kept.len() <= 4 * MAX_POINTS && kept.contains(&(31_234.0, 7.0)));
        assert!(kept.is_sorted_by(|a, b| a.0 < b.0));
    }
}
