//! The reader of `torch.save` files.
//!
//! It is implemented here because no library exposes where in the file a tensor lies, without which a tensor can only be
//! loaded whole into memory; and because the usual one refuses a file for a single unknown object beside the model.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use mert_fs::MappedFile;

use super::legacy_container::{is_legacy, legacy_storages};
use super::state_dict::find_state_dict;
use super::storages::{StorageLocation, check_crc32};
use super::strided::{GatherError, gather};
use super::tensors::{TensorView, Tensors, locate_tensors};
use super::zip_container::{ZipContainer, decompress};
use crate::checkpoint::{Checkpoint, Listing};
use crate::pickle::Unpickler;
use crate::tensor_bytes::TensorBytes;
use crate::{CheckpointError, Result};

/// A file written by `torch.save`, in a zip or in the legacy container.
///
/// Objects that are not tensors stay opaque; nothing in the file is executed.
#[derive(Debug)]
pub(crate) struct TorchFile {
    file: MappedFile,
    tensors: Tensors,
    /// Whether elements are big-endian.
    big_endian: bool,
    /// The last decompressed storage that several tensors share, by its index.
    inflated: Mutex<Option<(usize, Arc<Vec<u8>>)>>,
}

impl TorchFile {
    /// Parses the pickle and finds the model's dictionary: the root, or one nested in it (`state_dict`, `model`, …).
    /// `key` names it if there are several.
    ///
    /// # Errors
    /// [`CheckpointError::NotACheckpoint`] for a damaged file or another format, [`CheckpointError::Ambiguous`] for several
    /// models.
    pub(crate) fn open(path: &Path, key: Option<&str>) -> Result<Self> {
        let file = MappedFile::open(path).map_err(|source| CheckpointError::open(path, source))?;
        let is_zip = file.bytes().starts_with(b"PK");
        let (tensors, big_endian) =
            if is_zip { open_zip(path, file.bytes(), key)? } else { (open_legacy(path, file.bytes(), key)?, false) };
        Ok(TorchFile { file, tensors, big_endian, inflated: Mutex::default() })
    }
}

/// The tensors of a zip container, and whether its storages are big-endian.
fn open_zip(path: &Path, file: &[u8], key: Option<&str>) -> Result<(Tensors, bool)> {
    let mut container = ZipContainer::open(file).map_err(|reason| CheckpointError::not_a_checkpoint(path, reason))?;
    let pickle = std::mem::take(&mut container.pickle);
    let mut unpickler = Unpickler::new(&pickle);
    let root = unpickler.load().map_err(|error| CheckpointError::not_a_checkpoint(path, error.to_string()))?;
    let state_dict = find_state_dict(path, &unpickler, &root, key)?;
    let tensors = locate_tensors(&unpickler, state_dict, |key| container.storage(key));
    let tensors = tensors.map_err(|reason| CheckpointError::not_a_checkpoint(path, reason))?;
    Ok((tensors, container.big_endian))
}

/// The tensors of a legacy container, or of a single pickle, which has no storages.
fn open_legacy(path: &Path, file: &[u8], key: Option<&str>) -> Result<Tensors> {
    let mut unpickler = Unpickler::new(file);
    let is_legacy = is_legacy(file);
    if is_legacy {
        // The magic number, the protocol version and the system precede the object.
        for _ in 0..3 {
            unpickler.load().map_err(|error| CheckpointError::not_a_checkpoint(path, error.to_string()))?;
        }
    }
    let root = unpickler.load().map_err(|error| {
        let is_joblib = file[..file.len().min(4096)].windows(6).any(|window| window == b"joblib");
        let reason = match (is_legacy, is_joblib) {
            (true, _) => error.to_string(),
            (false, true) => "it was written by joblib; save a dictionary of tensors with torch.save instead".into(),
            (false, false) => format!("{error}; expected a file written by torch.save, or safetensors"),
        };
        CheckpointError::not_a_checkpoint(path, reason)
    })?;
    let state_dict = find_state_dict(path, &unpickler, &root, key)?;
    let mut storages = match is_legacy {
        true => {
            legacy_storages(file, &mut unpickler).map_err(|reason| CheckpointError::not_a_checkpoint(path, reason))?
        }
        false => HashMap::new(),
    };
    let find_storage = |key: &str| storages.remove(key).ok_or(format!("storage `{key}` is not in the file"));
    locate_tensors(&unpickler, state_dict, find_storage)
        .map_err(|reason| CheckpointError::not_a_checkpoint(path, reason))
}

impl Checkpoint for TorchFile {
    fn listing(&self) -> &Listing {
        &self.tensors.listing
    }

    fn files(&self) -> Vec<&MappedFile> {
        vec![&self.file]
    }

    fn is_same(&self, first: &str, second: &str) -> bool {
        let views = &self.tensors.views;
        views.get(first).is_some_and(|view| views.get(second) == Some(view))
    }

    fn is_in_place(&self, name: &str) -> bool {
        self.tensors.views.get(name).is_some_and(|view| {
            let location = &self.tensors.storages[view.storage];
            view.is_contiguous && !self.big_endian && matches!(location, StorageLocation::InPlace { .. })
        })
    }

