//! The comparison with MLX: digests of what `mx.quantize` returns, made by `scripts/fixtures/make_quantized.py`.
//!
//! - this file: the comparison.
//! - `inputs.rs`: the inputs, by the formulas of the script.

mod inputs;

use sha2::{Digest, Sha256};

use self::inputs::{KINDS, Kind};
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
    fn name(&self) -> String {
        format!("{} {} {}", self.quantize.quantization, self.quantize.float, self.kind.name)
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
