//! The judge's quantization against real MLX's, its decoder, and what it lets pass.

use mert_arch::{Dtype, Encoding, Quantization, QuantizationMode};

use super::*;

const COLUMNS: usize = 384;

/// The input of `scripts/fixtures/make_decoded.py`.
fn inputs() -> Vec<f32> {
    let mut state = 1u64;
    let mut values = Vec::new();
    for row in 0..24 {
        for column in 0..COLUMNS {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let noise = (state >> 40) as f64 / f64::from(1 << 24) - 0.5;
            let value = match row % 8 {
                0 => noise,
                1 => noise.powi(3),
                2 => -noise.abs() / 64.0 - 1.0,
                3 => noise.abs() / 64.0 + 1.0,
                4 => noise * if column % 96 == 5 { 8.0 } else { 1.0 } / 8.0,
                5 => 0.375 * (1.0 + (column / 16) as f64 / 512.0),
                6 => 0.0,
                _ => (state >> 60) as f64 / 8.0,
            };
            values.push(value as f32);
        }
    }
    values
}

fn all_quantizations() -> Vec<Quantization> {
    let affine = [2, 3, 4, 5, 6, 8].into_iter().flat_map(|bits| {
        [32, 64, 128].map(|group_size| Quantization::new(QuantizationMode::Affine, bits, group_size).unwrap())
    });
    affine.chain(QuantizationMode::ALL[1..].iter().map(|mode| mode.default_quantization())).collect()
}

/// Every bit of every value, for all modes, bits, groups and float types of MLX.
#[test]
fn values_are_those_of_mlx() {
    let mut expected = include_str!("mlx.tsv").lines();
    for quantization in all_quantizations() {
        for float in Dtype::ALL {
            let mut values = inputs();
            quantize_dequantize(&mut values, quantization, float);
            let bytes: Vec<u8> = values.iter().flat_map(|value| (value + 0.0).to_le_bytes()).collect();
            let Quantization { mode, bits, group_size } = quantization;
            let digest = &mert_fs::sha256_bytes(&bytes)[..16];
            let line = format!("{mode}\t{bits}\t{group_size}\t{float}\t{digest}");
            assert_eq!(expected.next(), Some(&line[..]));
        }
    }
    assert_eq!(expected.next(), None);
}

/// Packs codes as a stream of bits.
fn pack(codes: &[u32], bits: usize) -> Vec<u8> {
    let mut bytes = vec![0u8; codes.len() * bits / 8];
    for (i, code) in codes.iter().enumerate() {
        for bit in 0..bits {
            let at = i * bits + bit;
            bytes[at / 8] |= ((code >> bit & 1) as u8) << (at % 8);
        }
    }
    bytes
}

#[test]
fn every_code_is_decoded() {
    for bits in [2, 3, 4, 5, 6, 8] {
        let quantization = Quantization::new(QuantizationMode::Affine, bits, 32).unwrap();
        let codes: Vec<u32> = (0..512).map(|i| i % (1 << bits)).collect();
        let packed = pack(&codes, bits);
        let parts = |value: f32| [value; 16].map(|v| half::f16::from_f32(v).to_le_bytes()).concat();
        let (scales, biases) = (parts(0.25), parts(-1.5));
        let weight = PackedWeight { codes: &packed, scales: &scales, biases: &biases, float: Dtype::F16 };
        let expected: Vec<f32> = codes.iter().map(|&code| code as f32 / 4.0 - 1.5).collect();
        assert_eq!(decode(weight, quantization), Some(expected), "{bits}");
        assert_eq!(decode(PackedWeight { biases: &[], ..weight }, quantization), None);
        assert_eq!(decode(PackedWeight { codes: &packed[1..], ..weight }, quantization), None);
    }
    let decoded = |mode: QuantizationMode, codes: &[u8], scales: &[u8]| {
        let weight = PackedWeight { codes, scales, biases: &[], float: Dtype::F16 };
        decode(weight, mode.default_quantization()).unwrap()
    };
    // The low half of a byte comes first; 0x1 is 0.5, 0xf is −6.
    assert_eq!(decoded(QuantizationMode::Mxfp4, &[0xf1; 16], &[128])[..3], [1.0, -12.0, 1.0]);
    // 0x38 is 1 in E4M3, 0xfe is −448.
    assert_eq!(decoded(QuantizationMode::Nvfp4, &[0xf1; 8], &[0x38])[..2], [0.5, -6.0]);
    assert_eq!(decoded(QuantizationMode::Mxfp8, &[0xfe; 32], &[126])[..1], [-224.0]);
}

