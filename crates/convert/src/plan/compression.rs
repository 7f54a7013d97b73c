//! The compression of the weights of a Core ML package: the schemes, the tensors that they apply to, and why the others are
//! left as they are.

use std::fmt;
use std::str::FromStr;

use mert_arch::{Dtype, Role, StoredDtype, StoredTensor, TensorSpec};
use serde::Serialize;

use crate::transform::{CodeType, LinearQuantize, Palettize, Transform};
use crate::{ConvertError, Result};

/// The number of values up to which a weight is left as it is: coremltools' `weight_threshold`.
pub(super) const WEIGHT_THRESHOLD: usize = 2048;

/// The number of scales from which on they are in the file of weights, where the codes are. A linear layer of fewer outputs
/// is left as it is.
const FEWEST_SCALES: usize = 10;

/// The number of values in a block of four-bit codes, and coremltools' default.
const DEFAULT_BLOCK: usize = 32;

/// A form of compressed weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionScheme {
    /// Codes with a scale for each output channel or block, as coremltools' `linear_quantize_weights` makes them.
    Linear(CodeType),
    /// Indices of this many bits into a table of values, as its `palettize_weights` in the mode `kmeans` makes them.
    Palettize(usize),
}

impl CompressionScheme {
    /// Every scheme.
    pub const ALL: [CompressionScheme; 7] = [
        CompressionScheme::Linear(CodeType::Int8),
        CompressionScheme::Linear(CodeType::Uint8),
        CompressionScheme::Linear(CodeType::Int4),
        CompressionScheme::Linear(CodeType::Uint4),
        CompressionScheme::Palettize(8),
        CompressionScheme::Palettize(6),
        CompressionScheme::Palettize(4),
    ];

    /// The name used on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            CompressionScheme::Linear(codes) => codes.name(),
            CompressionScheme::Palettize(4) => "palettize4",
            CompressionScheme::Palettize(6) => "palettize6",
            CompressionScheme::Palettize(_) => "palettize8",
        }
    }
}

impl FromStr for CompressionScheme {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        CompressionScheme::ALL.into_iter().find(|scheme| scheme.name() == text).ok_or_else(|| {
            let names: Vec<&str> = CompressionScheme::ALL.iter().map(|scheme| scheme.name()).collect();
            format!("unknown compression `{text}`: expected {}", names.join(", "))
        })
    }
}

/// The compression of the linear layers of a Core ML package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// The scheme.
    pub scheme: CompressionScheme,
    /// The number of values of a row that share a scale; `None` for whole rows.
    pub block_size: Option<usize>,
}

impl Compression {
    /// A scheme with the given block size, or its default: 32 for codes of four bits, otherwise whole rows.
    ///
    /// # Errors
    /// [`ConvertError::CoreMl`] for a block size with palettes, or one below 2.
    pub fn new(scheme: CompressionScheme, block_size: Option<usize>) -> Result<Self> {
        let default = match scheme {
            CompressionScheme::Linear(codes) if codes.bits() == 4 => Some(DEFAULT_BLOCK),
            _ => None,
        };
        if block_size.is_some() && matches!(scheme, CompressionScheme::Palettize(_)) {
            let reason = "--block-size is for int8, uint8, int4 and uint4; a palette is of a whole weight";
            return Err(ConvertError::core_ml(reason));
        }
        if block_size.is_some_and(|size| size < 2) {
            return Err(ConvertError::core_ml("a block of --block-size has at least 2 values"));
        }
        Ok(Compression { scheme, block_size: block_size.or(default) })
    }

    /// The transform of a weight, or the reason why it is left in half precision.
    pub(super) fn of_tensor(self, spec: &TensorSpec) -> Result<Transform, String> {
        let what = match spec.role {
            Role::Linear => None,
            Role::Conv1d | Role::PositionalConv => Some("a convolution"),
            Role::Embedding => Some("an embedding"),
            Role::NormWeight | Role::NormBias => Some("a norm"),
            Role::Statistic => Some("a statistic of a norm"),
            Role::Bias => Some("a bias"),
            Role::Gate => Some("a gate"),
        };
        if let Some(what) = what {
            return Err(what.into());
        }
        let (values, row) = (spec.shape.iter().product::<usize>(), spec.shape.iter().skip(1).product::<usize>());
        if values <= WEIGHT_THRESHOLD {
            return Err(format!("it has {values} values, not more than {WEIGHT_THRESHOLD}"));
        }
        let codes = match self.scheme {
            CompressionScheme::Palettize(bits) => return Ok(Transform::Palettize(Palettize { bits })),
            CompressionScheme::Linear(codes) => codes,
        };
        let block = self.block_size.unwrap_or(row);
        if !row.is_multiple_of(block) {
            return Err(format!("its last axis, {row}, is not a multiple of the block size {block}"));
        }
        if values / block < FEWEST_SCALES {
            return Err(format!("it has {} scales, fewer than {FEWEST_SCALES}", values / block));
        }
        Ok(Transform::LinearQuantize(LinearQuantize { codes, block }))
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.scheme, self.block_size) {
            (CompressionScheme::Palettize(bits), _) => write!(f, "{bits}-bit palettes"),
            (CompressionScheme::Linear(codes), None) => write!(f, "{} per channel", codes.name()),
            (CompressionScheme::Linear(codes), Some(size)) => write!(f, "{} in blocks of {size}", codes.name()),
        }
    }
}

