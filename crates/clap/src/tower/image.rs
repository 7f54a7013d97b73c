//! From the spectrogram to patches: batch norm over mel bands, stretching in time, folding into a square image.

use candle_core::{Device, Tensor};

use super::{DEFAULT_EPS, TOWER};
use crate::Result;
use crate::config::AudioConfig;
use crate::weights::Weights;

/// The coefficient of PyTorch's bicubic interpolation
/// ([Keys 1981](https://doi.org/10.1109/TASSP.1981.1163711), there -0.5).
const CUBIC: f32 = -0.75;

/// The folding of a spectrogram into patches.
pub(super) struct Image {
    /// The batch norm as a factor and a summand for each mel band.
    scale: Vec<f32>,
    shift: Vec<f32>,
    /// The number of frames after stretching.
    frames: usize,
    /// The number of pieces of the spectrogram that lie above one another.
    pieces: usize,
    /// The side of the image, and of a patch, in pixels.
    side: usize,
    patch: usize,
}

impl Image {
    pub(super) fn new(config: &AudioConfig, weights: &Weights<'_>) -> Result<Self> {
        let read = |name: &str| weights.values(&format!("{TOWER}.batch_norm.{name}"), &[config.num_mel_bins]);
        let (gain, bias, mean, variance) =
            (read("weight")?, read("bias")?, read("running_mean")?, read("running_var")?);
        let scale: Vec<f32> =
            gain.iter().zip(&variance).map(|(gain, variance)| gain / (variance + DEFAULT_EPS as f32).sqrt()).collect();
        let shift = bias.iter().zip(&mean).zip(&scale).map(|((bias, mean), scale)| bias - mean * scale).collect();
        let (frames, pieces, patch) = (config.frames(), config.pieces(), config.patch_size());
        Ok(Image { scale, shift, frames, pieces, side: config.spec_size, patch })
    }

    /// The patches of a spectrogram, rows of pixels, row by row of the image. The spectrogram has at most the frames that
    /// the image holds.
    pub(super) fn patches(&self, mel: &[f32]) -> Result<Tensor> {
        let bands = self.scale.len();
        let normalized: Vec<f32> = mel
            .chunks_exact(bands)
            .flat_map(|frame| {
                frame.iter().zip(&self.scale).zip(&self.shift).map(|((x, scale), shift)| x * scale + shift)
            })
            .collect();
        let stretched = stretch(&normalized, bands, self.frames);
        // Piece p of the spectrogram fills rows p · bands … of the image: a row is a mel band, a column a frame.
        let columns = self.frames / self.pieces;
        let pixel = |row: usize, column: usize| stretched[(row / bands * columns + column) * bands + row % bands];
        let grid = self.side / self.patch;
        let mut pixels = Vec::with_capacity(self.side * self.side);
        for row in 0..grid {
            for column in 0..grid {
                for y in 0..self.patch {
                    pixels.extend((0..self.patch).map(|x| pixel(row * self.patch + y, column * self.patch + x)));
                }
            }
        }
        Ok(Tensor::from_vec(pixels, (grid * grid, self.patch * self.patch), &Device::Cpu)?)
    }
}

/// Frames stretched to `to` frames by bicubic interpolation with aligned ends. The positions are computed in f32, as PyTorch
/// does: in f64 the results would differ from PyTorch's by 1e-5.
fn stretch(frames: &[f32], bands: usize, to: usize) -> Vec<f32> {
    let from = frames.len() / bands;
    if from >= to {
        return frames.to_vec();
    }
    let scale = if to > 1 { (from - 1) as f32 / (to - 1) as f32 } else { 0.0 };
    let mut stretched = Vec::with_capacity(to * bands);
    for index in 0..to {
        let position = scale * index as f32;
        let first = (position as usize).min(from - 1);
        let weights = cubic((position - first as f32).clamp(0.0, 1.0));
        let frame = |tap: usize| {
            let at = (first + tap).saturating_sub(1).min(from - 1);
            &frames[at * bands..(at + 1) * bands]
        };
        let taps = [frame(0), frame(1), frame(2), frame(3)];
        stretched.extend(
            (0..bands).map(|band| taps.iter().zip(weights).fold(0.0, |sum, (tap, weight)| sum + tap[band] * weight)),
        );
    }
    stretched
}

/// The weights of the frames at -1, 0, 1 and 2 for a position between 0 and 1.
fn cubic(t: f32) -> [f32; 4] {
    let near = |x: f32| ((CUBIC + 2.0) * x - (CUBIC + 3.0)) * x * x + 1.0;
    let far = |x: f32| ((CUBIC * x - 5.0 * CUBIC) * x + 8.0 * CUBIC) * x - 4.0 * CUBIC;
    [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretching_keeps_the_ends_and_a_line() {
        let line: Vec<f32> = (0..11).flat_map(|i| [i as f32, 5.0]).collect();
        let stretched = stretch(&line, 2, 41);
        assert_eq!(stretched.len(), 82);
        assert_eq!((stretched[0], stretched[80], stretched[81]), (0.0, 10.0, 5.0));
        // Inside, cubic weights with coefficient -0.75 are not exact for lines, by at most 0.05 of a step.
        for (i, pair) in stretched.chunks(2).enumerate().skip(4).take(33) {
            assert!((pair[0] - i as f32 / 4.0).abs() <= 0.05, "{i}: {}", pair[0]);
            assert!((pair[1] - 5.0).abs() < 1e-6);
        }
        assert_eq!(stretch(&line, 2, 11), line);
        let weights: f32 = cubic(0.3).iter().sum();
        assert!((weights - 1.0).abs() < 1e-6);
    }

    #[test]
    fn the_image_folds_time_into_rows() {
        // 4 mel bands, an image of 8: two pieces of 8 frames, patches of 2.
        let image = Image { scale: vec![1.0; 4], shift: vec![0.0; 4], frames: 16, pieces: 2, side: 8, patch: 2 };
        let mel: Vec<f32> = (0..16).flat_map(|frame| (0..4).map(move |band| (frame * 10 + band) as f32)).collect();
        let patches: Vec<Vec<f32>> = image.patches(&mel).unwrap().to_vec2().unwrap();
        assert_eq!(patches.len(), 16);
        // The first patch: bands 0 and 1 of frames 0 and 1; the patch below it: bands 2 and 3.
        assert_eq!(patches[0], [0.0, 10.0, 1.0, 11.0]);
        assert_eq!(patches[4], [2.0, 12.0, 3.0, 13.0]);
        // The second piece begins in the lower half with frame 8.
        assert_eq!(patches[8], [80.0, 90.0, 81.0, 91.0]);
    }
}
