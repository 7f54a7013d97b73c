//! Reading `torch.save` files: the tensors of the model's dictionary and their locations in the file.
//!
//! Implemented here because no library exposes where in the file a tensor lies, without which a tensor can only be
//! loaded whole into memory; and because the library used before refused a file for a single unknown object beside the
//! model.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::objects::NEGATED_VIEW;
use super::pickle::{Unpickler, Value, View};
use super::state_dict::{StateDict, find_state_dict};
use super::storages::{Stored, ZipContainer, check, decompress, is_legacy, legacy_storages};
use super::strided::{end, gather};
use super::{Checkpoint, Listing, MappedFile, TensorBytes, TensorInfo};
use crate::{CheckpointError, Result};

/// A file written by `torch.save`, in a zip or in the legacy container.
///
/// Objects that are not tensors stay opaque; nothing in the file is executed.
#[derive(Debug)]
pub struct TorchFile {
    listing: Listing,
    file: MappedFile,
    storages: Vec<Stored>,
    tensors: HashMap<String, Located>,
    /// Whether elements are big-endian.
    big_endian: bool,
    /// The last decompressed storage that several tensors share, by its index.
    inflated: Mutex<Option<(usize, Arc<Vec<u8>>)>>,
}

/// A tensor's view of a storage, in elements.
#[derive(Debug)]
struct Located {
    /// The index in [`TorchFile::storages`].
    storage: usize,
    element_size: usize,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
    contiguous: bool,
}

impl TorchFile {
    /// Parses the pickle and finds the model's dictionary: the root, or one nested in it (`state_dict`, `model`, …).
    /// `key` names it if there are several.
    ///
    /// # Errors
    /// [`CheckpointError::NotACheckpoint`] for a damaged or foreign file, [`CheckpointError::Ambiguous`] for
    /// several models.
    pub fn open(path: &Path, key: Option<&str>) -> Result<Self> {
        let refused = |reason: String| CheckpointError::NotACheckpoint { path: path.to_path_buf(), reason };
        let file =
            MappedFile::open(path).map_err(|source| CheckpointError::Open { path: path.to_path_buf(), source })?;
        let bytes = file.bytes();
        let opened = if bytes.starts_with(b"PK") {
            let mut container = ZipContainer::open(bytes).map_err(refused)?;
            let pickle = std::mem::take(&mut container.pickle);
            let mut unpickler = Unpickler::new(&pickle);
            let root = unpickler.load().map_err(|fault| refused(fault.to_string()))?;
            let state_dict = find_state_dict(path, &unpickler, &root, key)?;
            let big_endian = container.big_endian;
            list(&unpickler, state_dict, big_endian, |key| container.storage(key))
        } else {
            let mut unpickler = Unpickler::new(bytes);
            let legacy = is_legacy(bytes);
            // The magic number, the protocol version and the system precede the object.
            for _ in 0..if legacy { 3 } else { 0 } {
                unpickler.load().map_err(|fault| refused(fault.to_string()))?;
            }
            let root = unpickler.load().map_err(|fault| match legacy {
                true => refused(fault.to_string()),
                false if bytes[..bytes.len().min(4096)].windows(6).any(|window| window == b"joblib") => {
                    refused("it was written by joblib; save a dictionary of tensors with torch.save instead".into())
                }
                false => refused(format!("{fault}; expected a file written by torch.save, or safetensors")),
            })?;
            let state_dict = find_state_dict(path, &unpickler, &root, key)?;
            let mut storages = match legacy {
                true => legacy_storages(bytes, &mut unpickler).map_err(refused)?,
                false => HashMap::new(),
            };
            list(&unpickler, state_dict, false, |key| {
                storages.remove(key).ok_or(format!("storage `{key}` is not in the file"))
            })
        };
        let (listing, storages, tensors, big_endian) = opened.map_err(refused)?;
        Ok(TorchFile { listing, file, storages, tensors, big_endian, inflated: Mutex::default() })
    }
}

type Opened = (Listing, Vec<Stored>, HashMap<String, Located>, bool);

