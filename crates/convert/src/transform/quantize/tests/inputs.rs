//! Inputs of all kinds, by the formulas of `scripts/fixtures/make_quantized.py`: exact in f32, from integers.

use half::{bf16, f16};
use mert_arch::{Dtype, QuantizationMode};

use super::super::Quantize;

/// A kind of input.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) rows: usize,
    pub(super) columns: usize,
    value: fn(u32, &Quantize) -> f32,
}

impl Kind {
    /// The values, rounded to the float type.
    pub(super) fn values(&self, quantize: &Quantize) -> Vec<f32> {
        let value = |index| round((self.value)(index, quantize), quantize.float);
        (0..(self.rows * self.columns) as u32).map(value).collect()
    }
}

const fn kind(name: &'static str, shape: [usize; 2], value: fn(u32, &Quantize) -> f32) -> Kind {
    Kind { name, rows: shape[0], columns: shape[1], value }
}

pub(super) const KINDS: [Kind; 15] = [
    kind("bell", [7, 384], |i, _| scaled(bell(1, i), -5)),
    kind("one_row", [1, 3072], |i, _| bell(5, i)),
    kind("one_group", [24, 128], |i, _| scaled(bell(9, i), -3)),
    kind("negative", [3, 768], |i, _| -scaled(bell(13, i), -4).abs()),
    kind("positive", [3, 768], |i, _| scaled(bell(13, i), -4).abs()),
    kind("offset", [2, 512], |i, _| bell(17, i) / 64.0 + 1.0),
    kind("equal", [4, 1024], equal),
    kind("zero", [2, 256], |i, _| zero(i)),
    kind("sparse", [3, 640], |i, _| if noise(61, i).is_multiple_of(9) { bell(62, i) } else { zero(i) }),
    kind("two_values", [2, 384], |i, _| signed(0.0371, 71, i)),
    kind("outlier", [5, 384], |i, _| scaled(bell(81, i), if noise(85, i).is_multiple_of(64) { 3 } else { -4 })),
    kind("tiny", [3, 384], |i, _| scaled(bell(91, i), -23 - (i / 128 % 4) as i32)),
    kind("subnormal", [3, 384], |i, quantize| {
        scaled(bell(95, i), if quantize.float == Dtype::F16 { -15 } else { -130 })
    }),
    kind("large", [3, 384], |i, quantize| scaled(bell(99, i), if quantize.float == Dtype::F16 { 14 } else { 125 })),
    kind("ties", [4, 512], ties),
];

/// 32 bits of each index.
fn noise(seed: u32, index: u32) -> u32 {
    let x = index.wrapping_mul(0x9e37_79b1).wrapping_add(seed.wrapping_mul(0x85eb_ca77));
    let x = (x ^ x >> 16).wrapping_mul(0x7feb_352d);
    let x = (x ^ x >> 15).wrapping_mul(0x846c_a68b);
    x ^ x >> 16
}

/// Between -2 and 2, nearly normal: the sum of four numbers of 22 bits.
fn bell(seed: u32, index: u32) -> f32 {
    let total: u32 = (0..4).map(|k| noise(seed + k, index) >> 10).sum();
    (f64::from(total as i32 - (1 << 23)) / f64::from(1 << 22)) as f32
}

/// Times a power of two, rounded once.
fn scaled(value: f32, exponent: i32) -> f32 {
    (f64::from(value) * 2f64.powi(exponent)) as f32
}

fn signed(magnitude: f32, seed: u32, index: u32) -> f32 {
    if noise(seed, index) & 1 == 1 { -magnitude } else { magnitude }
}

fn zero(index: u32) -> f32 {
    if noise(51, index) & 1 == 1 { -0.0 } else { 0.0 }
}

/// Equal values in runs of 128, of all sizes.
fn equal(index: u32, quantize: &Quantize) -> f32 {
    let (block, span) = (index / 128, if quantize.float == Dtype::F16 { 24 } else { 240 });
    scaled(bell(31, block), (noise(35, block) % span) as i32 - span as i32 / 2)
}

/// Values half-way between two codes.
fn ties(index: u32, quantize: &Quantize) -> f32 {
    let first = index.is_multiple_of(16);
    match quantize.quantization.mode {
        QuantizationMode::Affine => {
            let bits = quantize.quantization.bits as u32;
            let largest = (2 << bits) - 2;
            let half_steps = match index % 32 {
                0 => 0,
                16 => largest,
                _ => noise(41, index) % (largest + 1),
            };
            scaled(half_steps as f32 - 2f32.powi(bits as i32 - 1), -6)
        }
        QuantizationMode::Mxfp8 if first => 28.0 / 16.0,
        QuantizationMode::Mxfp8 => {
            let magnitude = (16 + noise(41, index) % 16) as f32;
            scaled(signed(magnitude, 43, index), (noise(42, index) % 8) as i32 - 12)
        }
        _ if first => 24.0 / 32.0,
        _ => scaled(signed((noise(41, index) % 25) as f32, 43, index), -5),
    }
}

/// A value rounded to nearest even in a float type.
fn round(value: f32, float: Dtype) -> f32 {
    match float {
        Dtype::F16 => f16::from_f32(value).to_f32(),
        Dtype::Bf16 => bf16::from_f32(value).to_f32(),
        Dtype::F32 => value,
    }
}
