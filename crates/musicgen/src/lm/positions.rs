//! The sinusoids of the language model's positions.

/// Adds the sinusoids of `position` to a state: cosines in the first half, sines in the second, with the frequencies
/// 10000^(−j / (width / 2 − 1)).
///
/// Source: `create_sin_embedding` of audiocraft, and `MusicgenSinusoidalPositionalEmbedding` of transformers. Torch computes the
/// angles in f32: a frequency in f64, rounded, times the position.
pub(super) fn add(position: usize, state: &mut [f32]) {
    let half = state.len() / 2;
    let (cosines, sines) = state.split_at_mut(half);
    for (j, (cosine, sine)) in cosines.iter_mut().zip(sines).enumerate() {
        let frequency = (-(10_000f64.ln()) * j as f64 / (half - 1) as f64).exp();
        let angle = position as f32 * frequency as f32;
        *cosine += angle.cos();
        *sine += angle.sin();
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn cosines_come_first() {
        let mut state = [1.0f32; 6];
        super::add(3, &mut state);
        let angles = [3.0f64, 3.0 * 0.01, 3.0 * 0.0001];
        for (j, angle) in angles.iter().enumerate() {
            assert!((f64::from(state[j]) - 1.0 - angle.cos()).abs() < 1e-6, "cosine {j}");
            assert!((f64::from(state[j + 3]) - 1.0 - angle.sin()).abs() < 1e-6, "sine {j}");
        }
    }
}
