//! The cast to another element type.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use mert_arch::Dtype;
use mert_checkpoint::SourceDtype;
use serde::{Serialize, Serializer};

use super::span::Span;
use crate::{ConvertError, Result};

/// Casts to another element type, rounding to nearest, ties to even (IEEE 754 roundTiesToEven).
///
/// A 16-bit source was widened exactly, so that a cast back to its own type restores its bits. A 64-bit source passes
/// through [`narrow`](super::narrow), so that it is rounded once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cast {
    /// The checkpoint's type.
    #[serde(serialize_with = "source_dtype_name")]
    pub from: SourceDtype,
    /// The output's type.
    pub to: Dtype,
}

fn source_dtype_name<S: Serializer>(dtype: &SourceDtype, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(dtype.name())
}

/// The number of elements converted at a time: with their result they stay in the first-level cache.
const BLOCK: usize = 4096;

impl Cast {
    /// Replaces `bytes` with the little-endian bytes of `values`, which are the output's `span`.
    ///
    /// # Errors
    /// [`ConvertError::Overflow`] if a value is not finite in the target's type. The caller checks whether it was finite
    /// before.
    pub fn apply(&self, span: Span<'_>, values: &[f32], bytes: &mut Vec<u8>) -> Result<()> {
        bytes.resize(values.len() * self.to.size(), 0);
        let finite = match self.to {
            Dtype::F32 => {
                for (word, value) in bytes.as_chunks_mut().0.iter_mut().zip(values) {
                    *word = value.to_le_bytes();
                }
                values.iter().fold(true, |finite, value| finite & value.is_finite())
            }
            Dtype::F16 => narrow::<f16>(values, bytes),
            Dtype::Bf16 => narrow::<bf16>(values, bytes),
        };
        if finite { Ok(()) } else { Err(self.overflow(span, values)) }
    }

    /// The error for the first value that is not finite after the cast.
    fn overflow(&self, span: Span<'_>, values: &[f32]) -> ConvertError {
        let finite = |value: f32| match self.to {
            Dtype::F16 => f16::from_f32(value).is_finite(),
            Dtype::Bf16 => bf16::from_f32(value).is_finite(),
            Dtype::F32 => value.is_finite(),
        };
        let position = values.iter().position(|&value| !finite(value)).unwrap_or_default();
        let value = f64::from(values.get(position).copied().unwrap_or_default());
        let max = match self.to {
            Dtype::F16 => f16::MAX.to_f32(),
            Dtype::Bf16 => bf16::MAX.to_f32(),
            Dtype::F32 => f32::MAX,
        };
        let (name, index) = (span.tensor.to_string(), span.index(position));
        ConvertError::Overflow { name, index, value, dtype: self.to, max }
    }
}

/// The operations of the two 16-bit types that [`narrow`] needs.
trait Half: Copy {
    const ZERO: Self;
    fn convert(from: &[f32], to: &mut [Self]);
    fn to_le_bytes(self) -> [u8; 2];
    fn is_finite(self) -> bool;
}

macro_rules! half {
    ($type:ty) => {
        impl Half for $type {
            const ZERO: Self = <$type>::ZERO;
            fn convert(from: &[f32], to: &mut [Self]) {
                to.convert_from_f32_slice(from);
            }
            fn to_le_bytes(self) -> [u8; 2] {
                <$type>::to_le_bytes(self)
            }
            fn is_finite(self) -> bool {
                <$type>::is_finite(self)
            }
        }
    };
}
half!(f16);
half!(bf16);

/// Stores the rounded values; `false` if one of them is not finite.
fn narrow<T: Half>(values: &[f32], bytes: &mut [u8]) -> bool {
    let mut block = [T::ZERO; BLOCK];
    let mut finite = true;
    for (chunk, out) in values.chunks(BLOCK).zip(bytes.as_chunks_mut::<2>().0.chunks_mut(BLOCK)) {
        let block = &mut block[..chunk.len()];
        T::convert(chunk, block);
        for (out, value) in out.iter_mut().zip(block.iter()) {
            *out = value.to_le_bytes();
            finite &= value.is_finite();
        }
    }
    finite
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cast(to: Dtype, values: &[f32]) -> Result<Vec<u8>> {
        let mut bytes = vec![1; 3];
        let span = Span { tensor: "t", shape: &[values.len()], start: 0 };
        Cast { from: SourceDtype::F32, to }.apply(span, values, &mut bytes)?;
        Ok(bytes)
    }

    /// Round to nearest even by definition: of the two neighbours on the grid of the type the nearer
    /// one, and on a tie the one with an even significand. `p` is the precision in bits, `emin` the
    /// exponent of the smallest normal number. Computed in f64, which holds all of it exactly.
    fn round_to_nearest_even(value: f32, p: i32, emin: i32) -> f64 {
        let value = f64::from(value);
        if value == 0.0 {
            return value;
        }
        let exponent = (value.abs().log2().floor() as i32).max(emin);
        // log2 may be off by one next to a power of two; the grid must not be coarser than the value's.
        let exponent = if value.abs() < 2f64.powi(exponent) && exponent > emin { exponent - 1 } else { exponent };
        let ulp = 2f64.powi(exponent - p + 1);
        (value / ulp).round_ties_even() * ulp
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn f16_is_round_to_nearest_even(negative in any::<bool>(), exponent in -30i32..15, fraction in 0u32..1 << 23) {
            // Every binade from where all rounds to zero, through the subnormals, to just below 2^15.
            let bits = u32::from(negative) << 31 | ((exponent + 127) as u32) << 23 | fraction;
            let value = f32::from_bits(bits);
            let bytes = cast(Dtype::F16, &[value]).unwrap();
            prop_assert_eq!(f16::from_le_bytes([bytes[0], bytes[1]]).to_f64(), round_to_nearest_even(value, 11, -14));
        }

        #[test]
        fn bf16_is_round_to_nearest_even(bits in any::<u32>()) {
            let value = f32::from_bits(bits);
            prop_assume!(value.is_finite() && value.abs() < 3.38e38);
            let bytes = cast(Dtype::Bf16, &[value]).unwrap();
            prop_assert_eq!(bf16::from_le_bytes([bytes[0], bytes[1]]).to_f64(), round_to_nearest_even(value, 8, -126));
        }

        #[test]
        fn f32_is_unchanged(bits in any::<u32>()) {
            let value = f32::from_bits(bits);
            prop_assume!(value.is_finite());
            prop_assert_eq!(cast(Dtype::F32, &[value]).unwrap(), bits.to_le_bytes());
        }
    }

    #[test]
    fn ties_go_to_even() {
        let ulp = 2f32.powi(-10);
        for (value, expected) in [(1.0 + ulp / 2.0, 1.0), (1.0 + 1.5 * ulp, 1.0 + 2.0 * ulp), (-0.0, -0.0)] {
            let bytes = cast(Dtype::F16, &[value]).unwrap();
            assert_eq!(f16::from_le_bytes([bytes[0], bytes[1]]).to_f32().to_bits(), f32::to_bits(expected));
        }
    }

    #[test]
    fn overflow_names_the_value() {
        let mut values = vec![1.0; BLOCK + 10];
        values[BLOCK + 3] = 65520.0; // the smallest f32 that rounds to infinity
        let error = cast(Dtype::F16, &values).unwrap_err();
        assert!(matches!(&error, ConvertError::Overflow { index, .. } if index[..] == [BLOCK + 3]), "{error}");
        values[BLOCK + 3] = 65519.99;
        assert!(cast(Dtype::F16, &values).is_ok());
        assert!(cast(Dtype::Bf16, &[f32::MAX]).is_err());
    }
}
