//! Normalisation of a window to the model's `input_values`, as transformers'
//! [`Wav2Vec2FeatureExtractor`](https://github.com/huggingface/transformers/blob/main/src/transformers/models/wav2vec2/feature_extraction_wav2vec2.py)
//! does with `do_normalize`.

use crate::{AudioError, Result};

/// The constant that transformers adds to the variance.
const EPSILON: f64 = 1e-7;

/// Normalises one window in place to zero mean and unit variance: (x − mean) / √(variance + 1e-7), with the population
/// variance, as transformers' `Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm` does. Sums are in f64, which differs
/// from numpy's f32 by less than 1e-6.
///
/// # Errors
/// [`AudioError::Silent`] if all samples are equal, because (x − mean) would be only rounding noise. The window is then
/// left unchanged.
pub fn normalize(window: &mut [f32]) -> Result<()> {
    let first = window.first().copied().unwrap_or(0.0);
    if window.iter().all(|&x| x == first) {
        return Err(AudioError::Silent { value: first });
    }
    let count = window.len() as f64;
    let mean = window.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = window.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    let scale = 1.0 / (variance + EPSILON).sqrt();
    window.iter_mut().for_each(|x| *x = ((f64::from(*x) - mean) * scale) as f32);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_its_accuracy_on_a_large_offset() {
        let clean: Vec<f64> = (0..24_000).map(|i| (f64::from(i) * 0.05).sin() * 1e-3).collect();
        let mut window: Vec<f32> = clean.iter().map(|x| (x + 0.5) as f32).collect();
        let exact: Vec<f64> = window.iter().map(|&x| f64::from(x)).collect();
        let mean = exact.iter().sum::<f64>() / exact.len() as f64;
        let variance = exact.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / exact.len() as f64;
        normalize(&mut window).unwrap();
        for (found, x) in window.iter().zip(&exact) {
            let expected = (x - mean) / (variance + EPSILON).sqrt();
            assert!((f64::from(*found) - expected).abs() <= 1e-6);
        }
    }

    #[test]
    fn one_value_is_silence_at_any_level() {
        for value in [0.0f32, 0.1, -1.0] {
            let mut window = vec![value; 1000];
            assert!(matches!(normalize(&mut window), Err(AudioError::Silent { value: v }) if v == value));
            assert_eq!(window, vec![value; 1000]);
        }
        assert!(normalize(&mut []).is_err());
    }
}
