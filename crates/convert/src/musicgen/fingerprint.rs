//! What the values of a checkpoint say about its training: whether the frozen projections of the cross-attention are an
//! initialisation, and which rows of the position table were trained.

use std::collections::BTreeMap;

use mert_checkpoint::{Checkpoint, CheckpointError};
use rayon::prelude::*;
use serde::Serialize;

use super::source::Sources;
use super::tensors::Found;
use crate::Result;

/// Sums over values: their number, their first two moments and their largest magnitude.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Moments {
    count: usize,
    sum: f64,
    squares: f64,
    largest: f64,
}

impl Moments {
    fn of(values: &[f32]) -> Self {
        values.iter().map(|&value| f64::from(value)).fold(Moments::default(), |moments, value| Moments {
            count: moments.count + 1,
            sum: moments.sum + value,
            squares: moments.squares + value * value,
            largest: moments.largest.max(value.abs()),
        })
    }

    fn plus(self, other: Self) -> Self {
        Moments {
            count: self.count + other.count,
            sum: self.sum + other.sum,
            squares: self.squares + other.squares,
            largest: self.largest.max(other.largest),
        }
    }

    fn mean(self) -> f64 {
        self.sum / self.count.max(1) as f64
    }

    fn root_mean_square(self) -> f64 {
        (self.squares / self.count.max(1) as f64).sqrt()
    }
}

/// The standard deviation from which audiocraft draws the weights of layer `layer`, and three of which it cuts them at:
/// D^-½ · (2 (layer + 1))^-½.
fn initial_deviation(width: usize, layer: usize) -> f64 {
    (width as f64 * 2.0 * (layer + 1) as f64).powf(-0.5)
}

/// The standard deviation of a gaussian of deviation 1 that is cut at ±3.
const CUT_DEVIATION: f64 = 0.986_577;

/// Whether values have the deviation and the cut of audiocraft's initialisation. Trained weights would have both by chance
/// only: the largest of many values of an untrimmed distribution lies beyond the cut.
fn is_initialisation(moments: Moments, width: usize, layer: usize) -> bool {
    // Half precision moves a value by 2^-11 of itself.
    const ROUNDING: f64 = 1e-3;
    let deviation = initial_deviation(width, layer);
    let spread = moments.root_mean_square() / (deviation * CUT_DEVIATION);
    // The relative error of an estimated deviation is (2 n)^-½.
    let tolerance = 0.01 + 5.0 / (2.0 * moments.count as f64).sqrt();
    (spread - 1.0).abs() < tolerance && moments.largest <= 3.0 * deviation * (1.0 + ROUNDING)
}

/// Calls `look` with the position of the first value and the values of each piece of a tensor, which are multiples of `unit`, so
/// that memory does not grow with the tensor.
fn each_piece(checkpoint: &dyn Checkpoint, key: &str, unit: usize, mut look: impl FnMut(usize, &[f32])) -> Result<()> {
    const PIECE: usize = 1 << 16;
    let info = checkpoint.listing().tensor(key).ok_or_else(|| CheckpointError::no_such_tensor(key))?;
    let size = info.dtype.size().ok_or_else(|| CheckpointError::unsupported_dtype(key, &info.dtype))?;
    let bytes = checkpoint.read(key)?;
    CheckpointError::check_length(key, &info.shape, size, &bytes)?;
    let piece = unit.max(1) * (PIECE / unit.max(1)).max(1);
    let mut values = Vec::new();
    for (number, bytes) in bytes.chunks(piece * size).enumerate() {
        info.dtype.widen(bytes, &mut values);
        look(number * piece, &values);
    }
    Ok(())
}

/// The number of sampled projections, and of those that look like an initialisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RandomProjections {
    /// The number of projections that were looked at.
    pub sampled: usize,
    /// The number of those whose values have the deviation and the cut of audiocraft's initialisation.
    pub random: usize,
}

impl RandomProjections {
    /// Whether the frozen projections are an initialisation: most of those sampled are.
    pub fn is_random(self) -> bool {
        2 * self.random > self.sampled
    }

    /// Looks at the frozen q, k and v of the cross-attention; of a large model, at those of some layers.
    pub(super) fn find(model: &BTreeMap<String, Found>, layers: usize, sources: &Sources) -> Result<Option<Self>> {
        const FEW_VALUES: usize = 16 << 20;
        const SAMPLED_LAYERS: usize = 8;
        let of_layer = |layer: usize| {
            let weight = move |part: &str| {
                Some((layer, model.get(&format!("lm.layers.{layer}.cross_attn.{part}_proj.weight"))?))
            };
            ["q", "k", "v"].into_iter().filter_map(weight).collect::<Vec<_>>()
        };
        let all: Vec<(usize, &Found)> = (0..layers).flat_map(of_layer).collect();
        let values: usize = all.iter().map(|(_, found)| found.info.shape.iter().product::<usize>()).sum();
        let is_sampled = |layer: usize| {
            let step = layers.div_ceil(SAMPLED_LAYERS).max(1);
            values <= FEW_VALUES || layer.is_multiple_of(step) || layer + 1 == layers
        };
        let sampled: Vec<_> = all.into_iter().filter(|(layer, _)| is_sampled(*layer)).collect();
        if sampled.is_empty() {
            return Ok(None);
        }
        let look = |&(layer, found): &(usize, &Found)| -> Result<bool> {
            let width = found.info.shape.last().copied().unwrap_or(1);
            let mut moments = Moments::default();
            let checkpoint = sources.checkpoint(found.source);
            let checkpoint = checkpoint.ok_or_else(|| CheckpointError::no_such_tensor(&found.key))?;
            each_piece(checkpoint, &found.key, 1, |_, values| moments = moments.plus(Moments::of(values)))?;
            Ok(is_initialisation(moments, width, layer))
        };
        let looks: Vec<bool> = sampled.par_iter().map(look).collect::<Result<_>>()?;
        Ok(Some(RandomProjections { sampled: looks.len(), random: looks.iter().filter(|random| **random).count() }))
    }
}

