//! The location of a storage's bytes in a `torch.save` file, and the check of its checksum.

use std::ops::Range;
use std::sync::OnceLock;

use mert_fs::MappedFile;

/// The location of a storage's bytes.
#[derive(Debug)]
pub(super) enum StorageLocation {
    /// The storage lies uncompressed in the file.
    InPlace {
        bytes: Range<usize>,
        /// The container's checksum, if it has one.
        crc32: Option<u32>,
        /// Whether the whole storage matches its checksum, once checked.
        intact: OnceLock<bool>,
    },
    /// The storage is a compressed entry of an archive, by its index.
    Compressed { entry: usize, length: usize },
}

impl StorageLocation {
    pub(super) fn in_place(bytes: Range<usize>, crc32: Option<u32>) -> Self {
        StorageLocation::InPlace { bytes, crc32, intact: OnceLock::new() }
    }

    /// The storage's length in bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            StorageLocation::InPlace { bytes, .. } => bytes.len(),
            StorageLocation::Compressed { length, .. } => *length,
        }
    }
}

/// Checks a storage that lies in the file against its checksum. `part` holds bytes of it that have been read anyway: if
/// they are the whole storage, the file is not read again.
///
/// # Errors
/// A sentence about the storage.
pub(super) fn check_crc32(
    file: &MappedFile,
    bytes: &Range<usize>,
    crc32: Option<u32>,
    intact: &OnceLock<bool>,
    part: &[u8],
) -> Result<(), String> {
    let Some(crc32) = crc32 else { return Ok(()) };
    let is_intact = if part.len() == bytes.len() {
        crc32fast::hash(part) == crc32
    } else {
        // Many tensors may share the storage: it is checked once for all of them.
        *intact.get_or_init(|| {
            const PIECE: usize = 1 << 20;
            let mut hasher = crc32fast::Hasher::new();
            let mut start = bytes.start;
            while start < bytes.end {
                let end = bytes.end.min(start + PIECE);
                let Some(piece) = file.range(start..end) else { return false };
                hasher.update(&piece);
                start = end;
            }
            hasher.finalize() == crc32
        })
    };
    match is_intact {
        true => Ok(()),
        false => Err(format!("the checksum of bytes {} to {} is wrong", bytes.start, bytes.end)),
    }
}