    fn read(&self, name: &str) -> Result<TensorBytes<'_>> {
        let view = self.tensors.views.get(name).ok_or_else(|| CheckpointError::no_such_tensor(name))?;
        let damaged = |reason| CheckpointError::damaged_tensor(name, reason);
        match &self.tensors.storages[view.storage] {
            StorageLocation::Compressed { entry, length } => {
                let storage = self.inflate(view.storage, *entry, *length).map_err(damaged)?;
                self.gather(name, view, &storage)
            }
            StorageLocation::InPlace { bytes, crc32, intact } if view.is_contiguous && !self.big_endian => {
                let start = bytes.start.saturating_add(view.offset.saturating_mul(view.element_size));
                let end = start.saturating_add(view.byte_len());
                let part = self.file.range(start..end).filter(|_| end <= bytes.end || start == end);
                let part = part.ok_or_else(|| out_of_bounds(name))?;
                check_crc32(&self.file, bytes, *crc32, intact, &part).map_err(damaged)?;
                Ok(TensorBytes::InPlace(part))
            }
            StorageLocation::InPlace { bytes, crc32, intact } => {
                let storage = self.file.range(bytes.clone()).ok_or_else(|| out_of_bounds(name))?;
                check_crc32(&self.file, bytes, *crc32, intact, &[]).map_err(damaged)?;
                self.gather(name, view, &storage)
            }
        }
    }
}

impl TorchFile {
    /// The bytes of a compressed storage. One that several tensors share is kept until the next such storage, so that
    /// it is not decompressed for each of them.
    fn inflate(&self, storage: usize, entry: usize, length: usize) -> Result<Arc<Vec<u8>>, String> {
        let inflate = || decompress(&self.file, entry, length).map(Arc::new);
        let is_shared = self.tensors.views.values().filter(|view| view.storage == storage).nth(1).is_some();
        if !is_shared {
            return inflate();
        }
        let mut kept = self.inflated.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((index, bytes)) if *index == storage => Ok(Arc::clone(bytes)),
            _ => {
                let bytes = inflate()?;
                *kept = Some((storage, Arc::clone(&bytes)));
                Ok(bytes)
            }
        }
    }

    /// Copies a view out of its storage.
    fn gather(&self, name: &str, view: &TensorView, storage: &[u8]) -> Result<TensorBytes<'static>> {
        let TensorView { element_size, offset, shape, strides, .. } = view;
        match gather(storage, *element_size, *offset, shape, strides, self.big_endian) {
            Ok(bytes) => Ok(TensorBytes::Gathered(bytes)),
            Err(GatherError::OutOfBounds) => Err(out_of_bounds(name)),
            Err(GatherError::OutOfMemory) => {
                let (name, source) = (name.to_string(), io::ErrorKind::OutOfMemory.into());
                Err(CheckpointError::ReadTensor { name, source })
            }
        }
    }
}

fn out_of_bounds(name: &str) -> CheckpointError {
    CheckpointError::damaged_tensor(name, "it reaches beyond its storage")
}

#[cfg(test)]
mod tests {
    use mert_testkit::{Damage, fixture};
    use safetensors::SafeTensors;

    use super::*;
    use crate::read_f32;
    use crate::torch::NEGATED_VIEW;

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
    fn every_container_gives_the_same_tensors() {
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
    fn a_shared_compressed_storage_is_decompressed_once() {
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
    fn other_objects_are_listed_by_name() {
        for name in ["objects.bin", "objects-protocol4.bin", "objects-protocol5.bin", "objects-legacy.bin"] {
            let file = open(&format!("pickles/{name}"));
            assert_eq!(file.listing().state_dict, "model", "{name}");
            assert_eq!(file.listing().tensors.len(), 2, "{name}");
            assert!(file.listing().non_tensors.is_empty(), "{name}");
            assert_eq!(read_f32(&file, CONV0).unwrap(), count(6), "{name}");
            assert_eq!(read_f32(&file, BIAS).unwrap(), count(4), "{name}");
            let object = |name: &str| {
                let object = file.listing().other_objects.iter().find(|object| object.name == name).unwrap();
                (object.kind.as_str(), object.tensors)
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
                assert_eq!(object(name), expected, "{name}");
            }
            let expected = if name == "objects-legacy.bin" { 51 } else { 52 };
            assert_eq!(file.listing().other_objects.len(), expected, "{name}");
        }
    }

    #[test]
    fn unusual_tensors_are_read_or_listed_by_type() {
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
            let kind = |name: &str| file.listing().non_tensors[name].as_str();
            assert_eq!(kind("negated"), NEGATED_VIEW);
            assert_eq!(kind("sparse"), "torch._utils._rebuild_sparse_tensor");
            assert_eq!(kind("meta"), "torch._utils._rebuild_meta_tensor_no_storage");
            assert_eq!(kind("quantized"), "torch._utils._rebuild_qtensor");
            assert_eq!((kind("array"), kind("count")), ("numpy.ndarray", "int"));
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
    fn a_big_endian_file_is_read() {
        let file = open("pickles/big-endian.bin");
        assert_eq!(read_f32(&file, CONV0).unwrap(), count(6));
        assert_eq!(read_f32(&file, BIAS).unwrap(), count(4));
        assert!(!file.is_in_place(BIAS));
    }

    /// A long string that is every key of nested dictionaries and every class name is not copied for each use.
    #[test]
    fn reused_strings_take_no_memory() {
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

    /// A flipped bit in a storage of a zip container is an error of its own, with the tensor's name.
    #[test]
    fn a_wrong_checksum_is_a_damaged_tensor() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("views.bin");
        let mut bytes = std::fs::read(fixture("containers/views.bin")).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        std::fs::write(&path, bytes).unwrap();
        let file = TorchFile::open(&path, None).unwrap();
        let error = file.listing().tensors.keys().find_map(|name| file.read(name).err()).unwrap();
        assert!(
            matches!(&error, CheckpointError::DamagedTensor { name, .. } if file.listing().tensors.contains_key(name))
        );
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
