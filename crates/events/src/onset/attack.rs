//! The place of an attack in the frame in which it was detected.

/// The length of a step of energy in seconds.
const STEP: f64 = 0.001;

/// The energy, as a share of the loudest step's, below which steps do not differ: −40 dB.
const FLOOR: f64 = 1e-4;

/// The steps of which the energy before and after a place is compared, 4 ms.
const SIDE: usize = 4;

/// The sample of the frame at which the energy rises most: the ratio of the 4 ms after it to the 4 ms before it is largest.
/// The samples before the newest 60% of the frame are not considered, for they were there when the frames before were
/// judged. Without a rise it is the middle of the rest.
pub(super) fn attack(frame: &[f32], rate: u32) -> usize {
    let step = ((f64::from(rate) * STEP).round() as usize).max(1);
    let energy: Vec<f64> =
        frame.chunks_exact(step).map(|samples| samples.iter().map(|&x| f64::from(x) * f64::from(x)).sum()).collect();
    let floor = FLOOR * energy.iter().copied().fold(0.0, f64::max) * SIDE as f64;
    let first = (energy.len() * 2 / 5).max(SIDE);
    let rise = |place: usize| {
        let before: f64 = energy[place - SIDE..place].iter().sum();
        let after = &energy[place..energy.len().min(place + SIDE)];
        // The newest steps have fewer after them.
        let after = after.iter().sum::<f64>() * SIDE as f64 / after.len() as f64;
        (after + floor) / (before + floor)
    };
    let mut best = (energy.len() * 7 / 10, 1.0);
    for place in first..energy.len() {
        let rise = rise(place);
        if rise > best.1 {
            best = (place, rise);
        }
    }
    (best.0 * step).min(frame.len().saturating_sub(1))
}
