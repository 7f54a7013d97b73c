//! Quantized weights as data: the modes, the element counts that follow from bits and group size, and the field of
//! `config.json` that describes a model's. How codes are computed and decoded is not here.

mod config;
mod mode;

use serde::Serialize;

pub use self::config::QuantizationConfig;
pub use self::mode::QuantizationMode;

/// The quantization of one weight, in the terms of MLX
/// ([`mx.quantize`](https://ml-explore.github.io/mlx/build/html/python/_autosummary/mlx.core.quantize.html)).
///
/// A row of the weight is split into groups. Each group has a scale and, in the mode `affine`, a bias; each value has a code
/// of some bits.
///
/// ```
/// use mert_arch::{Quantization, QuantizationMode};
///
/// let quantization = Quantization::new(QuantizationMode::Affine, 4, 64)?;
/// assert_eq!((quantization.packed_columns(768), quantization.groups(768)), (96, 12));
/// assert!(quantization.check_inputs(800).is_err());
/// assert!(Quantization::new(QuantizationMode::Affine, 7, 64).is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Quantization {
    /// The number of values that share a scale, along the last axis.
    pub group_size: usize,
    /// The number of bits of a code.
    pub bits: usize,
    /// The meaning of codes and scales.
    pub mode: QuantizationMode,
}

impl Quantization {
    /// The number of bits of a word of packed codes.
    pub const WORD_BITS: usize = 32;

    /// Checks that MLX has this combination.
    ///
    /// # Errors
    /// The values that the mode accepts.
    pub fn new(mode: QuantizationMode, bits: usize, group_size: usize) -> Result<Self, String> {
        if !mode.bits().contains(&bits) {
            return Err(format!("mode {mode} has no {bits} bits: expected {}", alternatives(mode.bits())));
        }
        if !mode.group_sizes().contains(&group_size) {
            let expected = alternatives(mode.group_sizes());
            return Err(format!("mode {mode} has no groups of {group_size}: expected {expected}"));
        }
        Ok(Quantization { group_size, bits, mode })
    }

    /// The number of 32-bit words that hold the codes of a row of `inputs` values.
    pub const fn packed_columns(&self, inputs: usize) -> usize {
        inputs * self.bits / Quantization::WORD_BITS
    }

    /// The number of groups of a row of `inputs` values.
    pub const fn groups(&self, inputs: usize) -> usize {
        inputs / self.group_size
    }

    /// Whether each group has a bias beside its scale.
    pub const fn has_biases(&self) -> bool {
        matches!(self.mode, QuantizationMode::Affine)
    }

    /// Checks that a row of `inputs` values is a whole number of groups.
    ///
    /// # Errors
    /// The reason why such a row cannot be quantized, as a clause.
    pub fn check_inputs(&self, inputs: usize) -> Result<(), String> {
        if inputs > 0 && inputs.is_multiple_of(self.group_size) {
            return Ok(());
        }
        Err(format!("its last axis, {inputs}, is not a multiple of the group size {}", self.group_size))
    }

    /// The number of bits that a weight takes, its share of scale and bias of `float_bits` each included.
    pub fn bits_per_weight(&self, float_bits: usize) -> f64 {
        let per_group = match self.mode {
            QuantizationMode::Affine => 2 * float_bits,
            QuantizationMode::Mxfp4 | QuantizationMode::Mxfp8 | QuantizationMode::Nvfp4 => 8,
        };
        self.bits as f64 + per_group as f64 / self.group_size as f64
    }
}

impl std::fmt::Display for Quantization {
    /// Formats as `4-bit g64`, or `mxfp4 g32` for a mode with one number of bits.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = match self.mode {
            QuantizationMode::Affine => format!("{}-bit g{}", self.bits, self.group_size),
            mode => format!("{mode} g{}", self.group_size),
        };
        f.pad(&text)
    }
}

/// A list of numbers: "2, 3 or 4".
fn alternatives(numbers: &[usize]) -> String {
    let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
    match &numbers[..] {
        [all @ .., last] if !all.is_empty() => format!("{} or {last}", all.join(", ")),
        _ => numbers.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_have_the_combinations_of_mlx() {
        let accepted = |mode: QuantizationMode| {
            let all =
                [1, 2, 3, 4, 5, 6, 7, 8, 16].into_iter().flat_map(|bits| [8, 16, 32, 64, 128, 256].map(|g| (bits, g)));
            all.filter(|&(bits, group)| Quantization::new(mode, bits, group).is_ok()).count()
        };
        assert_eq!(QuantizationMode::ALL.map(accepted), [6 * 3, 1, 1, 1]);
        for mode in QuantizationMode::ALL {
            let default = mode.default_quantization();
            assert_eq!(Quantization::new(mode, default.bits, default.group_size), Ok(default));
        }
        let reason = Quantization::new(QuantizationMode::Affine, 7, 64).unwrap_err();
        assert!(reason.contains("2, 3, 4, 5, 6 or 8"), "{reason}");
        let reason = Quantization::new(QuantizationMode::Nvfp4, 4, 64).unwrap_err();
        assert!(reason.ends_with("expected 16"), "{reason}");
    }

    /// MERT's widths are multiples of 32, so that three- and five-bit codes fill whole words, too.
    #[test]
    fn counts_of_a_row() {
        let row = |bits, group, inputs| {
            let quantization = Quantization::new(QuantizationMode::Affine, bits, group).unwrap();
            (quantization.packed_columns(inputs), quantization.groups(inputs), quantization.bits_per_weight(16))
        };
        assert_eq!(row(4, 64, 768), (96, 12, 4.5));
        assert_eq!(row(3, 32, 768), (72, 24, 4.0));
        assert_eq!(row(5, 128, 3072), (480, 24, 5.25));
        assert_eq!(row(8, 64, 512), (128, 8, 8.5));
        let mxfp4 = QuantizationMode::Mxfp4.default_quantization();
        assert_eq!((mxfp4.bits_per_weight(16), mxfp4.has_biases()), (4.25, false));
        assert_eq!((mxfp4.to_string(), row(2, 32, 32).0), ("mxfp4 g32".into(), 2));
    }
}
