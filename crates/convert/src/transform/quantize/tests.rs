//! The comparison with MLX: digests of what `mx.quantize` returns, made by `scripts/fixtures/make_quantized.py`.
//!
//! - this file: the comparison, the defects that it must find, and the refusals.
//! - `inputs.rs`: the inputs, by the formulas of the script.
//! - `reference.rs`: the rule written down a second time, value by value, in which defects can be planted.

mod inputs;
mod reference;

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use self::inputs::{KINDS, Kind};
use self::reference::{DEFECTS, Defect, affine};
use super::super::span::Span;
use super::*;

const DIGESTS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/quantized/digests.txt"));

/// One kind of input in one encoding, and the digest of what MLX returns for it.
struct Case {
    quantize: Quantize,
    kind: Kind,
    digest: &'static str,
}

impl Case {
    fn encoding(&self) -> String {
        format!("{} {}", self.quantize.quantization, self.quantize.float)
    }

    fn name(&self) -> String {
        format!("{} {}", self.encoding(), self.kind.name)
    }
}

fn cases() -> Vec<Case> {
    let mut lines = DIGESTS.lines();
    let heading = lines.next().unwrap();
    assert!(heading.starts_with("# mlx 0.32.4: "), "{heading}");
    let kinds: Vec<&str> = heading.split(' ').skip(7).collect();
    assert_eq!(kinds, KINDS.map(|kind| kind.name));
    let mut cases = Vec::new();
    for line in lines {
        let fields: Vec<&str> = line.split(' ').collect();
        let [mode, bits, group_size, float, digests @ ..] = &fields[..] else { panic!("{line}") };
        let quantization =
            Quantization::new(mode.parse().unwrap(), bits.parse().unwrap(), group_size.parse().unwrap()).unwrap();
        let quantize = Quantize { quantization, float: float.parse().unwrap() };
        assert_eq!(digests.len(), KINDS.len());
        cases.extend(KINDS.iter().zip(digests).map(|(&kind, digest)| Case { quantize, kind, digest }));
    }
    cases
}

