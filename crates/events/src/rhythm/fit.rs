//! The tempo that fits a pattern of units to onsets, and the deviations that remain.

/// The tempo in units per minute: 60 over the mean, over all runs of neighbouring intervals, of time per unit.
pub(super) fn unit_tempo(units: &[u64], onsets: &[f64]) -> f64 {
    let mut positions = vec![0u64];
    for &length in units {
        positions.push(positions[positions.len() - 1] + length);
    }
    let (mut sum, mut runs) = (0.0, 0u32);
    for first in 0..units.len() {
        for end in first + 1..positions.len() {
            sum += (onsets[end] - onsets[first]) / (positions[end] - positions[first]) as f64;
            runs += 1;
        }
    }
    60.0 * f64::from(runs) / sum
}

/// The distance of each onset after the first from the grid of the pattern, which starts at the first onset, as a share of
/// the grid's interval before it; positive is late.
pub(super) fn deviations(units: &[u64], onsets: &[f64], tempo: f64) -> Vec<f64> {
    let unit = 60.0 / tempo;
    let mut position = onsets.first().copied().unwrap_or_default();
    let deviation = |(&length, &onset): (&u64, &f64)| {
        let interval = length as f64 * unit;
        position += interval;
        (onset - position) / interval
    };
    units.iter().zip(onsets.iter().skip(1)).map(deviation).collect()
}
