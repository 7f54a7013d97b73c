//! Storages of `torch.save` files: entries of a zip archive, or consecutive ranges of a legacy file.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Cursor, Read};
use std::ops::Range;
use std::sync::OnceLock;

use zip::{CompressionMethod, ZipArchive};

use super::MappedFile;
use super::archive::open_archive;
use super::pickle::{Storage, Unpickler, Value};

/// The location of a storage's bytes.
#[derive(Debug)]
pub(super) enum Stored {
    /// Uncompressed in the file.
    InPlace {
        bytes: Range<usize>,
        /// The container's checksum, if it has one.
        crc32: Option<u32>,
        /// Whether the whole storage matches its checksum, once checked.
        intact: OnceLock<bool>,
    },
    /// A compressed entry of an archive, by its index.
    Compressed { entry: usize, length: usize },
}

impl Stored {
    fn in_place(bytes: Range<usize>, crc32: Option<u32>) -> Self {
        Stored::InPlace { bytes, crc32, intact: OnceLock::new() }
    }

    /// The length in bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            Stored::InPlace { bytes, .. } => bytes.len(),
            Stored::Compressed { length, .. } => *length,
        }
    }
}

/// Returns the range `part` of a storage's `bytes`, after checking the storage against its checksum.
pub(super) fn check(
    file: &MappedFile,
    bytes: &Range<usize>,
    crc32: Option<u32>,
    intact: &OnceLock<bool>,
    part: &[u8],
) -> io::Result<()> {
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
        false => {
            let reason = format!("the checksum of bytes {} to {} is wrong", bytes.start, bytes.end);
            Err(io::Error::new(io::ErrorKind::InvalidData, reason))
        }
    }
}

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

/// The longest pickle that is decompressed, in bytes.
const LONGEST_PICKLE: u64 = 64 << 20;

impl<'a> ZipContainer<'a> {
    /// Opens an archive written by `torch.save`. The error is a sentence about the file.
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

    /// The location of a storage. The error is a sentence about it.
    pub(super) fn storage(&mut self, key: &str) -> Result<Stored, String> {
        let name = format!("{}data/{key}", self.root);
        let index = self.archive.index_for_name(&name).ok_or_else(|| format!("`{name}` is not in the archive"))?;
        let entry = self.archive.by_index_raw(index).map_err(|e| format!("`{name}`: {e}"))?;
        if entry.encrypted() {
            return Err(format!("`{name}` is encrypted"));
        }
        let length = usize::try_from(entry.size()).map_err(|_| format!("`{name}` has {} bytes", entry.size()))?;
        if entry.compression() != CompressionMethod::Stored {
            return Ok(Stored::Compressed { entry: index, length });
        }
        in_file(&entry).map(|(bytes, crc32)| Stored::in_place(bytes, crc32)).ok_or(format!("`{name}` is damaged"))
    }
}

/// The byte range and checksum of a stored entry; `torch.save` writes a checksum of 0 if configured not to compute it.
fn in_file<R: Read + ?Sized>(entry: &zip::read::ZipFile<'_, R>) -> Option<(Range<usize>, Option<u32>)> {
    let start = usize::try_from(entry.data_start()?).ok()?;
    let length = usize::try_from(entry.size()).ok().filter(|_| entry.size() == entry.compressed_size())?;
    Some((start..start.checked_add(length)?, Some(entry.crc32()).filter(|&crc32| crc32 != 0)))
}

fn read_entry<'a>(
    archive: &mut ZipArchive<Cursor<&'a [u8]>>,
    file: &'a [u8],
    index: usize,
) -> io::Result<Cow<'a, [u8]>> {
    let raw = archive.by_index_raw(index).map_err(io::Error::other)?;
    if raw.compression() == CompressionMethod::Stored && !raw.encrypted() {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "it is damaged");
        let (bytes, crc32) = in_file(&raw).ok_or_else(damaged)?;
        let bytes = file.get(bytes).ok_or(io::ErrorKind::UnexpectedEof)?;
        if crc32.is_some_and(|crc32| crc32fast::hash(bytes) != crc32) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum is wrong"));
        }
        return Ok(Cow::Borrowed(bytes));
    }
    drop(raw);
    let mut bytes = Vec::new();
    archive.by_index(index).map_err(io::Error::other)?.take(LONGEST_PICKLE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_PICKLE {
        let reason = format!(
            "it is compressed and has more than {} MiB, which is not read; save the model alone with \
             torch.save(model.state_dict(), PATH)",
            LONGEST_PICKLE >> 20
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(Cow::Owned(bytes))
}

/// Decompresses one storage of the length that the archive's directory states.
pub(super) fn decompress(file: &MappedFile, entry: usize, length: usize) -> io::Result<Vec<u8>> {
    let mut archive = open_archive(Cursor::new(file.bytes())).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    // One extra byte detects a longer entry; reading to the end makes the reader check the checksum.
    archive.by_index(entry).map_err(io::Error::other)?.take(length as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() == length {
        true => Ok(bytes),
        false => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "its compressed storage has another length than stated"))
        }
    }
}

/// The magic number at the start of `torch.save`'s legacy files, pickled.
const MAGIC: &[u8] = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19";

/// Whether a file is a legacy container rather than a single pickle.
pub(super) fn is_legacy(file: &[u8]) -> bool {
    file[..file.len().min(32)].windows(MAGIC.len()).any(|window| window == MAGIC)
}

/// The storages of a legacy file, by key. They follow five pickles (magic, protocol, system, object, keys), of which
/// this reads the last; each is an 8-byte element count and the elements.
///
/// The error is a sentence about the file.
pub(super) fn legacy_storages(file: &[u8], unpickler: &mut Unpickler<'_>) -> Result<HashMap<String, Stored>, String> {
    let keys = unpickler.load().map_err(|fault| format!("the list of its storages: {fault}"))?;
    let mut start = unpickler.position();
    let mut stored = HashMap::new();
    for key in unpickler.items(&keys).unwrap_or_default() {
        let Value::Text(key) = key else { return Err("its storages have no names".into()) };
        // A storage that the pickle does not name has an unknown size, and hence the next one an unknown offset.
        let Some(storage) = unpickler.storages().get(key) else { break };
        let Storage { elements, element_size, .. } = **storage;
        let cut_off = |end: usize| format!("it ends at {} bytes, before its storage `{key}` does ({end})", file.len());
        let Some(count) = file.get(start..).and_then(|rest| rest.first_chunk()) else {
            return Err(cut_off(start.saturating_add(8)));
        };
        let count = u64::from_le_bytes(*count);
        if count != elements as u64 {
            return Err(format!("its storage `{key}` has {count} elements, expected {elements}: it is damaged"));
        }
        start += 8;
        let end = elements.checked_mul(element_size).and_then(|length| start.checked_add(length));
        let Some(end) = end.filter(|&end| end <= file.len()) else { return Err(cut_off(end.unwrap_or(usize::MAX))) };
        stored.insert(key.to_string(), Stored::in_place(start..end, None));
        start = end;
    }
    Ok(stored)
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
        (0..=LONGEST_PICKLE >> 20).for_each(|_| writer.write_all(&zeros).unwrap());
        writer.finish().unwrap();
        let reason = ZipContainer::open(file.get_ref()).err().unwrap();
        assert!(reason.contains("more than 64 MiB") && reason.contains("state_dict()"), "{reason}");
    }
}
