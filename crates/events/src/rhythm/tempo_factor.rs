//! The factor between the tempi of two phrases.

/// The distance within which a tempo is that of another, times a factor; a share of the tempo.
const TOLERANCE: f64 = 0.15;

/// The factors: 1, and the multiples of 2 and 3 by which the published analysis reconciles phrases, with their inverses.
const FACTORS: [(u32, u32); 13] =
    [(1, 1), (2, 1), (3, 1), (4, 1), (6, 1), (8, 1), (12, 1), (1, 2), (1, 3), (1, 4), (1, 6), (1, 8), (1, 12)];

/// The factor from the tempo `before` to `tempo`: that of 1, 2, 3, 4, 6, 8, 12 and their inverses which comes nearest, if it
/// is within 15%; `None` if there is none.
pub fn tempo_factor(before: f64, tempo: f64) -> Option<f64> {
    let ratio = tempo / before;
    let distance = |factor: f64| (ratio / factor - 1.0).abs();
    let factors = FACTORS.iter().map(|&(p, q)| f64::from(p) / f64::from(q));
    factors.filter(|&factor| distance(factor) <= TOLERANCE).reduce(|a, b| if distance(b) < distance(a) { b } else { a })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tempi_are_reconciled_by_the_published_factors() {
        for factor in [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0] {
            for error in [0.87, 1.0, 1.14] {
                assert_eq!(tempo_factor(100.0, 100.0 * factor * error), Some(factor));
            }
            assert_eq!(tempo_factor(100.0 * factor, 100.0), Some(1.0 / factor));
        }
        assert_eq!(tempo_factor(100.0, 150.0), None);
        assert_eq!(tempo_factor(100.0, 2000.0), None);
        assert_eq!(tempo_factor(100.0, f64::NAN), None);
    }
}
