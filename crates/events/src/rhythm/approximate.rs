//! The rounding of a ratio of lengths to thirds or quarters.

use crate::barlow::gcd;

/// The ratio below which thirds and quarters are too coarse, and both grids are halved.
const COARSE: f64 = 0.208_333;

/// The bound of [`COARSE`], halved each time, below which the grids are not halved again.
const FINEST: f64 = 0.011;

/// The smallest ratio that is not rounded up to 1/64.
const FLOOR: f64 = 1.0 / 64.0;

/// The ratio that larger ones count as, so that no sum of units overflows.
const LARGEST: f64 = 1_048_576.0;

/// A positive ratio as the nearest fraction of thirds or quarters, in lowest terms: 0.66 is 2/3, 1.26 is 5/4. The grids are
/// halved for small ratios, so that 0.2 is 1/6, and whatever is below 1/64 becomes 1/64. Ratios above 2²⁰ count as that.
pub fn approximate(ratio: f64) -> (u64, u64) {
    let ratio = ratio.min(LARGEST);
    let (mut thirds, mut coarse) = (3.0_f64, COARSE);
    while ratio < coarse {
        thirds *= 2.0;
        coarse /= 2.0;
        if coarse < FINEST {
            break;
        }
    }
    if ratio < FLOOR {
        return (1, 64);
    }
    let quarters = thirds * 4.0 / 3.0;
    let error = |grid: f64| ((ratio * grid).round_ties_even() / grid - ratio).abs();
    let grid = if error(quarters) < error(thirds) { quarters } else { thirds };
    let (numerator, denominator) = ((ratio * grid).round_ties_even() as u64, grid as u64);
    let divisor = gcd(numerator, denominator);
    (numerator / divisor, denominator / divisor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_rounded_as_published() {
        let vectors = [(0.8, (3, 4)), (0.66, (2, 3)), (1.26, (5, 4)), (0.2, (1, 6)), (0.1, (1, 12)), (0.001, (1, 64))];
        for (ratio, expected) in vectors {
            assert_eq!(approximate(ratio), expected, "{ratio}");
        }
    }

    #[test]
    fn every_ratio_has_a_fraction_above_zero_near_it() {
        for step in 0..4000 {
            let ratio = 0.0157 * 1.002_f64.powi(step);
            let (p, q) = approximate(ratio);
            assert!(p > 0 && 384 % q == 0, "{ratio}: {p}/{q}");
            // Half a step of the coarser of both grids, which is a third at most.
            assert!((p as f64 / q as f64 - ratio).abs() <= (ratio / 1.2).min(1.0 / 6.0), "{ratio}: {p}/{q}");
        }
    }
}
