//! Generated, music-like clips, for when no recording is available. They need no files and are the same on every machine.

/// Generates piece 0 of [`music_piece`].
pub fn music_like(samples: usize, sample_rate: u32) -> Vec<f32> {
    music_piece(0, samples, sample_rate)
}

/// Generates `samples` samples at `sample_rate` hertz, of zero mean and unit variance as the model's feature extractor
/// makes them: chords that change every 0.4 s or slower with decaying harmonics, and a little noise. Pieces of other numbers
/// have other chords, keys, tempos and noise. The same arguments give the same clip.
///
/// A test tone is not enough: its frames are all alike, and a model that mixes up frames would pass.
pub fn music_piece(piece: u32, samples: usize, sample_rate: u32) -> Vec<f32> {
    let rate = f64::from(sample_rate.max(1));
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15 ^ u64::from(piece).wrapping_mul(0xd1b5_4a32_d192_ed03));
    let tempo = 0.4 * (1.0 + 0.3 * f64::from(piece % 4));
    let key = 2f64.powf(f64::from(piece * 5 % 12) / 12.0);
    let noise_level = 0.05 * f64::from(1 + piece % 3);
    let roots = [220.0, 261.63, 196.0, 329.63, 246.94, 293.66];
    let clip: Vec<f64> = (0..samples)
        .map(|n| {
            let time = n as f64 / rate;
            let chord = (time / tempo) as usize;
            let since = time - chord as f64 * tempo;
            let root: f64 =
                key * roots[(chord + piece as usize) % roots.len()] * if chord % 4 == 3 { 0.5 } else { 1.0 };
            let mut value = noise_level * noise.next();
            for (note, interval) in [1.0, 1.25, 1.5].into_iter().enumerate() {
                for harmonic in 1..=5 {
                    let harmonic = f64::from(harmonic);
                    let frequency = root * interval * harmonic;
                    let decay = (-since * (2.0 + 1.5 * harmonic)).exp();
                    let phase = std::f64::consts::TAU * frequency * time + note as f64;
                    value += decay / harmonic * phase.sin();
                }
            }
            value * (0.6 + 0.4 * (std::f64::consts::TAU * 0.31 * time).sin())
        })
        .collect();
    normalise(&clip)
}

/// Normalises a clip to (x − mean) / √(var + 1e-7), as transformers' `Wav2Vec2FeatureExtractor` does.
fn normalise(clip: &[f64]) -> Vec<f32> {
    let n = clip.len().max(1) as f64;
    let mean = clip.iter().sum::<f64>() / n;
    let variance = clip.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    clip.iter().map(|x| ((x - mean) / (variance + 1e-7).sqrt()) as f32).collect()
}

/// Noise in [-1, 1) from the generator SplitMix64 (Steele et al., 2014, <https://doi.org/10.1145/2714064.2660195>).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_mean_unit_variance_and_changing() {
        let clip = music_like(48_000, 24_000);
        let mean = clip.iter().map(|&x| f64::from(x)).sum::<f64>() / 48_000.0;
        let variance = clip.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / 48_000.0;
        assert!(mean.abs() < 1e-6, "{mean}");
        assert!((variance - 1.0).abs() < 1e-5, "{variance}");
        assert_eq!(clip, music_like(48_000, 24_000));
        assert_ne!(clip[..9_600], clip[9_600..19_200]);
        assert!(music_like(0, 24_000).is_empty());
        assert_eq!(clip, music_piece(0, 48_000, 24_000));
        assert_ne!(clip, music_piece(1, 48_000, 24_000));
    }
}
