//! `.npy` files: the header that is written, and the values of arrays that are read.

use half::f16;
use mert_fs::check_npy_header;
use npyz::{DType, Endianness, NpyHeader, Order};

/// The length of a header: enough for any shape of two axes, so that it can be written again when the rows are counted.
pub(crate) const HEADER: usize = 128;

/// A header of version 1.0 (NEP 1) for an array in C order, of [`HEADER`] bytes.
pub(crate) fn header(dtype: &str, shape: &[usize]) -> Vec<u8> {
    let axes: Vec<String> = shape.iter().map(usize::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" };
    let dict = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({}{comma}), }}", axes.join(", "));
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&((HEADER - 10) as u16).to_le_bytes());
    bytes.extend_from_slice(dict.as_bytes());
    bytes.resize(HEADER - 1, b' ');
    bytes.push(b'\n');
    bytes
}

/// The values of an array, whatever its type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    /// True if the elements are integers.
    pub(crate) is_integer: bool,
    /// The values in row-major order. Integers beyond 2^53 are rounded.
    pub(crate) values: Vec<f64>,
}

/// Reads an array of numbers with one or two axes.
///
/// # Errors
/// A clause about the file.
pub(crate) fn read(bytes: &[u8]) -> Result<Array, String> {
    let mut rest = bytes;
    let header = check_npy_header(bytes).and_then(|()| NpyHeader::from_reader(&mut rest));
    let header = header.map_err(|error| format!("its header is invalid ({error})"))?;
    let axes = header.shape().iter().map(|&axis| usize::try_from(axis).ok()).collect::<Option<Vec<_>>>();
    let shape = axes.filter(|shape| matches!(shape.len(), 1 | 2));
    let shape = shape.ok_or_else(|| format!("its shape is {:?}, expected one or two axes", header.shape()))?;
    let DType::Plain(element) = header.dtype() else {
        return Err("its elements are structures, expected numbers".into());
    };
    let text = element.to_string();
    let size = usize::try_from(element.size_field()).unwrap_or(usize::MAX);
    let letter = text.trim_start_matches(['<', '>', '|', '=']).chars().next().unwrap_or(' ');
    let is_big_endian = element.endianness() == Endianness::Big;
    let convert: fn([u8; 8]) -> f64 = match (letter, size) {
        ('f', 8) => f64::from_le_bytes,
        ('f', 4) => |b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        ('f', 2) => |b| f16::from_le_bytes([b[0], b[1]]).to_f64(),
        ('i', 8) => |b| i64::from_le_bytes(b) as f64,
        ('i', 4) => |b| f64::from(i32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        ('i', 2) => |b| f64::from(i16::from_le_bytes([b[0], b[1]])),
        ('i', 1) => |b| f64::from(i8::from_le_bytes([b[0]])),
        ('u', 1 | 2 | 4 | 8) => |b| u64::from_le_bytes(b) as f64,
        _ => return Err(format!("its elements are {text}, expected f2, f4, f8 or integers")),
    };
    let length = shape.iter().try_fold(size, |bytes, &axis| bytes.checked_mul(axis));
    if length != Some(rest.len()) {
        return Err(format!("it has {} bytes behind its header for the shape {shape:?} of {text}", rest.len()));
    }
    let value = |element: &[u8]| {
        let mut wide = [0; 8];
        match is_big_endian {
            true => wide.iter_mut().zip(element.iter().rev()).for_each(|(to, from)| *to = *from),
            false => wide.iter_mut().zip(element).for_each(|(to, from)| *to = *from),
        }
        convert(wide)
    };
    let stored: Vec<f64> = rest.chunks_exact(size.max(1)).map(value).collect();
    let values = match (header.order(), &shape[..]) {
        (Order::Fortran, &[rows, columns]) => {
            let row = |row: usize| (0..columns).map(move |column| column * rows + row);
            (0..rows).flat_map(row).filter_map(|at| stored.get(at).copied()).collect()
        }
        _ => stored,
    };
    Ok(Array { shape, is_integer: letter != 'f', values })
}
