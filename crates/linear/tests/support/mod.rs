//! Weights with known values: packed here independently of the crate, and multiplied in f64.

#![allow(dead_code, clippy::unwrap_used)]

use half::{bf16, f16};
use mert_arch::{Dtype, Encoding, Quantization, QuantizationMode};
use mert_linear::{Bytes, Linear};
use mert_simd::Isa;

/// An element of a product.
struct Expected {
    value: f64,
    /// Σ |s·q·x| + |b·x|, to which the roundings of sums in f32 are relative.
    size: f64,
    /// Seven standard deviations of what activations in whole numbers of 16 bits change, each by up to 1/65278 of the
    /// largest in its block.
    rounding: f64,
}

/// A stored weight beside its values.
#[derive(Clone)]
pub(crate) struct Weight {
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    pub(crate) encoding: Encoding,
    pub(crate) codes: Vec<u32>,
    pub(crate) weight: Vec<u8>,
    pub(crate) scales: Vec<u8>,
    pub(crate) biases: Vec<u8>,
    /// Scale, bias and code of each value; for floats the scale is 0.
    terms: Vec<(f64, f64, f64)>,
}

/// Numbers without a pattern in -1..1.
pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(next).collect()
}

fn store(dtype: Dtype, value: f32) -> (Vec<u8>, f64) {
    match dtype {
        Dtype::F32 => (value.to_le_bytes().to_vec(), value.into()),
        Dtype::F16 => (f16::from_f32(value).to_le_bytes().to_vec(), f16::from_f32(value).into()),
        Dtype::Bf16 => (bf16::from_f32(value).to_le_bytes().to_vec(), bf16::from_f32(value).into()),
    }
}

fn store_all(dtype: Dtype, values: &[f32]) -> (Vec<u8>, Vec<f64>) {
    let (bytes, values): (Vec<_>, Vec<_>) = values.iter().map(|&value| store(dtype, value)).unzip();
    (bytes.concat(), values)
}

/// Codes of some bits one after another from the lowest bit on, each row by itself.
pub(crate) fn pack(codes: &[u32], bits: usize, inputs: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for row in codes.chunks(inputs) {
        let mut stream = vec![0u8; row.len() * bits / 8];
        for bit in 0..row.len() * bits {
            stream[bit / 8] |= ((row[bit / bits] >> (bit % bits) & 1) as u8) << (bit % 8);
        }
        bytes.extend(stream);
    }
    bytes
}

impl Weight {
    pub(crate) fn new(outputs: usize, inputs: usize, encoding: Encoding) -> Self {
        let seed = (outputs * 31 + inputs) as u64;
        match encoding {
            Encoding::Float(dtype) => {
                let (weight, values) = store_all(dtype, &numbers(outputs * inputs, seed));
                let terms = values.into_iter().map(|value| (0.0, value, 0.0)).collect();
                let (codes, scales, biases) = Default::default();
                Weight { outputs, inputs, encoding, codes, weight, scales, biases, terms }
            }
            Encoding::Quantized { quantization: Quantization { bits, group_size, .. }, float } => {
                let levels = (1u32 << bits) as f32;
                let codes: Vec<u32> = numbers(outputs * inputs, seed)
                    .into_iter()
                    .map(|x| (((x + 1.0) / 2.0 * levels) as u32).min((1 << bits) - 1))
                    .collect();
                let groups = outputs * inputs / group_size;
                let scales: Vec<f32> = numbers(groups, seed + 1).into_iter().map(|x| x * 2.0 / levels).collect();
                let biases: Vec<f32> =
                    scales.iter().zip(numbers(groups, seed + 2)).map(|(s, x)| -s * levels * (0.5 + 0.2 * x)).collect();
                let ((scales, s), (biases, b)) = (store_all(float, &scales), store_all(float, &biases));
                let term = |(i, &q): (usize, &u32)| (s[i / group_size], b[i / group_size], f64::from(q));
                let terms = codes.iter().enumerate().map(term).collect();
                let weight = pack(&codes, bits, inputs);
                Weight { outputs, inputs, encoding, codes, weight, scales, biases, terms }
            }
        }
    }

