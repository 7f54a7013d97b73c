use std::collections::HashMap;
use std::io::{self, Cursor, Read};
use std::ops::Range;
use std::rc::Rc;

use zip::{CompressionMethod, ZipArchive};

use super::pickle::{Storage, Unpickler, Value, View};
use super::{MappedFile, Once, TensorInfo};

/// Where the bytes of a tensor lie in its file, one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    /// What the pickle says of the tensor, to be compared with what the reader says.
    pub(super) info: TensorInfo,
    bytes: Range<usize>,
    /// The container's checksum, if it is one of exactly these bytes.
    crc32: Option<u32>,
}

impl Location {
    /// The bytes themselves, once they agree with their checksum.
    pub(super) fn read<'a>(&self, file: &'a MappedFile) -> io::Result<Once<'a>> {
        let bytes = file.once(self.bytes.clone()).ok_or(io::ErrorKind::UnexpectedEof)?;
        if self.crc32.is_some_and(|crc32| crc32fast::hash(&bytes) != crc32) {
            let reason = format!("the checksum of bytes {} to {} is wrong", self.bytes.start, self.bytes.end);
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        Ok(bytes)
    }
}

/// A storage's bytes in the file, with their checksum where the container has one.
struct Stored {
    bytes: Range<usize>,
    crc32: Option<u32>,
}

/// Where the tensors of a `torch.save` file lie, by their dotted paths.
///
/// Those that are missing have to be read through the library: strided ones, those in compressed
/// containers or in tar, and all of a file whose pickle holds what [`Unpickler`] does not know.
pub(super) fn locate(file: &MappedFile) -> HashMap<String, Location> {
    in_zip(file.bytes()).or_else(|| in_legacy(file.bytes())).unwrap_or_default()
}

fn in_zip(file: &[u8]) -> Option<HashMap<String, Location>> {
    /// More than the pickle of any model.
    const LIMIT: u64 = 16 << 20;
    let mut archive = ZipArchive::new(Cursor::new(file)).ok()?;
    let names: Vec<_> = archive.file_names().collect::<Result<_, _>>().ok()?;
    let roots = names.iter().filter_map(|name| name.strip_suffix("data.pkl"));
    let root = roots.filter(|root| root.is_empty() || root.ends_with('/')).min_by_key(|root| root.len())?.to_string();

    let mut pickle = Vec::new();
    archive.by_name(&format!("{root}data.pkl")).ok()?.take(LIMIT).read_to_end(&mut pickle).ok()?;
    let mut unpickler = Unpickler::new(&pickle);
    let value = unpickler.load()?;

    let mut stored: HashMap<String, Option<Stored>> = HashMap::new();
    let mut find = |storage: &Storage| {
        let index = archive.index_for_name(&format!("{root}data/{}", storage.key))?;
        let entry = archive.by_index_raw(index).ok()?;
        let length = usize::try_from(entry.size()).ok()?;
        if entry.compression() != CompressionMethod::Stored
            || entry.encrypted()
            || entry.compressed_size() != entry.size()
        {
            return None;
        }
        let start = usize::try_from(entry.data_start()?).ok()?;
        // `torch.save` writes 0 where it was told to compute no checksums.
        Some(Stored {
            bytes: start..start.checked_add(length)?,
            crc32: Some(entry.crc32()).filter(|&crc32| crc32 != 0),
        })
    };
    let tensors = unpickler.tensors(value).into_iter().filter_map(|(path, view)| {
        let storage = stored.entry(view.storage.key.clone()).or_insert_with(|| find(&view.storage)).as_ref()?;
        Some((path, place(&view, storage)?))
    });
    Some(tensors.collect())
}

/// Legacy files: five pickles (magic, protocol, system, object, storage keys), then for each key the number
/// of elements in 8 bytes and the elements.
fn in_legacy(file: &[u8]) -> Option<HashMap<String, Location>> {
    let mut unpickler = Unpickler::new(file);
    for _ in 0..3 {
        unpickler.load()?;
    }
    let object = unpickler.load()?;
    let tensors = unpickler.tensors(object);
    let declared: HashMap<&str, usize> =
        tensors.values().map(|view| (view.storage.key.as_str(), view.storage.elements)).collect();
    let sizes: HashMap<&str, usize> = tensors
        .values()
        .map(|view| Some((view.storage.key.as_str(), view.storage.elements.checked_mul(view.storage.dtype.size()?)?)))
        .collect::<Option<_>>()?;
    let keys = unpickler.load()?;

    let mut stored = HashMap::new();
    let mut start = file.len().checked_sub(unpickler.rest().len())?;
    for key in unpickler.items(&keys)? {
        // A storage that no tensor of a dictionary uses has an unknown size, and so has its end.
        let Value::Text(key) = key else { break };
        let Some(&length) = sizes.get(&**key) else { break };
        let count = file.get(start..)?.first_chunk().map(|count| u64::from_le_bytes(*count));
        if count != declared.get(&**key).map(|&elements| elements as u64) {
            break;
        }
        start = start.checked_add(8)?;
        stored.insert(key.to_string(), Stored { bytes: start..start.checked_add(length)?, crc32: None });
        start = start.checked_add(length)?;
    }
    let located =
        |(path, view): (&String, &Rc<View>)| Some((path.clone(), place(view, stored.get(&view.storage.key)?)?));
    Some(tensors.iter().filter_map(located).collect())
}

/// Where a view lies, if it is contiguous and within its storage.
fn place(view: &View, storage: &Stored) -> Option<Location> {
    if !view.is_contiguous() {
        return None;
    }
    let size = view.storage.dtype.size()?;
    let elements = view.shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent))?;
    let start = storage.bytes.start.checked_add(view.offset.checked_mul(size)?)?;
    let bytes = start..start.checked_add(elements.checked_mul(size)?)?;
    if bytes.end > storage.bytes.end {
        return None;
    }
    let crc32 = storage.crc32.filter(|_| bytes == storage.bytes);
    let info = TensorInfo { dtype: view.storage.dtype.clone(), shape: view.shape.clone() };
    Some(Location { info, bytes, crc32 })
}
