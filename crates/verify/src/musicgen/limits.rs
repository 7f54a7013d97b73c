//! The limits of the gate of bundles.
//!
//! | what | limit | reason |
//! |---|---|---|
//! | states and logits, f32 weights | NMSE 1e-9 | two orders of f32 sums differ by 1e-12 to 1e-11; the mildest planted defect is above 1e-4 |
//! | codec's samples | 1e-5 of the peak | the sums of 21 layers in another order; another padding is at 1e-2 and more, at the edges alone |
//! | codes and tokens, f32 weights | all equal | an argmax that differs without a tie is another model |
//! | logits, 16-bit weights | KL 1e-3, states NMSE 1e-4 | rounding to f16 measures 1e-8 to 1e-5, to bf16 64 times as much |
//! | what is read from floats alone in one step (`cond`, hidden state 0) | NMSE 1e-9, f16 1e-6, bf16 5e-5 | one rounding: half a unit in the last place of every value is 2.4e-7 in f16 and 1.5e-5 in bf16 as NMSE; measured are 1e-14, 4.5e-8 and 2.9e-6 |
//! | states before the first quantized layer | those of the float type | nothing quantized has touched them |
//! | logits, quantized weights | KL by bits | 1.5 times the worst that the fixtures measure against PyTorch or against their floats |
//! | states, quantized weights | NMSE by bits and layer | 1.3 to 2 times the worst that the fixtures measure in that layer; from the third layer on one limit |
//!
//! The fixtures measure, with scales of 16 bits in groups of 64 and in the worst row: at 8 bits KL 0.0045, states of the layers
//! 3.8e-4, 5.2e-4, 1.7e-3; at 6 bits 0.063, 4.4e-3, 6.9e-3, 0.016; at 5 bits 0.21, 0.021, 0.031, 0.060; at 4 bits 0.57, 0.083,
//! 0.11, 0.23; at 3 bits 1.4, 0.34, 0.41, 0.61. They are 64 wide with sharp attention, the worst case for few bits: a model that
//! is worse than they are needs `--max-kl`, and `--against` its floats, which judges every code and every float exactly.

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
    /// The largest NMSE of what is read from floats alone in one step: the projected text, and hidden state 0.
    pub direct: f64,
    /// The largest NMSE of states and logits, whatever the layer.
    pub states: f64,
    /// The largest NMSE of the states after one layer; those after more layers may have as many times as much, up to `states`.
    pub layer: f64,
    /// The largest mean KL divergence of the logits, in nats.
    pub kl: f64,
    /// Whether every code must be the reference's.
    pub equal_codes: bool,
    /// The largest difference of a sample, as a part of the largest sample.
    pub wave: f64,
}

impl BundleLimits {
    /// The largest NMSE of the states after `layers` layers, of which the first is quantized.
    pub fn after(&self, layers: usize) -> f64 {
        (self.layer * layers as f64).min(self.states)
    }

    /// The largest NMSE of the queries, keys and values of the input's codes in layer `layer`: the projection and
    /// `merge_linear` alone in the first, where the fixtures measure a seventh of what a layer makes, and a third more in each
    /// after it.
    pub fn prefix(&self, layer: usize) -> f64 {
        (self.layer * (0.15 + 0.35 * layer as f64)).min(self.states)
    }
}

impl Exactness {
    /// The limits for a model whose weights are stored so. Those of floats are the same in all layers.
    pub fn limits(self) -> BundleLimits {
        let everywhere = |direct, states, kl, equal_codes, wave| {
            // The first layer of a prefix has a part of `layer`, so that `states` is the limit everywhere.
            BundleLimits { direct, states, layer: states * 10.0, kl, equal_codes, wave }
        };
        match self {
            Exactness::F32 => everywhere(1e-9, 1e-9, 1e-6, true, 1e-5),
            Exactness::Half(Dtype::Bf16) => everywhere(5e-5, 1e-3, 1e-2, false, 5e-2),
            Exactness::Half(_) => everywhere(1e-6, 1e-4, 1e-3, false, 1e-2),
            Exactness::Quantized(bits) => {
                let (layer, states, kl) = match bits {
                    8.. => (8e-4, 3e-3, 0.007),
                    6..8 => (7e-3, 0.024, 0.1),
                    5 => (0.032, 0.09, 0.32),
                    4 => (0.12, 0.3, 0.85),
                    3 => (0.5, 0.9, 2.1),
                    // Beyond an NMSE of 1, zeros would be closer.
                    _ => (1.5, 1.0, 4.0),
                };
                BundleLimits { direct: states, states, layer, kl, equal_codes: false, wave: 1e-2 }
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
