//! The mel bands of Slaney's Auditory Toolbox, which librosa made usual: linear below 1000 Hz, logarithmic above, each band
//! of the same energy.

/// The frequency where the scale becomes logarithmic, in hertz and in mels.
const BREAK: (f64, f64) = (1000.0, 15.0);

/// The mels of a frequency in hertz
/// (Slaney, [Auditory Toolbox](https://engineering.purdue.edu/~malcolm/interval/1998-010/), 1998).
fn mels(hertz: f64) -> f64 {
    if hertz < BREAK.0 { 3.0 * hertz / 200.0 } else { BREAK.1 + (hertz / BREAK.0).ln() * (27.0 / 6.4f64.ln()) }
}

/// The frequency in hertz of a number of mels.
fn hertz(mels: f64) -> f64 {
    if mels < BREAK.1 { 200.0 * mels / 3.0 } else { BREAK.0 * ((6.4f64.ln() / 27.0) * (mels - BREAK.1)).exp() }
}

/// A triangular band: the weights of consecutive bins of a spectrum.
pub(super) struct Band {
    /// The first bin with a weight above 0.
    pub(super) first: usize,
    /// The weights.
    pub(super) weights: Vec<f64>,
}

/// `bands` triangular bands between two frequencies, for spectra of `bins` bins from 0 to half of `rate`.
pub(super) fn bank(bands: usize, bins: usize, rate: u32, low: f64, high: f64) -> Vec<Band> {
    let (from, to) = (mels(low), mels(high));
    let edges: Vec<f64> = (0..bands + 2).map(|i| hertz(from + (to - from) * i as f64 / (bands + 1) as f64)).collect();
    let step = f64::from(rate / 2) / (bins - 1) as f64;
    edges
        .windows(3)
        .map(|edge| {
            let energy = 2.0 / (edge[2] - edge[0]);
            let weight = |bin: usize| {
                let at = bin as f64 * step;
                ((at - edge[0]) / (edge[1] - edge[0])).min((edge[2] - at) / (edge[2] - edge[1])).max(0.0) * energy
            };
            let inside = |&bin: &usize| weight(bin) > 0.0;
            let first = (0..bins).find(inside).unwrap_or(bins);
            Band { first, weights: (first..bins).map(weight).take_while(|&weight| weight > 0.0).collect() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_slaneys() {
        // The break, and 6.4 kHz: 27 steps of the logarithmic part by definition.
        assert_eq!((mels(1000.0), hertz(15.0)), (15.0, 1000.0));
        assert!((mels(6400.0) - 42.0).abs() < 1e-12 && (mels(500.0) - 7.5).abs() < 1e-12);
        for frequency in [0.0, 50.0, 999.0, 1001.0, 14_000.0] {
            assert!((hertz(mels(frequency)) - frequency).abs() < 1e-9);
        }
    }

    #[test]
    fn bands_have_one_energy() {
        let step = 24_000.0 / 512.0;
        let bank = bank(64, 513, 48_000, 50.0, 14_000.0);
        assert_eq!(bank.len(), 64);
        // A wide band integrates to 1 over frequency; a narrow one has too few bins for that.
        for band in &bank[50..] {
            let area: f64 = band.weights.iter().sum::<f64>() * step;
            assert!((area - 1.0).abs() < 0.01, "{area}");
        }
        assert!(bank.iter().all(|band| !band.weights.is_empty()));
        assert!(bank[63].first + bank[63].weights.len() <= (14_000.0 / step) as usize + 1);
    }
}