/// What MLX's kernel for GPUs computes, after `affine_quantize` in
/// [`quantized.h`](https://github.com/ml-explore/mlx/blob/main/mlx/backend/metal/kernels/quantized.h).
fn metal(group: &mut [f32], bits: usize) {
    let top = ((1 << bits) - 1) as f32;
    let (min, max) = group.iter().fold((f32::MAX, 0f32), |(min, max), &v| (min.min(v), max.max(v)));
    let size = ((max - min) / top).max(1e-7);
    let (edge, scale) = if min.abs() > max.abs() { (min, size) } else { (max, -size) };
    let steps = (edge / scale).round();
    let (scale, bias) = if steps == 0.0 { (scale, 0.0) } else { (edge / steps, edge) };
    let stored = |value: f32| half::f16::from_f32(value).to_f32();
    for value in group {
        let code = ((*value - bias) / scale).round().clamp(0.0, top);
        *value = stored(scale) * code + stored(bias);
    }
}

#[test]
fn codes_of_a_gpu_are_near_and_not_exact() {
    for bits in [2, 3, 4, 5, 6, 8] {
        for group_size in [32, 64, 128] {
            let quantization = Quantization::new(QuantizationMode::Affine, bits, group_size).unwrap();
            let encoding = Encoding::Quantized { quantization, float: Dtype::F16 };
            let original: Vec<f32> = inputs().iter().map(|&v| half::f16::from_f32(v).to_f32()).collect();
            let mut candidate = original.clone();
            candidate.chunks_mut(group_size).for_each(|group| metal(group, bits));
            let verdict = check_weight(&original, &candidate, encoding);
            assert!(verdict.different > 0 && verdict.passed(Codes::Nearest), "{quantization}: {verdict:?}");
            assert!(!verdict.passed(Codes::Exact));

            let mut exact = original.clone();
            encode_decode(&mut exact, encoding);
            assert_eq!(check_weight(&original, &exact, encoding).different, 0);
            // One code off by one, in the middle of the grid.
            let step = exact[..group_size].iter().filter(|&&v| v > exact[0]).map(|v| v - exact[0]).fold(9.0, f32::min);
            exact[0] += step;
            let verdict = check_weight(&original, &exact, encoding);
            assert_eq!((verdict.different, verdict.far), (1, 1), "{quantization}: {verdict:?}");
            assert_eq!(verdict.worst.unwrap().0, 0);
        }
    }
}

/// A later release of MLX rounds the exponent that a group shares otherwise.
#[test]
fn another_exponent_is_near() {
    for mode in [QuantizationMode::Mxfp4, QuantizationMode::Mxfp8] {
        let encoding = Encoding::Quantized { quantization: mode.default_quantization(), float: Dtype::F32 };
        let original = inputs();
        let mut candidate = original.clone();
        let group =
            |group: &mut [f32]| super::microscaling::quantize_group_with_nearest_exponent(group, mode, Dtype::F32);
        candidate.chunks_mut(32).for_each(group);
        let verdict = check_weight(&original, &candidate, encoding);
        assert!(verdict.different > 0 && verdict.far == 0, "{mode}: {verdict:?}");
    }
}

#[test]
fn not_a_number_is_different_and_far() {
    let encoding = Encoding::Quantized { quantization: all_quantizations()[7], float: Dtype::F16 };
    let mut candidate = inputs();
    encode_decode(&mut candidate, encoding);
    candidate[77] = f32::NAN;
    let verdict = check_weight(&inputs(), &candidate, encoding);
    assert_eq!((verdict.different, verdict.far, verdict.worst.unwrap().0), (1, 1, 77));
}
