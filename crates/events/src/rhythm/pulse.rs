//! The pulse of a pattern of units: two or three units, and where it starts.

/// The weights of the places of a pulse of two, and of one of three: Barlow's indispensabilities over the largest.
const TWO: [f64; 2] = [1.0, 0.0];
const THREE: [f64; 3] = [1.0, 0.0, 0.5];

/// A pulse of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pulse {
    /// The units of a pulse, 2 or 3.
    pub length: u64,
    /// The place within the pulse at which the pattern starts.
    pub rotation: u64,
}

impl Pulse {
    /// The place within the pulse of an onset `position` units after the start of the pattern; 0 is on the pulse.
    pub fn place(self, position: u64) -> u64 {
        (position % self.length + self.rotation) % self.length
    }
}

/// The pulse whose weights match the onsets of a pattern best, each onset counting the weight of its place. The best of all
/// rotations counts, the least among equals. Between equal matches of two and three the one whose best rotation is better
/// than its worst by the greater factor wins, or else two.
pub fn pulse(units: &[u64]) -> Pulse {
    let (two, three) = (matched(units, &TWO), matched(units, &THREE));
    let is_three = three.sum > two.sum || (three.sum == two.sum && three.contrast > two.contrast);
    let best = if is_three { three } else { two };
    Pulse { length: if is_three { 3 } else { 2 }, rotation: best.rotation }
}

/// The best rotation of a pulse.
struct Match {
    sum: f64,
    contrast: f64,
    rotation: u64,
}

fn matched(units: &[u64], weights: &[f64]) -> Match {
    let length = weights.len() as u64;
    let mut counts = vec![0u64; weights.len()];
    let mut position = 0;
    // The last onset ends the last unit.
    for step in units.iter().copied().chain([0]) {
        counts[position as usize] += 1;
        position = (position + step % length) % length;
    }
    let sum = |rotation: u64| -> f64 {
        let weight = |place: u64| weights[((place + rotation) % length) as usize];
        counts.iter().zip(0..).map(|(&count, place)| count as f64 * weight(place)).sum()
    };
    let sums: Vec<f64> = (0..length).map(sum).collect();
    let (rotation, best) = sums
        .iter()
        .zip(0..)
        .fold((0, f64::NEG_INFINITY), |best, (&sum, rotation)| if sum > best.1 { (rotation, sum) } else { best });
    let worst = sums.iter().copied().fold(f64::INFINITY, f64::min);
    Match { sum: best, contrast: best / if worst == 0.0 { 1.0 } else { worst }, rotation }
}