fn digest(rows: &QuantizedRows) -> String {
    let sha256 =
        Sha256::new().chain_update(&rows.weight).chain_update(&rows.scales).chain_update(&rows.biases).finalize();
    sha256[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn quantize(quantize: &Quantize, rows: usize, columns: usize, values: &[f32]) -> Result<QuantizedRows> {
    let mut out = QuantizedRows { weight: vec![1; 3], scales: vec![1], biases: vec![1] };
    quantize.apply(Span { tensor: "t", shape: &[rows, columns], start: 0 }, columns, values, &mut out)?;
    Ok(out)
}

#[test]
fn equals_mlx_bit_for_bit() {
    let cases = cases();
    let affine = cases.iter().filter(|case| case.quantize.quantization.mode == QuantizationMode::Affine).count();
    assert_eq!((affine, cases.len()), (810, 945));
    let mut wrong = Vec::new();
    for case in &cases {
        let values = case.kind.values(&case.quantize);
        let found = match quantize(&case.quantize, case.kind.rows, case.kind.columns, &values) {
            Ok(rows) => digest(&rows),
            Err(ConvertError::QuantizationRange { .. }) => "-".into(),
            Err(error) => panic!("{}: {error}", case.name()),
        };
        if found != case.digest {
            wrong.push(case.name());
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ from MLX: {wrong:#?}", wrong.len(), cases.len());
}

/// The rule written down a second time gives the digests, too, and each defect planted in it changes one of every affine encoding
/// that it affects.
#[test]
fn every_defect_is_found_in_every_encoding() {
    let affects = |defect: Defect, quantize: &Quantize| match defect {
        // What is stored in f32 has not been rounded.
        Defect::RoundedScale => quantize.float != Dtype::F32,
        _ => true,
    };
    let mut found = BTreeSet::new();
    let cases = cases();
    let cases: Vec<&Case> =
        cases.iter().filter(|case| case.quantize.quantization.mode == QuantizationMode::Affine).collect();
    for case in &cases {
        let values = case.kind.values(&case.quantize);
        let columns = case.kind.columns;
        assert_eq!(digest(&affine(&case.quantize, columns, &values, None)), case.digest, "{}", case.name());
        for defect in DEFECTS {
            let key = (format!("{defect:?}"), case.encoding());
            if !found.contains(&key) && digest(&affine(&case.quantize, columns, &values, Some(defect))) != case.digest {
                found.insert(key);
            }
        }
    }
    for case in &cases {
        for defect in DEFECTS.into_iter().filter(|&defect| affects(defect, &case.quantize)) {
            assert!(found.contains(&(format!("{defect:?}"), case.encoding())), "{defect:?} in {}", case.encoding());
        }
    }
}

fn affine_4_bits() -> Quantize {
    Quantize { quantization: Quantization::new(QuantizationMode::Affine, 4, 32).unwrap(), float: Dtype::F16 }
}

#[test]
fn zeros_and_equal_values_are_exact() {
    for (value, scale, bias) in [(0.0, -1e-7, 0.0), (-0.0, -1e-7, 0.0), (0.5, -1e-7, 0.5), (-3.0, -1e-7, -3.0)] {
        let rows = quantize(&affine_4_bits(), 1, 32, &[value; 32]).unwrap();
        assert_eq!(rows.weight, [0; 16], "{value}");
        assert_eq!(rows.scales, f16::from_f32(scale).to_le_bytes(), "{value}");
        assert_eq!(rows.biases, f16::from_f32(bias).to_le_bytes(), "{value}");
    }
}

/// Pieces of whole rows are encoded as the whole matrix is.
#[test]
fn rows_are_encoded_apart() {
    let kind = KINDS[0];
    for quantization in [
        Quantization::new(QuantizationMode::Affine, 3, 128).unwrap(),
        Quantization::new(QuantizationMode::Nvfp4, 4, 16).unwrap(),
    ] {
        let transform = Quantize { quantization, float: Dtype::Bf16 };
        let values = kind.values(&transform);
        let whole = quantize(&transform, kind.rows, kind.columns, &values).unwrap();
        let mut parts = QuantizedRows::default();
        for rows in values.chunks(2 * kind.columns) {
            let part = quantize(&transform, kind.rows, kind.columns, rows).unwrap();
            parts.weight.extend(part.weight);
            parts.scales.extend(part.scales);
            parts.biases.extend(part.biases);
        }
        assert_eq!(parts, whole);
    }
}

#[test]
fn values_without_a_scale_are_refused_by_name() {
    let refusal = |mode, bits, group_size, float, at: usize, value: f32| {
        let transform = Quantize { quantization: Quantization::new(mode, bits, group_size).unwrap(), float };
        let mut values = vec![0.125; 4 * 64];
        values[at] = value;
        values[at + 1] = -value;
        let mut out = QuantizedRows::default();
        let span = Span { tensor: "encoder.w", shape: &[6, 64], start: 2 * 64 };
        transform.apply(span, 64, &values, &mut out).unwrap_err().to_string()
    };
    let check = |error: String, words: [&str; 3]| {
        words.iter().for_each(|word| assert!(error.contains(word), "{error}: no {word}"));
    };
    use QuantizationMode::{Affine, Mxfp4, Mxfp8, Nvfp4};
    check(refusal(Affine, 4, 32, Dtype::F16, 70, f32::NAN), ["encoder.w", "NaN", "[3, 6]"]);
    check(refusal(Affine, 4, 32, Dtype::F16, 70, f32::INFINITY), ["encoder.w", "inf", "[3, 6]"]);
    check(refusal(Mxfp4, 4, 32, Dtype::F16, 70, f32::NEG_INFINITY), ["encoder.w", "-inf", "[3, 6]"]);
    check(refusal(Affine, 8, 32, Dtype::F32, 100, 3e38), ["from -3e38 to 3e38", "[3, 32]", "overflows f32"]);
    check(refusal(Nvfp4, 4, 16, Dtype::F32, 100, 3000.0), ["from -3e3 to 3e3", "[3, 32]", "above 448"]);
    let tiny = |mode, bits, group_size| {
        let transform =
            Quantize { quantization: Quantization::new(mode, bits, group_size).unwrap(), float: Dtype::F32 };
        quantize(&transform, 1, 64, &[1e-38; 64]).unwrap_err().to_string()
    };
    check(tiny(Mxfp4, 4, 32), ["1e-38", "[0, 0]", "subnormal"]);
    check(tiny(Mxfp8, 8, 32), ["1e-38", "[0, 0]", "subnormal"]);
}

#[test]
fn other_shapes_than_whole_rows_are_refused() {
    let refused = |columns, len| {
        let error = quantize(&affine_4_bits(), 4, columns, &vec![0.5; len]).unwrap_err();
        assert!(matches!(&error, ConvertError::QuantizationShape { .. }), "{error}");
    };
    refused(48, 96);
    refused(64, 96);
    refused(0, 0);
    let unknown = Quantization { mode: QuantizationMode::Affine, bits: 7, group_size: 32 };
    let error = quantize(&Quantize { quantization: unknown, float: Dtype::F16 }, 1, 32, &[0.5; 32]).unwrap_err();
    assert!(error.to_string().contains("no 7 bits"), "{error}");
}

/// The thresholds of a 4-bit code against its definition: of all values of E2M1 in the order of their codes, the first with the
/// smallest difference, which MLX computes in the weight's type.
#[test]
fn e2m1_is_the_first_nearest_value() {
    const VALUES: [f32; 16] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];
    let nearest = |value: f32, round: &dyn Fn(f32) -> f32| {
        let differences = VALUES.map(|code| round(value - code).abs());
        let smallest = differences.iter().copied().fold(f32::INFINITY, f32::min);
        differences.iter().position(|&difference| difference == smallest).unwrap() as u32
    };
    for bits in 0..=u16::MAX {
        for (value, round) in [
            (f16::from_bits(bits).to_f32(), &(|x| f16::from_f32(x).to_f32()) as &dyn Fn(f32) -> f32),
            (bf16::from_bits(bits).to_f32(), &|x| bf16::from_f32(x).to_f32()),
            (f32::from_bits(u32::from(bits) << 16), &|x| x),
        ] {
            // Quotients stay within 9: nvfp4's smallest scale may be two thirds of what a group needs.
            if value.abs() <= 12.0 {
                assert_eq!(microscaling::e2m1(value), nearest(value, round), "{value:e}");
            }
        }
    }
}
