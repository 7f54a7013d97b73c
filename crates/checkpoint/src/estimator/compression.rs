//! The compressors of joblib, recognised by the first bytes of a file.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};

use super::EstimatorError;

/// The limit on decompressed data: a thousand million bytes is a vocabulary of 100,000 centres of 1,280 values in f64.
const LIMIT: usize = 1 << 30;

/// The first bytes of what joblib's compressors write.
const COMPRESSORS: [(&[u8], &str); 5] = [
    (b"BZh", "bz2"),
    (b"\xfd7zXZ", "xz"),
    (b"\x5d\x00", "lzma"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
];

/// The bytes of a file that joblib may have compressed with zlib or gzip; others are borrowed. `file` is its name, for a
/// message.
///
/// # Errors
/// [`EstimatorError`]: another compressor, damaged data, or more than 1 GiB of it.
pub fn decompress<'a>(bytes: &'a [u8], file: &str) -> Result<Cow<'a, [u8]>, EstimatorError> {
    if let Some((_, compressor)) = COMPRESSORS.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Err(EstimatorError::Compressor { compressor, file: file.to_string() });
    }
    match bytes {
        // The container of joblib before 0.10.
        [b'Z', b'F', b'0', b'x', ..] => Err(EstimatorError::OldJoblib),
        [0x1f, 0x8b, ..] => read(MultiGzDecoder::new(bytes), "gzip").map(Cow::Owned),
        [0x78, second, ..] if (0x7800 + u16::from(*second)) % 31 == 0 => {
            read(ZlibDecoder::new(bytes), "zlib").map(Cow::Owned)
        }
        _ => Ok(Cow::Borrowed(bytes)),
    }
}

fn read(decoder: impl Read, compressor: &'static str) -> Result<Vec<u8>, EstimatorError> {
    let mut decompressed = Vec::new();
    let limited = decoder.take(LIMIT as u64 + 1).read_to_end(&mut decompressed);
    limited.map_err(|error| EstimatorError::Compressed { compressor, reason: error.to_string() })?;
    if decompressed.len() > LIMIT {
        return Err(EstimatorError::TooLarge { limit: LIMIT });
    }
    Ok(decompressed)
}
