//! The limits of the gate of bundles.
//!
//! | what | limit | reason |
//! |---|---|---|
//! | states and logits, f32 weights | NMSE 1e-9 | two orders of f32 sums differ by 1e-12 to 1e-11; the mildest planted defect is above 1e-4 |
//! | codec's samples | 1e-5 of the peak | the sums of 21 layers in another order; another padding is at 1e-2 and more, at the edges alone |
//! | codes and tokens, f32 weights | all equal | an argmax that differs without a tie is another model |
//! | logits, 16-bit weights | KL 1e-3, states NMSE 1e-4 | rounding to f16 measures 1e-8 to 1e-5, to bf16 64 times as much |
//! | logits, quantized weights | KL by bits | three times what a model of width 64 with sharp attention measures, the worst case: `--against` the floats judges every code exactly, and `--max-kl` is for a real model |

use mert_arch::Dtype;

/// The precision in which a bundle stores its weights, which decides how close it can be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Exactness {
    /// All weights are f32.
    F32,
    /// Some are f16 or bf16, none is quantized.
    Half(Dtype),
    /// Some are quantized, the coarsest with this number of bits.
    Quantized(usize),
}

/// The limits of one comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BundleLimits {
    /// The largest NMSE of states and logits; `None` if the divergence alone is judged.
    pub nmse: Option<f64>,
    /// The largest mean KL divergence of the logits, in nats.
    pub kl: f64,
    /// Whether every code must be the reference's.
    pub equal_codes: bool,
    /// The largest difference of a sample, as a part of the largest sample.
    pub wave: f64,
}

impl Exactness {
    /// The limits for the language model.
    pub fn limits(self) -> BundleLimits {
        let exact = BundleLimits { nmse: Some(1e-9), kl: 1e-6, equal_codes: true, wave: 1e-5 };
        match self {
            Exactness::F32 => exact,
            Exactness::Half(Dtype::Bf16) => BundleLimits { nmse: Some(1e-3), kl: 1e-2, equal_codes: false, wave: 5e-2 },
            Exactness::Half(_) => BundleLimits { nmse: Some(1e-4), kl: 1e-3, equal_codes: false, wave: 1e-2 },
            Exactness::Quantized(bits) => {
                let kl = match bits {
                    8.. => 0.02,
                    6..8 => 0.2,
                    5 => 0.6,
                    4 => 1.5,
                    _ => 4.0,
                };
                BundleLimits { nmse: None, kl, equal_codes: false, wave: 1e-2 }
            }
        }
    }
}

impl std::fmt::Display for Exactness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exactness::F32 => f.write_str("f32"),
            Exactness::Half(dtype) => write!(f, "{dtype}"),
            Exactness::Quantized(bits) => write!(f, "{bits}-bit"),
        }
    }
}
