//! Packed whole numbers, in the file of weights or in the program.

use crate::candidate::coreml::blob::BlobFile;
use crate::candidate::coreml::proto::{self, Values};
use crate::candidate::coreml::types::{Code, Type};
use crate::candidate::coreml::value::check_file_name;

/// A tensor of whole numbers of at most eight bits.
#[derive(Debug)]
pub(super) struct Codes {
    pub(super) code: Code,
    /// Row-major.
    pub(super) values: Vec<i16>,
    pub(super) dims: Vec<usize>,
}

impl Codes {
    /// Decodes a value of a type that was declared for it.
    pub(super) fn decode(
        value: &proto::Value,
        code: Code,
        declared: &Type,
        blobs: &mut BlobFile,
    ) -> Result<Self, String> {
        let count = declared.count()?;
        let bytes = match (&value.immediate, &value.blob_file) {
            (None, Some(blob)) => {
                check_file_name(blob)?;
                blobs.read_packed(blob.offset, code, declared)?
            }
            (Some(immediate), None) => match immediate.tensor.as_ref().and_then(|tensor| tensor.values.as_ref()) {
                Some(Values::Bytes(bytes)) => &bytes.values,
                _ => return Err("its values are not in bytes".into()),
            },
            _ => return Err("it has neither an immediate value nor one in a file, or both".into()),
        };
        let values = unpack(bytes, code, count).ok_or_else(|| {
            format!("it has {} bytes, which do not hold {count} of {} bits and zeros", bytes.len(), code.bits())
        })?;
        Ok(Codes { code, values, dims: declared.extents() })
    }

    /// Reads bytes as packed numbers of another type, of a tensor of these extents.
    pub(super) fn repacked(&self, code: Code, dims: &[usize]) -> Result<Self, String> {
        let count = dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
        let bytes: Vec<u8> = self.values.iter().map(|&byte| byte as u8).collect();
        let values = count.and_then(|count| unpack(&bytes, code, count));
        let values = values.ok_or_else(|| {
            format!("it has {} bytes, which do not hold the {}-bit indices of shape {dims:?}", bytes.len(), code.bits())
        })?;
        Ok(Codes { code, values, dims: dims.to_vec() })
    }
}

/// Reads `count` numbers from a stream of bits that starts at the lowest bit of each byte, and ends with zeros. `None` if the
/// bytes are more or fewer than they take, or do not end with zeros.
fn unpack(bytes: &[u8], code: Code, count: usize) -> Option<Vec<i16>> {
    let bits = code.bits();
    if bits > 8 || bytes.len() != (count.checked_mul(bits)?).div_ceil(8) {
        return None;
    }
    let mask = (1u16 << bits) - 1;
    let number = |i: usize| {
        let (byte, shift) = (i * bits / 8, i * bits % 8);
        let next = bytes.get(byte + 1).copied().unwrap_or_default();
        let unsigned = (u16::from_le_bytes([bytes[byte], next]) >> shift & mask) as i16;
        // The highest bit of a signed number counts as negative.
        if code.is_signed() && unsigned >> (bits - 1) == 1 { unsigned - (1 << bits) } else { unsigned }
    };
    let used = count * bits % 8;
    let filled = used == 0 || bytes.last().is_some_and(|last| last >> used == 0);
    filled.then(|| (0..count).map(number).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_width() {
        // Apple's example of packed indices: i0 = 0, i1 = 3, i2 = 2, i3 = 1, and i4 = 3 in the next byte.
        assert_eq!(unpack(&[0b0110_1100, 0b11], Code::U2, 5).unwrap(), [0, 3, 2, 1, 3]);
        assert_eq!(unpack(&[0xf1, 0x0e], Code::U4, 3).unwrap(), [1, 15, 14]);
        assert_eq!(unpack(&[0xf1, 0x08], Code::I4, 3).unwrap(), [1, -1, -8]);
        assert_eq!(unpack(&[0xff, 0x80, 0x7f], Code::I8, 3).unwrap(), [-1, -128, 127]);
        assert_eq!(unpack(&[0xff, 0x80], Code::U8, 2).unwrap(), [255, 128]);
        assert_eq!(unpack(&[0b1010_0001, 0b0100_1100, 0b1010_1001], Code::U6, 4).unwrap(), [33, 50, 20, 42]);
        assert_eq!(unpack(&[0b0011_1001, 0b1010], Code::U3, 4).unwrap(), [1, 7, 0, 5]);
        assert_eq!(unpack(&[0b101], Code::U1, 3).unwrap(), [1, 0, 1]);
        // Too few, too many, and bits after the last.
        assert!(unpack(&[0x11], Code::U4, 3).is_none());
        assert!(unpack(&[0x11, 0x11], Code::U4, 2).is_none());
        assert!(unpack(&[0x11, 0x11], Code::U4, 3).is_none());
    }
}
