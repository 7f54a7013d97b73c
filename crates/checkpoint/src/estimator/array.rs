//! numpy arrays in a pickle, and their values in row-major order.

use std::borrow::Cow;

use half::f16;

use super::EstimatorError;
use crate::pickle::{ElementType, Value};

/// A numpy array in a pickle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumpyArray<'a> {
    element: ElementType,
    shape: Vec<usize>,
    is_fortran: bool,
    bytes: Option<Cow<'a, [u8]>>,
}

impl<'a> NumpyArray<'a> {
    /// An array whose bytes are the value `bytes`.
    pub(super) fn new(
        element: ElementType,
        shape: Vec<usize>,
        is_fortran: bool,
        bytes: &Value<'a>,
    ) -> Option<NumpyArray<'a>> {
        let bytes = match *bytes {
            Value::Bytes(bytes) | Value::ByteArray(bytes) => Some(Cow::Borrowed(bytes)),
            Value::Latin1(text) => {
                Some(Cow::Owned(text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<_>>()?))
            }
            Value::EscapedLatin1(text) => Some(Cow::Owned(unescape(text)?)),
            _ => None,
        };
        Some(NumpyArray { element, shape, is_fortran, bytes })
    }

    /// The extents of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// numpy's name of the element type, such as `<f8`.
    pub fn dtype(&self) -> String {
        let ElementType { kind, size, is_big_endian } = self.element;
        let order = match size {
            0 | 1 => '|',
            _ if is_big_endian => '>',
            _ => '<',
        };
        format!("{order}{}{size}", char::from(kind))
    }

    /// The values in row-major order.
    ///
    /// # Errors
    /// [`EstimatorError::Array`] if the elements are not numbers, or their bytes do not fill the shape.
    pub fn values(&self) -> Result<Vec<f64>, EstimatorError> {
        let error = |found: String| EstimatorError::Array {
            name: "the array".into(),
            expected: "numbers (f2, f4, f8, i1 to i8, u1 to u8 or bool) that fill its shape",
            found,
        };
        let ElementType { kind, size, is_big_endian } = self.element;
        let convert: fn([u8; 8]) -> f64 = match (kind, size) {
            (b'f', 8) => f64::from_le_bytes,
            (b'f', 4) => |b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            (b'f', 2) => |b| f16::from_le_bytes([b[0], b[1]]).to_f64(),
            (b'i', 8) => |b| i64::from_le_bytes(b) as f64,
            (b'i', 4) => |b| f64::from(i32::from_le_bytes([b[0], b[1], b[2], b[3]])),
            (b'i', 2) => |b| f64::from(i16::from_le_bytes([b[0], b[1]])),
            (b'i', 1) => |b| f64::from(i8::from_le_bytes([b[0]])),
            (b'u', 1 | 2 | 4 | 8) => |b| u64::from_le_bytes(b) as f64,
            (b'b', 1) => |b| f64::from(u8::from(b[0] != 0)),
            _ => return Err(error(format!("the type {}", self.dtype()))),
        };
        let bytes = self.bytes.as_deref().ok_or_else(|| error("an unknown form".into()))?;
        let length = self.shape.iter().try_fold(size, |bytes, &extent| bytes.checked_mul(extent));
        if length != Some(bytes.len()) {
            return Err(error(format!("{} bytes for the shape {:?}", bytes.len(), self.shape)));
        }
        let value = |element: &[u8]| {
            let mut wide = [0; 8];
            wide.iter_mut().zip(element).for_each(|(to, from)| *to = *from);
            if is_big_endian {
                wide.iter_mut().zip(element.iter().rev()).for_each(|(to, from)| *to = *from);
            }
            convert(wide)
        };
        let stored: Vec<f64> = bytes.chunks_exact(size).map(value).collect();
        match (&self.shape[..], self.is_fortran) {
            (&[rows, columns], true) => {
                let column = |row: usize| (0..columns).map(move |column| column * rows + row);
                Ok((0..rows).flat_map(column).filter_map(|at| stored.get(at).copied()).collect())
            }
            (shape, true) if shape.len() > 2 => Err(error(format!("{} axes in Fortran order", shape.len()))),
            _ => Ok(stored),
        }
    }
}

/// The bytes of a string in `raw-unicode-escape`, all of whose characters are below 256; `None` if one is not.
fn unescape(line: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((&first, after)) = rest.split_first() {
        // A backslash that is not followed by `u` or `U` is itself; Python escapes those that would be ambiguous.
        let digits = match (first, after.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                bytes.push(first);
                rest = after;
                continue;
            }
        };
        let number = std::str::from_utf8(after.get(1..=digits)?).ok()?;
        bytes.push(u8::try_from(u32::from_str_radix(number, 16).ok()?).ok()?);
        rest = after.get(digits + 1..)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::estimator::PickledObjects;

    #[test]
    fn escapes_of_protocol_0() {
        assert_eq!(unescape(b"a\\u005cb\xe9\\u0000\\n"), Some(b"a\\b\xe9\0\\n".to_vec()));
        assert_eq!(unescape(b"\\u0100"), None);
        assert_eq!(unescape(b"\\u00"), None);
    }

    #[test]
    fn orders_and_endianness() {
        let element = ElementType { kind: b'i', size: 2, is_big_endian: true };
        let bytes = Value::Bytes(&[0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0xff, 0xfa]);
        let array = NumpyArray::new(element, vec![2, 3], true, &bytes).unwrap();
        assert_eq!(array.dtype(), ">i2");
        assert_eq!(array.values().unwrap(), [1.0, 3.0, 5.0, 2.0, 4.0, -6.0]);
        let short = NumpyArray::new(element, vec![2, 4], true, &bytes).unwrap();
        assert!(short.values().unwrap_err().to_string().contains("12 bytes for the shape [2, 4]"));
        let huge = NumpyArray::new(element, vec![usize::MAX, 4], true, &bytes).unwrap();
        assert!(huge.values().is_err());
    }

    /// A call of os.system is an object of that name, and nothing else.
    #[test]
    fn calls_are_inert() {
        let marker = std::env::temp_dir().join(format!("mert-estimator-{}", std::process::id()));
        let command = format!("touch {}", marker.display());
        let length = u8::try_from(command.len()).unwrap();
        let pickle = [&b"\x80\x02cposix\nsystem\nU"[..], &[length], command.as_bytes(), b"\x85R."].concat();
        let objects = PickledObjects::parse(&pickle).unwrap();
        assert_eq!(objects.root().python_type(), "posix.system");
        assert!(objects.root().array().is_none());
        assert!(!marker.exists());
    }
}
