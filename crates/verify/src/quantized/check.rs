//! The comparison of a weight that a candidate decodes with the original's: every value must be what `mx.quantize` makes of
//! it or, for files that were coded elsewhere, near enough.

use std::fmt;
use std::str::FromStr;

use mert_arch::{Dtype, Encoding, Quantization, QuantizationMode};
use serde::{Deserialize, Serialize};

use super::affine::{Grid, highest_code};
use super::encode_decode;
use super::microscaling;
use super::round::round_to;

/// How the codes of a quantized weight are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codes {
    /// They are those of `mx.quantize` on the CPU, which `mert-convert` computes.
    #[default]
    Exact,
    /// They stand for values within half a step of the original's: those that MLX computes on a GPU, which rounds halves
    /// otherwise and has another scale for groups without a positive value.
    Nearest,
}

impl Codes {
    const ALL: [(&str, Codes); 2] = [("exact", Codes::Exact), ("nearest", Codes::Nearest)];
}

impl FromStr for Codes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Codes::ALL.into_iter().find(|(name, _)| *name == text);
        found.map(|(_, codes)| codes).ok_or_else(|| format!("unknown codes `{text}`: expected exact or nearest"))
    }
}

impl fmt::Display for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if *self == Codes::Exact { "exact" } else { "nearest" })
    }
}

/// The verdict on one weight.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightVerdict {
    /// The number of values.
    pub values: usize,
    /// The number of values that are not what `mx.quantize` on the CPU makes of the original.
    pub different: usize,
    /// The number of values further from the original than half a step.
    pub far: usize,
    /// The value that is furthest from what `mx.quantize` makes of it: its index, and both values. `None` if all are equal.
    pub worst: Option<(usize, f32, f32)>,
}

impl WeightVerdict {
    /// Whether the weight passes.
    pub fn passed(&self, codes: Codes) -> bool {
        match codes {
            Codes::Exact => self.different == 0,
            Codes::Nearest => self.far == 0,
        }
    }
}

/// Compares a weight as a candidate decodes it with the original's values, of the same length. An error of rounding in
/// `scale · q + bias` is not counted as a difference.
pub fn check_weight(original: &[f32], candidate: &[f32], encoding: Encoding) -> WeightVerdict {
    let float = encoding.float();
    let group_size = match encoding {
        Encoding::Float(_) => original.len(),
        Encoding::Quantized { quantization, .. } => quantization.group_size,
    };
    let mut verdict = WeightVerdict { values: original.len(), different: 0, far: 0, worst: None };
    let mut worst = 0.0;
    for (i, (original, found)) in original.chunks(group_size).zip(candidate.chunks(group_size)).enumerate() {
        let rounded: Vec<f32> = original.iter().map(|&value| round_to(float, value)).collect();
        let mut expected = rounded.clone();
        encode_decode(&mut expected, encoding);
        let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        // Two roundings of f32, each at most 2^-24 of the largest value.
        let equal = largest * 2f32.powi(-22);
        let bounds = Bounds::of(&rounded, &expected, encoding);
        for (j, ((&value, &expected), &found)) in rounded.iter().zip(&expected).zip(found).enumerate() {
            let difference = (found - expected).abs();
            // Written so that a NaN is different, and far.
            if difference <= equal {
                continue;
            }
            verdict.different += 1;
            let is_near = (found - value).abs() <= bounds.of_value(j);
            verdict.far += usize::from(!is_near);
            let weight = if difference.is_nan() { f32::INFINITY } else { difference / largest.max(f32::MIN_POSITIVE) };
            if verdict.worst.is_none() || weight > worst {
                (verdict.worst, worst) = (Some((i * group_size + j, found, expected)), weight);
            }
        }
    }
    verdict
}

/// How far the values of a group may be from the original's.
struct Bounds {
    /// Half a step, with the rounding of scale and bias.
    half_step: f32,
    /// The errors that MLX's rules make themselves, where they cut values off at the end of the grid.
    errors: Vec<f32>,
}

impl Bounds {
    fn of(original: &[f32], expected: &[f32], encoding: Encoding) -> Self {
        let error = |decoded: &[f32]| decoded.iter().zip(original).map(|(d, o)| (d - o).abs()).collect::<Vec<f32>>();
        let errors = error(expected);
        let Encoding::Quantized { quantization: Quantization { mode, bits, .. }, float } = encoding else {
            return Bounds { half_step: 0.0, errors };
        };
        if mode != QuantizationMode::Affine {
            // Releases of MLX differ in how they round the exponent that a group shares.
            let mut other = original.to_vec();
            microscaling::quantize_group_with_nearest_exponent(&mut other, mode, float);
            let errors = errors.iter().zip(error(&other)).map(|(&a, b)| a.max(b)).collect();
            return Bounds { half_step: 0.0, errors };
        }
        // A GPU counts zero among the values of a group.
        let with_zero: Vec<f32> = original.iter().copied().chain([0.0]).collect();
        let grids = [Grid::of(original, bits), Grid::of(&with_zero, bits)];
        let unit = match float {
            Dtype::F16 => 2f32.powi(-11),
            Dtype::Bf16 => 2f32.powi(-8),
            Dtype::F32 => 2f32.powi(-22),
        };
        let half_step = grids.map(|grid| {
            let step = grid.scale.abs();
            step / 2.0 + (highest_code(bits) * step + grid.bias.abs()) * unit
        });
        Bounds { half_step: half_step[0].max(half_step[1]), errors }
    }

    fn of_value(&self, index: usize) -> f32 {
        self.half_step.max(self.errors[index] * 1.01)
    }
}
