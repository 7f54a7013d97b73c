//! Numbers of Clarence Barlow's theory and Euler's gradus: how hard an integer or a ratio is to take in.
//!
//! Source: C. Barlow, "Two Essays on Theory", Computer Music Journal 11(1), 1987, and "On Musiquantics", 2012; L. Euler,
//! "Tentamen novae theoriae musicae", 1739.

/// The prime factors of `n` with their multiplicities, ascending; empty for 0 and 1.
pub fn prime_factors(n: u64) -> Vec<(u64, u32)> {
    let (mut rest, mut factors) = (n, Vec::new());
    if rest < 2 {
        return factors;
    }
    let mut candidate = 2;
    while candidate <= rest / candidate {
        let mut multiplicity = 0;
        while rest.is_multiple_of(candidate) {
            rest /= candidate;
            multiplicity += 1;
        }
        if multiplicity > 0 {
            factors.push((candidate, multiplicity));
        }
        candidate += if candidate == 2 { 1 } else { 2 };
    }
    if rest > 1 {
        factors.push((rest, 1));
    }
    factors
}

/// Barlow's indigestibility ξ(N) = 2 Σ m·(p − 1)²/p over the prime factors p of N with multiplicity m; 0 for 1.
pub fn indigestibility(n: u64) -> f64 {
    let term = |&(prime, multiplicity): &(u64, u32)| {
        let prime = prime as f64;
        f64::from(multiplicity) * (prime - 1.0) * (prime - 1.0) / prime
    };
    // The sum of nothing would be −0, and its inverse −∞.
    2.0 * prime_factors(n).iter().map(term).fold(0.0, |sum, term| sum + term)
}

/// The magnitude of Barlow's harmonicity of the ratio P:Q, 1/(ξ(P) + ξ(Q)) in lowest terms. It is infinite for 1:1, and
/// `None` if a term is 0, which is not a ratio.
pub fn harmonicity(p: u64, q: u64) -> Option<f64> {
    if p == 0 || q == 0 {
        return None;
    }
    let divisor = gcd(p, q);
    Some(1.0 / (indigestibility(p / divisor) + indigestibility(q / divisor)))
}

/// Euler's gradus suavitatis of N, 1 + Σ m·(p − 1).
pub fn gradus(n: u64) -> u64 {
    1 + prime_factors(n).iter().map(|&(prime, multiplicity)| u64::from(multiplicity) * (prime - 1)).sum::<u64>()
}

/// The greatest common divisor; `gcd(n, 0)` is n.
pub fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indigestibilities_are_those_of_barlows_table() {
        let table = [
            (1, 0.0),
            (2, 1.0),
            (3, 8.0 / 3.0),
            (4, 2.0),
            (5, 6.4),
            (6, 11.0 / 3.0),
            (7, 72.0 / 7.0),
            (8, 3.0),
            (9, 16.0 / 3.0),
            (12, 14.0 / 3.0),
        ];
        for (n, expected) in table {
            assert!((indigestibility(n) - expected).abs() < 1e-12, "{n}: {}", indigestibility(n));
        }
        // A large prime and a large square end soon.
        assert!((indigestibility(4_294_967_291) / (2.0 * 4_294_967_289.0) - 1.0).abs() < 1e-9);
        assert_eq!(prime_factors(65_521 * 65_521), [(65_521, 2)]);
    }

    #[test]
    fn harmonicities_are_those_of_barlows_second_table() {
        let table = [
            (1, 2, 1.0),
            (2, 3, 0.272_727),
            (3, 4, 0.214_286),
            (8, 9, 0.12),
            (4, 5, 0.119_048),
            (3, 5, 0.110_294),
            (9, 16, 0.107_143),
            (5, 8, 0.106_383),
            (5, 6, 0.099_338),
            (8, 15, 0.082_873),
            (15, 16, 0.076_531),
        ];
        for (p, q, expected) in table {
            // The table has six digits.
            assert!((harmonicity(p, q).unwrap() - expected).abs() < 6e-7, "{p}:{q}");
            assert_eq!(harmonicity(6 * q, 6 * p), harmonicity(p, q));
        }
        assert_eq!(harmonicity(3, 3), Some(f64::INFINITY));
        assert_eq!(harmonicity(0, 3), None);
    }

    #[test]
    fn gradus_counts_from_one() {
        assert_eq!([1, 2, 3, 4, 5, 6, 8, 9, 12, 60].map(gradus), [1, 2, 3, 3, 5, 4, 4, 5, 5, 9]);
    }
}