impl Serialize for Compression {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Refuses a compression of weights that are not in half precision.
pub(super) fn check_dtype(dtype: Dtype) -> Result<()> {
    if dtype == Dtype::F16 {
        return Ok(());
    }
    Err(ConvertError::core_ml(format!("--compress takes weights in half precision, not {dtype}; leave --dtype out")))
}

/// The tensors that store a compressed weight of `values` values: packed bytes, then f16.
pub(super) fn stored_tensors(name: &str, values: usize, transform: &Transform) -> Vec<StoredTensor> {
    let part = |part: &str, shape, dtype| StoredTensor { name: format!("{name}{part}"), shape: vec![shape], dtype };
    match transform {
        Transform::LinearQuantize(LinearQuantize { codes, block }) => {
            let packed = |count: usize| (count * codes.bits()).div_ceil(8);
            let mut stored =
                vec![part("", packed(values), StoredDtype::U8), part(".scales", values / block, StoredDtype::F16)];
            stored.extend(codes.has_offset().then(|| part(".offsets", packed(values / block), StoredDtype::U8)));
            stored
        }
        Transform::Palettize(Palettize { bits }) => {
            vec![part("", (values * bits).div_ceil(8), StoredDtype::U8), part(".palette", 1 << bits, StoredDtype::F16)]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mert_arch::{Config, inventory};

    use super::*;

    fn compression(scheme: &str, block_size: Option<usize>) -> Compression {
        Compression::new(scheme.parse().unwrap(), block_size).unwrap()
    }

    #[test]
    fn schemes_have_names_and_defaults() {
        for scheme in CompressionScheme::ALL {
            assert_eq!(scheme.name().parse(), Ok(scheme));
        }
        assert!("int3".parse::<CompressionScheme>().unwrap_err().contains("expected int8, uint8, int4"));
        let named = |scheme, size| compression(scheme, size).to_string();
        assert_eq!(named("int8", None), "int8 per channel");
        assert_eq!(named("uint4", None), "uint4 in blocks of 32");
        assert_eq!(named("int8", Some(64)), "int8 in blocks of 64");
        assert_eq!(named("palettize6", None), "6-bit palettes");
        assert!(Compression::new(CompressionScheme::Palettize(4), Some(32)).is_err());
        assert!(Compression::new(CompressionScheme::Linear(CodeType::Int4), Some(1)).is_err());
    }

    #[test]
    fn every_large_linear_layer_is_compressed_and_nothing_else() {
        let specs = inventory(&Config::mert_v1_95m());
        for scheme in CompressionScheme::ALL {
            let chosen = specs.iter().map(|spec| Compression::new(scheme, None).unwrap().of_tensor(spec));
            let (compressed, left): (Vec<_>, Vec<_>) = chosen.partition(Result::is_ok);
            assert_eq!(compressed.len(), 12 * 6 + 1);
            let reasons: BTreeSet<String> = left.into_iter().filter_map(Result::err).collect();
            let reasons: Vec<&str> = reasons.iter().map(String::as_str).collect();
            assert_eq!(reasons, ["a bias", "a convolution", "a norm"]);
        }
        let linear =
            |shape: &[usize]| TensorSpec { name: "x.weight".into(), shape: shape.to_vec(), role: Role::Linear };
        let reason = |scheme, shape: &[usize]| compression(scheme, None).of_tensor(&linear(shape)).unwrap_err();
        assert_eq!(reason("int8", &[32, 64]), "it has 2048 values, not more than 2048");
        assert_eq!(reason("int4", &[100, 100]), "its last axis, 100, is not a multiple of the block size 32");
        assert_eq!(reason("int8", &[8, 1000]), "it has 8 scales, fewer than 10");
    }
}