/// Locates the storage of each tensor of the model's dictionary. The error is a sentence about the file.
fn list(
    unpickler: &Unpickler<'_>,
    state_dict: StateDict<'_>,
    big_endian: bool,
    mut find: impl FnMut(&str) -> Result<Stored, String>,
) -> Result<Opened, String> {
    let StateDict { path, entries, beside, outside } = state_dict;
    let mut listing = Listing { state_dict: path, beside, outside, ..Listing::default() };
    let (mut storages, mut tensors) = (Vec::new(), HashMap::new());
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, value) in &entries {
        let view = match value {
            Value::Tensor(view) => view,
            other => {
                listing.foreign.insert(name.clone(), unpickler.python_type(other).to_string());
                continue;
            }
        };
        match view.mark.as_deref() {
            None => {}
            Some("neg") => {
                listing.foreign.insert(name.clone(), NEGATED_VIEW.to_string());
                continue;
            }
            Some(mark) => {
                listing.foreign.insert(name.clone(), format!("torch.Tensor with `{mark}`"));
                continue;
            }
        }
        let storage = match numbers.get(view.storage.key) {
            Some(number) => *number,
            None => {
                storages.push(find(view.storage.key).map_err(|reason| format!("tensor `{name}`: {reason}"))?);
                numbers.insert(view.storage.key, storages.len() - 1);
                storages.len() - 1
            }
        };
        let located =
            locate(view, storage, &storages[storage]).map_err(|reason| format!("tensor `{name}`: {reason}"))?;
        listing.tensors.insert(name.clone(), TensorInfo { dtype: view.dtype.clone(), shape: view.shape.clone() });
        tensors.insert(name.clone(), located);
    }
    Ok((listing, storages, tensors, big_endian))
}

fn locate(view: &View<'_>, storage: usize, stored: &Stored) -> Result<Located, String> {
    let View { element_size, shape, strides, .. } = view;
    let offset = view.storage.start.saturating_add(view.offset);
    let declared = view.storage.elements.checked_mul(view.storage.element_size);
    if declared != Some(stored.len()) {
        let (key, length) = (view.storage.key, stored.len());
        return Err(format!(
            "its storage `{key}` has {length} bytes, expected {} of {} bytes: the file is damaged",
            view.storage.elements, view.storage.element_size
        ));
    }
    let used = end(offset, shape, strides).and_then(|elements| elements.checked_mul(*element_size));
    if used.is_none_or(|used| used > stored.len()) {
        return Err(format!("its shape {shape:?} reaches beyond its storage: the file is damaged"));
    }
    let (shape, strides, contiguous) = (shape.clone(), strides.clone(), view.is_contiguous());
    Ok(Located { storage, element_size: *element_size, offset, shape, strides, contiguous })
}

impl Located {
    fn byte_len(&self) -> usize {
        self.shape.iter().fold(self.element_size, |bytes, &extent| bytes.saturating_mul(extent))
    }
}

impl Checkpoint for TorchFile {
    fn listing(&self) -> &Listing {
        &self.listing
    }

    fn files(&self) -> Vec<&MappedFile> {
        vec![&self.file]
    }

    fn is_in_place(&self, name: &str) -> bool {
        self.tensors.get(name).is_some_and(|located| {
            located.contiguous && !self.big_endian && matches!(self.storages[located.storage], Stored::InPlace { .. })
        })
    }

    fn read(&self, name: &str) -> io::Result<TensorBytes<'_>> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("tensor `{name}`: {e}"));
        let located = self.tensors.get(name).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("tensor `{name}` is not in the checkpoint"))
        })?;
        self.read_located(located).map_err(named)
    }
}

