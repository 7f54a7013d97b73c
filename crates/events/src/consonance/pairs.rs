//! The consonance and the harmonicity of an interval of two notes.

use crate::barlow::harmonicity;

/// The consonance index of the interval classes 1 to 6, from perception data of Malmberg (1918), Kameoka and Kuriyagawa
/// (1969) and Hutchinson and Knopoff (1978). Source: D. Huron, "Interval-class content in equally tempered pitch-class sets:
/// common scales exhibit optimum tonal consonance", Music Perception 11(3), 1994, pages 289 to 305.
const HURON: [f64; 6] = [-1.428, -0.582, 0.594, 0.386, 1.240, -0.453];

/// The ratios of just intonation of the intervals of 0 to 11 semitones: those of Barlow's table 2, with 45:32 for the
/// tritone, which stands between two fifths and a third. An octave, and by the rule for unisons 1:1, is 2:1.
const RATIOS: [(u64, u64); 12] =
    [(2, 1), (16, 15), (9, 8), (6, 5), (5, 4), (4, 3), (45, 32), (3, 2), (8, 5), (5, 3), (16, 9), (15, 8)];

/// The consonance of an interval in semitones, 0 to 1: Huron's index of its interval class, from the minor second (0) to
/// the fifth (1). Unisons and octaves, which the index does not have, are 1.
pub fn consonance_of_interval(semitones: u8) -> f64 {
    let class = usize::from((semitones % 12).min(12 - semitones % 12));
    let (low, high) = (HURON[0], HURON[4]);
    if class == 0 { 1.0 } else { (HURON[class - 1] - low) / (high - low) }
}

/// The ratio of just intonation of an interval in semitones, folded into an octave; unisons and octaves are 2:1.
pub fn ratio_of_interval(semitones: u8) -> (u64, u64) {
    RATIOS[usize::from(semitones % 12)]
}

/// The magnitude of Barlow's harmonicity of an interval in semitones, 0 to 1. A unison's is infinite by the formula; it
/// counts as an octave, 1, which is the largest finite one.
pub fn harmonicity_of_interval(semitones: u8) -> f64 {
    let (p, q) = ratio_of_interval(semitones);
    harmonicity(p, q).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_within_a_fifth_of_a_semitone_of_their_intervals() {
        for semitones in 1..12 {
            let (p, q) = ratio_of_interval(semitones);
            let error = 12.0 * (p as f64 / q as f64).log2() - f64::from(semitones);
            assert!(error.abs() < 0.2, "{semitones}: {error}");
        }
    }

    #[test]
    fn values_are_between_zero_and_one_with_known_ends() {
        for semitones in 0..128 {
            let (a, b) = (consonance_of_interval(semitones), harmonicity_of_interval(semitones));
            assert!((0.0..=1.0).contains(&a) && (0.0..=1.0).contains(&b));
        }
        assert_eq!([0, 1, 7, 11, 12, 19].map(consonance_of_interval), [1.0, 0.0, 1.0, 0.0, 1.0, 1.0]);
        // (0.386 + 1.428) / (1.240 + 1.428) for a major third, and for the minor sixth of the same class.
        assert!((consonance_of_interval(4) - 0.679_910).abs() < 1e-6);
        assert_eq!(consonance_of_interval(4), consonance_of_interval(8));
        // 45:32: 1 / (2 * 8/3 + 6.4 + 5).
        assert!((harmonicity_of_interval(6) - 1.0 / (16.0 / 3.0 + 6.4 + 5.0)).abs() < 1e-12);
    }
}
