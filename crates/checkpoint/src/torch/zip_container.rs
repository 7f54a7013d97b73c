//! The zip container of `torch.save` (since PyTorch 1.6): one pickle, and an entry for each storage.

use std::borrow::Cow;
use std::io::{self, Cursor, Read};
use std::ops::Range;

use mert_fs::MappedFile;
use zip::{CompressionMethod, ZipArchive};

use super::archive::open_archive;
use super::storages::StorageLocation;

/// A zip container: its pickle, and its storages by key.
pub(super) struct ZipContainer<'a> {
    archive: ZipArchive<Cursor<&'a [u8]>>,
    /// The prefix of `data.pkl` in entry names.
    root: String,
    /// The archive's `data.pkl`, borrowed from the file unless it is compressed.
    pub(super) pickle: Cow<'a, [u8]>,
    /// Whether the storages are big-endian.
    pub(super) big_endian: bool,
}

/// The largest pickle that is decompressed, in bytes.
const MAX_PICKLE: u64 = 64 << 20;

impl<'a> ZipContainer<'a> {
    /// Opens an archive written by `torch.save`.
    ///
    /// # Errors
    /// A sentence about the file.
    pub(super) fn open(file: &'a [u8]) -> Result<Self, String> {
        let mut archive = open_archive(Cursor::new(file)).map_err(|e| format!("its zip archive: {e}"))?;
        let names: Vec<_> = archive.file_names().flatten().map(Cow::into_owned).collect();
        let roots = names.iter().filter_map(|name| name.strip_suffix("data.pkl"));
        let root = roots.filter(|root| root.is_empty() || root.ends_with('/')).min_by_key(|root| root.len());
        let root = root.ok_or("it is a zip archive without a data.pkl")?.to_string();
        let entry = archive.index_for_name(&format!("{root}data.pkl")).ok_or("its data.pkl cannot be found")?;
        let pickle = read_entry(&mut archive, file, entry).map_err(|e| format!("its data.pkl: {e}"))?;
        let big_endian = match archive.index_for_name(&format!("{root}byteorder")) {
            None => false,
            Some(entry) => {
                let order = read_entry(&mut archive, file, entry).map_err(|e| format!("its byteorder record: {e}"))?;
                match &order[..] {
                    b"little" => false,
                    b"big" => true,
                    other => {
                        let other = String::from_utf8_lossy(&other[..other.len().min(20)]).into_owned();
                        return Err(format!("its byteorder record is {other:?}, expected little or big"));
                    }
                }
            }
        };
        Ok(ZipContainer { archive, root, pickle, big_endian })
    }

    /// The location of a storage.
    ///
    /// # Errors
    /// A sentence about the storage.
    pub(super) fn storage(&mut self, key: &str) -> Result<StorageLocation, String> {
        let name = format!("{}data/{key}", self.root);
        let index = self.archive.index_for_name(&name).ok_or_else(|| format!("`{name}` is not in the archive"))?;
        let entry = self.archive.by_index_raw(index).map_err(|e| format!("`{name}`: {e}"))?;
        if entry.encrypted() {
            return Err(format!("`{name}` is encrypted"));
        }
        let length = usize::try_from(entry.size()).map_err(|_| format!("`{name}` has {} bytes", entry.size()))?;
        if entry.compression() != CompressionMethod::Stored {
            return Ok(StorageLocation::Compressed { entry: index, length });
        }
        in_file(&entry)
            .map(|(bytes, crc32)| StorageLocation::in_place(bytes, crc32))
            .ok_or(format!("`{name}` is damaged"))
    }
}

/// The byte range and checksum of a stored entry; `torch.save` writes a checksum of 0 if configured not to compute it.
fn in_file<R: Read + ?Sized>(entry: &zip::read::ZipFile<'_, R>) -> Option<(Range<usize>, Option<u32>)> {
    let start = usize::try_from(entry.data_start()?).ok()?;
    let length = usize::try_from(entry.size()).ok().filter(|_| entry.size() == entry.compressed_size())?;
    Some((start..start.checked_add(length)?, Some(entry.crc32()).filter(|&crc32| crc32 != 0)))
}

/// The content of an entry, borrowed from the file unless it is compressed.
fn read_entry<'a>(
    archive: &mut ZipArchive<Cursor<&'a [u8]>>,
    file: &'a [u8],
    index: usize,
) -> io::Result<Cow<'a, [u8]>> {
    let raw = archive.by_index_raw(index).map_err(io::Error::other)?;
    if raw.compression() == CompressionMethod::Stored && !raw.encrypted() {
        let (bytes, crc32) = in_file(&raw).ok_or_else(|| invalid_data("it is damaged"))?;
        let bytes = file.get(bytes).ok_or(io::ErrorKind::UnexpectedEof)?;
        if crc32.is_some_and(|crc32| crc32fast::hash(bytes) != crc32) {
            return Err(invalid_data("its checksum is wrong"));
        }
        return Ok(Cow::Borrowed(bytes));
    }
    drop(raw);
    let mut bytes = Vec::new();
    archive.by_index(index).map_err(io::Error::other)?.take(MAX_PICKLE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_PICKLE {
        let reason = format!(
            "it is compressed and has more than {} MiB, which is not read; save the model alone with \
             torch.save(model.state_dict(), PATH)",
            MAX_PICKLE >> 20
        );
        return Err(invalid_data(reason));
    }
    Ok(Cow::Owned(bytes))
}

fn invalid_data(reason: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.into())
}

/// Decompresses one storage of the length that the archive's directory states.
///
/// # Errors
/// A sentence about the storage.
pub(super) fn decompress(file: &MappedFile, entry: usize, length: usize) -> Result<Vec<u8>, String> {
    let mut archive = open_archive(Cursor::new(file.bytes())).map_err(|e| e.to_string())?;
    let entry = archive.by_index(entry).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    // One extra byte detects a longer entry; reading to the end makes the reader check the checksum.
    entry.take(length as u64 + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    match bytes.len() == length {
        true => Ok(bytes),
        false => Err("its compressed storage does not have the stated length".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_compressed_pickle_beyond_the_limit_is_refused() {
        let mut file = Cursor::new(Vec::new());
        let mut writer = zip::ZipWriter::new(&mut file);
        let options = zip::write::SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        writer.start_file("archive/data.pkl", options).unwrap();
        let zeros = vec![0; 1 << 20];
        (0..=MAX_PICKLE >> 20).for_each(|_| writer.write_all(&zeros).unwrap());
        writer.finish().unwrap();
        let reason = ZipContainer::open(file.get_ref()).err().unwrap();
        assert!(reason.contains("more than 64 MiB") && reason.contains("state_dict()"), "{reason}");
    }
}
