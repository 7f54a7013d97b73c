//! The rule of the mode `affine` written down a second time, a value and a bit at a time, in which defects can be planted.

use half::{bf16, f16};
use mert_arch::Dtype;

use super::super::{Quantize, QuantizedRows};

/// A mistake that other implementations make, or that is easily made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defect {
    /// Codes from the scale and bias as they are stored, as a second quantization of dequantized values has them.
    RoundedScale,
    /// The two codes of a pair exchanged: the high half of a byte first.
    SwappedCodes,
    /// Groups along the first axis.
    WrongAxis,
    /// Each group begins a value late.
    GroupOffByOne,
    /// A scale for 2^bits steps in place of 2^bits − 1.
    OneStepMore,
    /// Scales in the place of biases.
    ExchangedParts,
    /// A largest value of at least zero, as Metal's kernel has it.
    MaximumFromZero,
    /// Halves rounded away from zero, as Metal's kernel does.
    HalvesAwayFromZero,
    /// The smallest value as the bias, and a positive scale: plain min-max quantization.
    PlainMinMax,
    /// A scale that is not fitted to the bias.
    UnfittedScale,
    /// No smallest scale.
    NoSmallestScale,
}

pub(super) const DEFECTS: [Defect; 11] = [
    Defect::RoundedScale,
    Defect::SwappedCodes,
    Defect::WrongAxis,
    Defect::GroupOffByOne,
    Defect::OneStepMore,
    Defect::ExchangedParts,
    Defect::MaximumFromZero,
    Defect::HalvesAwayFromZero,
    Defect::PlainMinMax,
    Defect::UnfittedScale,
    Defect::NoSmallestScale,
];

/// Quantizes whole rows of `columns` values.
pub(super) fn affine(quantize: &Quantize, columns: usize, values: &[f32], defect: Option<Defect>) -> QuantizedRows {
    let has = |one: Defect| defect == Some(one);
    let (bits, group_size) = (quantize.quantization.bits, quantize.quantization.group_size);
    let mut values = values.to_vec();
    if has(Defect::WrongAxis) {
        let rows = values.len() / columns;
        values = (0..values.len()).map(|i| values[i % rows * columns + i / rows]).collect();
    }
    if has(Defect::GroupOffByOne) {
        values.rotate_left(1);
    }
    let mut out = QuantizedRows::default();
    let mut codes = Vec::new();
    for group in values.chunks(group_size) {
        let mut max = group.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if has(Defect::MaximumFromZero) {
            max = max.max(0.0);
        }
        let min = group.iter().copied().fold(f32::INFINITY, f32::min);
        let largest_code = (1 << bits) - 1;
        let steps = largest_code as f32 + if has(Defect::OneStepMore) { 1.0 } else { 0.0 };
        let mut scale = (max - min) / steps;
        if scale < 1e-7 && !has(Defect::NoSmallestScale) {
            scale = 1e-7;
        }
        let mut bias = min;
        if !has(Defect::PlainMinMax) {
            if min.abs() <= max.abs() {
                (scale, bias) = (-scale, max);
            }
            match nearest(bias / scale, has(Defect::HalvesAwayFromZero)) {
                0.0 => bias = 0.0,
                _ if has(Defect::UnfittedScale) => {}
                zero => scale = bias / zero,
            }
        }
        let stored = (bytes(scale, quantize.float), bytes(bias, quantize.float));
        if has(Defect::RoundedScale) {
            (scale, bias) = (value(&stored.0, quantize.float), value(&stored.1, quantize.float));
        }
        let code = |&value: &f32| {
            let code = nearest((value - bias) / scale, has(Defect::HalvesAwayFromZero));
            (0..largest_code).rev().find(|&below| code > below as f32).map_or(0, |below| below + 1)
        };
        codes.extend(group.iter().map(code));
        let (scales, biases) = if has(Defect::ExchangedParts) {
            (&mut out.biases, &mut out.scales)
        } else {
            (&mut out.scales, &mut out.biases)
        };
        scales.extend(stored.0);
        biases.extend(stored.1);
    }
    if has(Defect::SwappedCodes) {
        codes.chunks_mut(2).for_each(|pair| pair.reverse());
    }
    out.weight = vec![0; codes.len() * bits / 8];
    for (i, code) in codes.iter().enumerate() {
        for bit in 0..bits {
            let at = i * bits + bit;
            out.weight[at / 8] |= ((code >> bit & 1) as u8) << (at % 8);
        }
    }
    out
}

/// The nearest integer, with halves to even or away from zero.
fn nearest(value: f32, halves_away_from_zero: bool) -> f32 {
    if halves_away_from_zero { value.round() } else { value.round_ties_even() }
}

fn bytes(value: f32, float: Dtype) -> Vec<u8> {
    match float {
        Dtype::F16 => f16::from_f32(value).to_le_bytes().to_vec(),
        Dtype::Bf16 => bf16::from_f32(value).to_le_bytes().to_vec(),
        Dtype::F32 => value.to_le_bytes().to_vec(),
    }
}

fn value(bytes: &[u8], float: Dtype) -> f32 {
    match float {
        Dtype::F16 => f16::from_le_bytes(bytes.try_into().unwrap()).to_f32(),
        Dtype::Bf16 => bf16::from_le_bytes(bytes.try_into().unwrap()).to_f32(),
        Dtype::F32 => f32::from_le_bytes(bytes.try_into().unwrap()),
    }
}