    /// The weight in bytes that start `offset` bytes after an allocation.
    pub(crate) fn linear_at(&self, offset: usize) -> Linear {
        let bytes = |bytes: &[u8]| {
            let all = Bytes::from([&vec![0xff; offset], bytes].concat());
            all.part(offset..offset + bytes.len()).unwrap()
        };
        let Weight { outputs, inputs, .. } = *self;
        match self.encoding {
            Encoding::Float(dtype) => Linear::float(outputs, inputs, dtype, bytes(&self.weight)).unwrap(),
            Encoding::Quantized { quantization, float } => {
                let [weight, scales, biases] = [&self.weight, &self.scales, &self.biases].map(|all| bytes(all));
                Linear::quantized(outputs, inputs, quantization, float, weight, scales, biases).unwrap()
            }
        }
    }

    pub(crate) fn linear(&self) -> Linear {
        self.linear_at(0)
    }

    /// Row `row` in f64.
    pub(crate) fn row(&self, row: usize) -> Vec<f64> {
        self.terms[row * self.inputs..][..self.inputs].iter().map(|(s, b, q)| s * q + b).collect()
    }

    /// x · weightᵀ in f64, with what bounds the errors of each element.
    fn product(&self, x: &[f32]) -> Vec<Expected> {
        let mut results = Vec::new();
        for x in x.chunks(self.inputs) {
            for terms in self.terms.chunks(self.inputs) {
                let (mut expected, mut variance) = (Expected { value: 0.0, size: 0.0, rounding: 0.0 }, 0.0);
                // The codes of 4 bits in two registers of 512.
                for (terms, x) in terms.chunks(256).zip(x.chunks(256)) {
                    let largest = x.iter().fold(0.0, |max: f64, x| max.max(x.abs().into()));
                    for (&(s, b, q), &x) in terms.iter().zip(x) {
                        let x = f64::from(x);
                        expected.value += (s * q + b) * x;
                        expected.size += (s * q * x).abs() + (b * x).abs();
                        variance += ((s * q + b) * largest / 65278.0).powi(2) / 3.0;
                    }
                }
                expected.rounding = 7.0 * variance.sqrt();
                results.push(expected);
            }
        }
        results
    }

    /// Whether the activations are rounded to whole numbers of 16 bits on this instruction set.
    fn rounds_activations(&self, isa: Isa) -> bool {
        let Encoding::Quantized { quantization, .. } = self.encoding else { return false };
        match (isa, quantization.bits) {
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512(_), _) => is_x86_feature_detected!("avx512vnni"),
            #[cfg(target_arch = "aarch64")]
            (Isa::Neon(_), 4 | 8) => std::arch::is_aarch64_feature_detected!("dotprod"),
            _ => false,
        }
    }

    /// The largest error of the products with some rows of activations in units of the bound; 1 is the limit. NaN is
    /// infinitely large.
    pub(crate) fn worst(&self, y: &[f32], x: &[f32], isa: Isa) -> f64 {
        let (expected, bound) = (self.product(x), self.bound(x.len() / self.inputs));
        assert_eq!(y.len(), expected.len());
        let errors = y.iter().zip(expected).map(|(&y, Expected { value, size, rounding })| {
            let rounding = if self.rounds_activations(isa) { rounding } else { 0.0 };
            let error = (f64::from(y) - value).abs() / (bound * size + rounding + 1e-30);
            if error.is_nan() { f64::INFINITY } else { error }
        });
        errors.fold(0.0, f64::max)
    }

    /// Roundings of a running sum at most, of half a unit each: one for each value where rows are many, and for each
    /// value of a lane where they are few. Decoding and the ends of a sum add a few.
    fn bound(&self, rows: usize) -> f64 {
        let steps = if rows > 4 { self.inputs } else { self.inputs.div_ceil(4) };
        (steps + 40) as f64 * f64::from(f32::EPSILON) / 2.0
    }
}

pub(crate) fn affine(bits: usize, group_size: usize, float: Dtype) -> Encoding {
    let quantization = Quantization::new(QuantizationMode::Affine, bits, group_size).unwrap();
    Encoding::Quantized { quantization, float }
}

/// Every encoding, codes with each type of scales.
pub(crate) fn encodings() -> Vec<Encoding> {
    let codes = [2, 3, 4, 5, 6, 8].into_iter().flat_map(|bits| [32, 64, 128].map(|group| (bits, group)));
    let codes = codes.flat_map(|(bits, group)| Dtype::ALL.map(|float| affine(bits, group, float)));
    Dtype::ALL.map(Encoding::Float).into_iter().chain(codes).collect()
}
