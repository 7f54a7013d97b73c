//! PyTorch's element types, by the names of its storage classes and dtypes.

use crate::dtype::SourceDtype;

/// PyTorch's element types: storage class without "Storage", dtype, `SourceDtype` name, size in bytes.
const DTYPES: [(&str, &str, &str, usize); 28] = [
    ("Double", "float64", "f64", 8),
    ("Float", "float32", "f32", 4),
    ("Half", "float16", "f16", 2),
    ("BFloat16", "bfloat16", "bf16", 2),
    ("Long", "int64", "i64", 8),
    ("Int", "int32", "i32", 4),
    ("Short", "int16", "i16", 2),
    ("Char", "int8", "i8", 1),
    ("Byte", "uint8", "u8", 1),
    ("Bool", "bool", "bool", 1),
    ("ComplexDouble", "complex128", "complex128", 16),
    ("ComplexFloat", "complex64", "complex64", 8),
    ("ComplexHalf", "complex32", "complex32", 4),
    ("QInt8", "qint8", "qint8", 1),
    ("QUInt8", "quint8", "quint8", 1),
    ("QInt32", "qint32", "qint32", 4),
    ("QUInt4x2", "quint4x2", "quint4x2", 1),
    ("QUInt2x4", "quint2x4", "quint2x4", 1),
    ("Untyped", "untyped", "untyped", 1),
    ("-", "uint16", "u16", 2),
    ("-", "uint32", "u32", 4),
    ("-", "uint64", "u64", 8),
    ("-", "float8_e4m3fn", "f8_e4m3", 1),
    ("-", "float8_e5m2", "f8_e5m2", 1),
    ("-", "float8_e4m3fnuz", "f8_e4m3fnuz", 1),
    ("-", "float8_e5m2fnuz", "f8_e5m2fnuz", 1),
    ("-", "float8_e8m0fnu", "f8_e8m0", 1),
    ("-", "float4_e2m1fn_x2", "f4_e2m1", 1),
];

/// The dtype of a storage class such as `FloatStorage`, and the size of its elements in bytes.
pub(super) fn of_storage_class(class: &str) -> Option<(SourceDtype, usize)> {
    let name = class.strip_suffix("Storage")?;
    let (_, _, dtype, size) = DTYPES.iter().find(|(class, ..)| *class == name)?;
    Some((SourceDtype::named(dtype), *size))
}

/// The dtype `torch.NAME`, and the size of its elements in bytes: 0 for an unknown one.
pub(super) fn of_torch_dtype(dtype: &str) -> (SourceDtype, usize) {
    let name = dtype.strip_prefix("torch.").unwrap_or(dtype);
    match DTYPES.iter().find(|(_, dtype, ..)| *dtype == name) {
        Some((_, _, name, size)) => (SourceDtype::named(name), *size),
        None => (SourceDtype::named(name), 0),
    }
}