/// The rows of the position table that look as they were initialised, N(0, 1), in each half.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PositionRows {
    /// The number of rows of the first half, which clips of half the length reach; the rest are the second half.
    pub half: usize,
    /// The root mean square of the first half's values, and of the second's.
    pub root_mean_square: [f64; 2],
    /// The part of each half's rows that look as they were initialised.
    pub untouched: [f64; 2],
}

impl PositionRows {
    /// Whether the second half looks untrained and the first does not.
    pub fn second_half_is_untrained(self) -> bool {
        let [first, second] = self.untouched;
        second >= 0.9 && first < 0.5
    }

    /// Compares the two halves of the table, `(layers + 1, rows, width)`.
    pub(super) fn find(table: &dyn Checkpoint, key: &str, shape: &[usize]) -> Result<Option<Self>> {
        let &[_, rows, width] = shape else { return Ok(None) };
        // The last row is reached by the special frame of a clip of the full length only.
        let half = rows.saturating_sub(1) / 2 + 1;
        if half >= rows || width == 0 {
            return Ok(None);
        }
        let mut by_row = vec![Moments::default(); rows];
        each_piece(table, key, width, |start, values| {
            for (number, row) in (start / width..).zip(values.chunks_exact(width)) {
                let moments = &mut by_row[number % rows];
                *moments = moments.plus(Moments::of(row));
            }
        })?;
        let of = |rows: &[Moments]| {
            let all = rows.iter().copied().fold(Moments::default(), Moments::plus);
            let untouched = rows.iter().filter(|row| is_standard_normal(**row)).count();
            (all.root_mean_square(), untouched as f64 / rows.len().max(1) as f64)
        };
        let (first, second) = by_row.split_at(half);
        let ([first, second], [untouched_first, untouched_second]) =
            ([of(first).0, of(second).0], [of(first).1, of(second).1]);
        Ok(Some(PositionRows {
            half,
            root_mean_square: [first, second],
            untouched: [untouched_first, untouched_second],
        }))
    }
}

/// Whether values have the mean and the mean square of N(0, 1), within four standard errors.
fn is_standard_normal(moments: Moments) -> bool {
    let error = (moments.count.max(1) as f64).powf(-0.5);
    let mean_square = moments.squares / moments.count.max(1) as f64;
    moments.mean().abs() < 4.0 * error && (mean_square - 1.0).abs() < 4.0 * error * std::f64::consts::SQRT_2
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Normal values by Box and Muller, from a linear congruential generator.
    fn normal(seed: u64, count: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
        };
        (0..count)
            .map(|_| ((-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()) as f32)
            .collect()
    }

    fn cut(seed: u64, count: usize, deviation: f64) -> Vec<f32> {
        let values = normal(seed, 2 * count).into_iter().filter(|value| value.abs() <= 3.0);
        values.take(count).map(|value| value * deviation as f32).collect()
    }

    #[test]
    fn the_deviations_of_the_large_model() {
        assert!((initial_deviation(2048, 0) - 0.015_625).abs() < 1e-9);
        assert!((initial_deviation(2048, 47) - 0.002_255).abs() < 1e-6);
    }

    #[test]
    fn initialisations_are_recognized_and_other_weights_are_not() {
        for layer in [0, 2, 47] {
            let deviation = initial_deviation(64, layer);
            let found = |values: &[f32]| is_initialisation(Moments::of(values), 64, layer);
            assert!(found(&cut(layer as u64 + 1, 4096, deviation)));
            // Without the cut, of another layer, and of a trained scale.
            let whole: Vec<f32> = normal(7, 1 << 16).iter().map(|value| value * deviation as f32).collect();
            assert!(!found(&whole));
            assert!(!found(&cut(9, 4096, initial_deviation(64, layer + 1) * if layer == 47 { 1.5 } else { 1.0 })));
            assert!(!found(&cut(9, 4096, 1.2 * deviation)));
        }
    }

    #[test]
    fn rows_of_the_initialisation() {
        for seed in 0..50 {
            assert!(is_standard_normal(Moments::of(&normal(seed + 1, 4096))), "{seed}");
        }
        let shifted: Vec<f32> = normal(3, 4096).iter().map(|value| value * 1.1).collect();
        assert!(!is_standard_normal(Moments::of(&shifted)));
    }
}
