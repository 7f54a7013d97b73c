//! Factors as products of half-precision numbers.

use half::f16;

/// The half-precision number that equals `factor`, or the two whose product is nearest to it, with an error of 2^-20 instead
/// of 2^-12.
pub(super) fn half_factors(factor: f64) -> Vec<f64> {
    let rounded = |value: f64| f16::from_f64(value).to_f64();
    if rounded(factor) == factor {
        return vec![factor];
    }
    // From 1 to 2 every significand with its best partner; the power of two is shared, so that neither is so small
    // that it has fewer bits.
    let exponent = factor.abs().log2().floor() as i32;
    let significand = factor / 2f64.powi(exponent);
    let pairs = (0..1024).map(|i| 1.0 + f64::from(i) / 1024.0).map(|a| (a, rounded(significand / a)));
    let error = |&(a, b): &(f64, f64)| (a * b - significand).abs();
    let best = pairs.min_by(|x, y| error(x).total_cmp(&error(y)));
    let (half, rest) = (exponent / 2, exponent - exponent / 2);
    best.map_or_else(|| vec![factor], |(a, b)| vec![a * 2f64.powi(half), b * 2f64.powi(rest)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_half_factors_have_twenty_bits() {
        assert_eq!(half_factors(0.125), [0.125]);
        for factor in [80f64.powf(-0.5), 24f64.powf(0.25), 96f64.powf(-0.5) / 24.0, 24.1, 0.1, 1.1e-6, 70_000.1] {
            let factors = half_factors(factor);
            assert_eq!(factors.len(), 2);
            assert!(factors.iter().all(|&x| f16::from_f64(x).to_f64() == x), "{factors:?}");
            approx::assert_relative_eq!(factors.iter().product::<f64>(), factor, max_relative = 2f64.powi(-19));
        }
    }
}