impl TorchFile {
    /// The bytes of a compressed storage. One that several tensors share is kept until the next such storage, so that
    /// it is not decompressed for each of them.
    fn inflated(&self, storage: usize, entry: usize, length: usize) -> io::Result<Arc<Vec<u8>>> {
        let inflate = || decompress(&self.file, entry, length).map(Arc::new);
        if self.tensors.values().filter(|located| located.storage == storage).nth(1).is_none() {
            return inflate();
        }
        let mut kept = self.inflated.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((number, bytes)) if *number == storage => Ok(Arc::clone(bytes)),
            _ => {
                let bytes = inflate()?;
                *kept = Some((storage, Arc::clone(&bytes)));
                Ok(bytes)
            }
        }
    }

    fn read_located(&self, located: &Located) -> io::Result<TensorBytes<'_>> {
        let gathered = |storage: &[u8]| {
            let Located { element_size, offset, shape, strides, .. } = located;
            gather(storage, *element_size, *offset, shape, strides, self.big_endian).map(TensorBytes::Gathered)
        };
        match &self.storages[located.storage] {
            Stored::Compressed { entry, length } => gathered(&self.inflated(located.storage, *entry, *length)?),
            Stored::InPlace { bytes, crc32, intact } if located.contiguous && !self.big_endian => {
                let start = bytes.start.saturating_add(located.offset.saturating_mul(located.element_size));
                let end = start.saturating_add(located.byte_len());
                let part = self.file.range(start..end).filter(|_| end <= bytes.end || start == end);
                let part = part.ok_or(io::ErrorKind::UnexpectedEof)?;
                check(&self.file, bytes, *crc32, intact, &part)?;
                Ok(TensorBytes::InPlace(part))
            }
            Stored::InPlace { bytes, crc32, intact } => {
                let storage = self.file.range(bytes.clone()).ok_or(io::ErrorKind::UnexpectedEof)?;
                check(&self.file, bytes, *crc32, intact, &[])?;
                gathered(&storage)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use mert_testkit::{Damage, fixture};
    use safetensors::SafeTensors;

    use super::*;
    use crate::read_f32;

    const CONV0: &str = "feature_extractor.conv_layers.0.conv.weight";
    const BIAS: &str = "encoder.layer_norm.bias";

    fn open(name: &str) -> TorchFile {
        TorchFile::open(&fixture(name), None).unwrap()
    }

    fn count(to: usize) -> Vec<f32> {
        (0..to).map(|value| value as f32).collect()
    }

    /// Every container gives the values that another library reads from another format.
    #[test]
    fn tensors_lie_where_they_are_said_to_lie() {
        let plain = std::fs::read(fixture("containers/plain.safetensors")).unwrap();
        let plain = SafeTensors::deserialize(&plain).unwrap();
        for (name, prefix) in [
            ("containers/zip.bin", ""),
            ("containers/legacy.bin", ""),
            ("containers/lightning.ckpt", "model.mert_model."),
            ("containers/fairseq-like.pt", ""),
            ("containers/views.bin", ""),
            ("containers/data-parallel.bin", "module."),
            ("containers/non-contiguous.bin", ""),
        ] {
            let file = open(name);
            assert_eq!(file.listing().tensors.len(), plain.len(), "{name}");
            let mut in_place = 0;
            for (tensor, view) in plain.iter() {
                let tensor = format!("{prefix}{tensor}");
                let read = file.read(&tensor).unwrap();
                assert!(read[..] == *view.data(), "{name}: {tensor}");
                assert_eq!(file.listing().tensors[&tensor].shape, view.shape());
                assert_eq!(file.is_in_place(&tensor), matches!(read, TensorBytes::InPlace(_)));
                in_place += usize::from(file.is_in_place(&tensor));
            }
            match name.contains("non-contiguous") {
                true => assert!(0 < in_place && in_place < plain.len(), "{in_place}"),
                false => assert_eq!(in_place, plain.len(), "{name}"),
            }
        }
    }

    /// Many tensors may be views of one storage, which is decompressed once.
    #[test]
    fn a_compressed_storage_that_tensors_share() {
        use std::io::{Read, Write};
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("views.bin");
        let mut archive = zip::ZipArchive::new(std::fs::File::open(fixture("containers/views.bin")).unwrap()).unwrap();
        let mut writer = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index).unwrap();
            let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
            writer.start_file(entry.name().unwrap().into_owned(), options).unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            writer.write_all(&bytes).unwrap();
        }
        writer.finish().unwrap();
        let (file, stored) = (TorchFile::open(&path, None).unwrap(), open("containers/views.bin"));
        let kept = || file.inflated.lock().unwrap().as_ref().map(|(_, bytes)| Arc::as_ptr(bytes));
        let mut storages = std::collections::BTreeSet::new();
        for name in stored.listing().tensors.keys() {
            assert!(file.read(name).unwrap()[..] == stored.read(name).unwrap()[..], "{name}");
            storages.insert(kept());
        }
        assert_eq!(storages.len(), 1);
        assert!(kept().is_some());
    }

    #[test]
    fn objects_beside_the_model_are_left_out_by_name() {
        for name in ["objects.bin", "objects-protocol4.bin", "objects-protocol5.bin", "objects-legacy.bin"] {
            let file = open(&format!("pickles/{name}"));
            assert_eq!(file.listing().state_dict, "model", "{name}");
            assert_eq!(file.listing().tensors.len(), 2, "{name}");
            assert!(file.listing().foreign.is_empty(), "{name}");
            assert_eq!(read_f32(&file, CONV0).unwrap(), count(6), "{name}");
            assert_eq!(read_f32(&file, BIAS).unwrap(), count(4), "{name}");
            let beside = |name: &str| {
                let beside = file.listing().beside.iter().find(|beside| beside.name == name).unwrap();
                (beside.kind.as_str(), beside.tensors)
            };
            for (name, expected) in [
                ("epoch", ("int", 0)),
                ("array", ("numpy.ndarray", 0)),
                ("defaultdict", ("collections.defaultdict", 0)),
                ("criterion", ("__main__.Scale", 1)),
                ("negated", ("torch.Tensor", 1)),
                ("sparse", ("torch._utils._rebuild_sparse_tensor", 2)),
                ("dictionary", ("__main__.Dictionary", 0)),
                ("cyclic", ("dict", 0)),
                ("long", ("int", 0)),
            ] {
                assert_eq!(beside(name), expected, "{name}");
            }
            let expected = if name == "objects-legacy.bin" { 51 } else { 52 };
            assert_eq!(file.listing().beside.len(), expected, "{name}");
        }
    }

    #[test]
    fn odd_tensors_are_read_or_named() {
        for name in ["tensors.bin", "tensors-legacy.bin"] {
            let file = open(&format!("pickles/{name}"));
            for (tensor, expected) in [
                (CONV0, count(6)),
                (BIAS, count(4)),
                ("transposed", vec![0.0, 2.0, 4.0, 1.0, 3.0, 5.0]),
                ("expanded", vec![2.5; 3]),
                ("sliced", vec![10.0, 15.0, 20.0, 25.0]),
                ("half", count(3)),
                ("empty", Vec::new()),
                ("scalar", vec![7.0]),
            ] {
                assert_eq!(read_f32(&file, tensor).unwrap(), expected, "{name}: {tensor}");
            }
            let dtype = |name: &str| file.listing().tensors[name].dtype.name();
            assert_eq!([dtype("double"), dtype("long"), dtype("uint16")], ["f64", "i64", "u16"]);
            assert_eq!(file.read("double").unwrap()[..], [0.0, 1.0, 2.0f64].map(f64::to_le_bytes).concat());
            let foreign = |name: &str| file.listing().foreign[name].as_str();
            assert_eq!(foreign("negated"), NEGATED_VIEW);
            assert_eq!(foreign("sparse"), "torch._utils._rebuild_sparse_tensor");
            assert_eq!(foreign("meta"), "torch._utils._rebuild_meta_tensor_no_storage");
            assert_eq!(foreign("quantized"), "torch._utils._rebuild_qtensor");
            assert_eq!((foreign("array"), foreign("count")), ("numpy.ndarray", "int"));
        }
    }

    #[test]
    fn a_model_in_a_list_and_a_dictionary_subclass() {
        let file = open("pickles/nested.bin");
        assert_eq!(file.listing().state_dict, "models.0.state");
        assert_eq!(read_f32(&file, CONV0).unwrap(), count(6));
        assert!(TorchFile::open(&fixture("pickles/nested.bin"), Some("models.0.state")).is_ok());
    }

    #[test]
    fn an_archive_whose_second_entry_looks_like_the_first() {
        assert_eq!(read_f32(&open("pickles/stem-of-21-characters.bin"), CONV0).unwrap(), count(6));
    }

    #[test]
    fn the_byteorder_record_is_obeyed() {
        let file = open("pickles/big-endian.bin");
        assert_eq!(read_f32(&file, CONV0).unwrap(), count(6));
        assert_eq!(read_f32(&file, BIAS).unwrap(), count(4));
        assert!(!file.is_in_place(BIAS));
    }

    /// One long string as every key of nested dictionaries and every class name: kept copies of it do not multiply.
    #[test]
    fn strings_that_are_used_again_and_again() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("long.bin");
        let long = vec![b'k'; 1 << 20];
        let start = [b"\x80\x02}X\0\0\x10\0", &long[..], b"q\0"].concat();
        let nested = b"}h\0".repeat(100_000);
        std::fs::write(&path, [&start[..], &nested, b"K\x01", &b"s".repeat(100_000), b"s."].concat()).unwrap();
        assert!(TorchFile::open(&path, None).unwrap().listing().tensors.is_empty());
        let classes = b"h\0h\0\x93)R".repeat(100_000);
        std::fs::write(&path, [&start[..], b"](", &classes, b"es."].concat()).unwrap();
        assert!(TorchFile::open(&path, None).is_ok());
    }

    /// A file with flipped bits is refused, or each listed tensor is readable or an error.
    #[test]
    fn damaged_files_never_panic() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("damaged.bin");
        let mut damage = Damage::new(2);
        let (mut refused, mut read) = (0, 0);
        for name in ["objects.bin", "objects-legacy.bin", "tensors.bin", "tensors-legacy.bin", "nested.bin"] {
            let bytes = std::fs::read(fixture(&format!("pickles/{name}"))).unwrap();
            for _ in 0..300 {
                std::fs::write(&path, damage.flip(&bytes, 0..bytes.len())).unwrap();
                match TorchFile::open(&path, None) {
                    Err(error) => {
                        assert!(!error.to_string().is_empty());
                        refused += 1;
                    }
                    Ok(file) => {
                        for name in file.listing().tensors.keys() {
                            read += usize::from(file.read(name).is_ok());
                        }
                    }
                }
            }
        }
        assert!(refused > 100 && read > 100, "{refused} refused, {read} tensors read");
    }
}
