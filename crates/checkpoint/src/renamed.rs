//! A view of a checkpoint under Hugging Face names, whatever implementation saved it.
//!
//! Everything after it sees Hugging Face names only; [`Listing::renamed`] has the names in the file.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use mert_arch::naming::{HuggingFaceNames, NameTable, NamingScheme, Variant, find_schemes};
use mert_fs::MappedFile;

use crate::checkpoint::{Checkpoint, Listing, TensorInfo, TensorOrigin};
use crate::dtype::SourceDtype;
use crate::tensor_bytes::TensorBytes;
use crate::{CheckpointError, Result};

/// A checkpoint presented under Hugging Face names.
struct Renamed {
    checkpoint: Box<dyn Checkpoint>,
    listing: Listing,
    /// The origins with the names that the inner checkpoint lists, by Hugging Face names.
    inner: HashMap<String, TensorOrigin>,
}

/// The checkpoint itself, or a view of it under Hugging Face names.
///
/// # Errors
/// [`CheckpointError::SameHuggingFaceName`] if two tensors then have the same name.
pub(crate) fn with_hugging_face_names(path: &Path, checkpoint: Box<dyn Checkpoint>) -> Result<Box<dyn Checkpoint>> {
    let listing = checkpoint.listing();
    let keys = listing.tensors.keys().chain(listing.non_tensors.keys()).map(String::as_str);
    let schemes = find_schemes(keys.clone());
    if schemes.values().all(|scheme| *scheme == NamingScheme::HuggingFace) {
        return Ok(checkpoint);
    }
    let tables = tables(&schemes, keys);
    let mut renamer = Renamer { path, tables: &tables, from: listing, to: Listing::default(), inner: HashMap::new() };
    renamer.rename()?;
    let Renamer { to, inner, .. } = renamer;
    let Listing { tensors, non_tensors, wrapped, renamed, .. } = to;
    let naming = schemes.into_iter().filter(|(_, scheme)| *scheme != NamingScheme::HuggingFace).collect();
    let listing = Listing { tensors, non_tensors, wrapped, renamed, naming, ..listing.clone() };
    Ok(Box::new(Renamed { checkpoint, listing, inner }))
}

/// The models of a checkpoint by their prefixes: each model's table, empty for one under Hugging Face names.
type Tables = BTreeMap<String, NameTable>;

fn tables<'a>(schemes: &BTreeMap<String, NamingScheme>, keys: impl Iterator<Item = &'a str> + Clone) -> Tables {
    let table = |(prefix, scheme): (&String, &NamingScheme)| {
        let names = keys.clone().filter_map(|key| key.strip_prefix(prefix.as_str()));
        (prefix.clone(), scheme.table(Variant::of_names(names)))
    };
    schemes.iter().map(table).collect()
}

/// The table of the innermost model that a key belongs to, and the key's name within it.
fn model_of<'t, 'k>(tables: &'t Tables, key: &'k str) -> Option<(&'t NameTable, &'k str, &'k str)> {
    let ends = key.match_indices('.').map(|(at, _)| at + 1).rev().chain([0]);
    ends.filter_map(|end| Some((tables.get(&key[..end])?, &key[..end], &key[end..]))).next()
}

/// The work of renaming a listing.
struct Renamer<'l> {
    path: &'l Path,
    tables: &'l Tables,
    from: &'l Listing,
    to: Listing,
    inner: HashMap<String, TensorOrigin>,
}

impl Renamer<'_> {
    fn rename(&mut self) -> Result<()> {
        for (key, info) in &self.from.tensors {
            match self.hugging_face(key) {
                None => self.add(key.clone(), TensorOrigin::Tensor(key.clone()), info.clone())?,
                Some(HuggingFaceNames::One(name)) => {
                    self.add(name, TensorOrigin::Tensor(key.clone()), info.clone())?;
                }
                Some(HuggingFaceNames::Thirds(names)) => match info.shape.split_first() {
                    Some((&rows, rest)) if rows.is_multiple_of(3) => {
                        let shape = [&[rows / 3], rest].concat();
                        for (third, name) in names.into_iter().enumerate() {
                            let info = TensorInfo { dtype: info.dtype.clone(), shape: shape.clone() };
                            self.add(name, TensorOrigin::Third { key: key.clone(), third }, info)?;
                        }
                    }
                    _ => self.add(key.clone(), TensorOrigin::Tensor(key.clone()), info.clone())?,
                },
            }
        }
        for (key, kind) in &self.from.non_tensors {
            let name = match self.hugging_face(key) {
                Some(HuggingFaceNames::One(name)) => name,
                None | Some(HuggingFaceNames::Thirds(_)) => key.clone(),
            };
            self.record(&name, TensorOrigin::Tensor(key.clone()))?;
            self.to.non_tensors.insert(name, kind.clone());
        }
        for prefix in self.tables.keys().cloned().collect::<Vec<_>>() {
            self.add_identity_projection(&prefix)?;
        }
        Ok(())
    }

    /// The Hugging Face names of an entry, with the prefix of its model; `None` if its name stays.
    fn hugging_face(&self, key: &str) -> Option<HuggingFaceNames> {
        let (table, prefix, name) = model_of(self.tables, key)?;
        Some(match table.to_hugging_face(name)? {
            HuggingFaceNames::One(name) => HuggingFaceNames::One(format!("{prefix}{name}")),
            HuggingFaceNames::Thirds(names) => HuggingFaceNames::Thirds(names.map(|name| format!("{prefix}{name}"))),
        })
    }

    fn add(&mut self, name: String, origin: TensorOrigin, info: TensorInfo) -> Result<()> {
        self.record(&name, origin)?;
        self.to.tensors.insert(name, info);
        Ok(())
    }

    /// Records the origin of an entry.
    fn record(&mut self, name: &str, origin: TensorOrigin) -> Result<()> {
        let in_file = |key: &str| self.from.wrapped.get(key).map_or(key, String::as_str).to_string();
        let key = origin.key().map(in_file);
        if let (Some(key), Some(true)) = (&key, origin.key().map(|inner| self.from.wrapped.contains_key(inner))) {
            self.to.wrapped.insert(name.to_string(), key.clone());
        }
        if origin != TensorOrigin::Tensor(name.to_string()) {
            let shown = match (&origin, key) {
                (TensorOrigin::Tensor(_), Some(key)) => TensorOrigin::Tensor(key),
                (TensorOrigin::Third { third, .. }, Some(key)) => TensorOrigin::Third { key, third: *third },
                (other, _) => other.clone(),
            };
            self.to.renamed.insert(name.to_string(), shown);
        }
        let Some(first) = self.inner.insert(name.to_string(), origin) else { return Ok(()) };
        let second = self.inner.get(name).map(ToString::to_string).unwrap_or_default();
        let (path, name, first) = (self.path.to_path_buf(), name.to_string(), first.to_string());
        Err(CheckpointError::SameHuggingFaceName { path, name, first, second })
    }

    /// fairseq's models have no `post_extract_proj` if it would not change the width. transformers' always have one: the
    /// identity.
    fn add_identity_projection(&mut self, prefix: &str) -> Result<()> {
        const MAX_WIDTH: usize = 1 << 13;
        let (weight, bias) = (format!("{prefix}{PROJECTION}.weight"), format!("{prefix}{PROJECTION}.bias"));
        let has = |name: &String| self.to.tensors.contains_key(name) || self.to.non_tensors.contains_key(name);
        let width = |name: &str| match self.to.tensors.get(&format!("{prefix}{name}"))?.shape[..] {
            [width] if width <= MAX_WIDTH => Some(width),
            _ => None,
        };
        let (features, hidden) = (width("feature_projection.layer_norm.weight"), width("encoder.layer_norm.weight"));
        let Some(width) = features.filter(|_| features == hidden && !has(&weight) && !has(&bias)) else {
            return Ok(());
        };
        let info = |shape: &[usize]| TensorInfo { dtype: SourceDtype::F32, shape: shape.to_vec() };
        self.add(weight, TensorOrigin::Identity, info(&[width, width]))?;
        self.add(bias, TensorOrigin::Zeros, info(&[width]))
    }
}

/// The module that projects the features to the width of the hidden states.
const PROJECTION: &str = "feature_projection.projection";

impl Checkpoint for Renamed {
    fn listing(&self) -> &Listing {
        &self.listing
    }

    fn files(&self) -> Vec<&MappedFile> {
        self.checkpoint.files()
    }

    fn is_in_place(&self, name: &str) -> bool {
        // Tensors of adapters keep their names.
        let key = self.inner.get(name).map_or(Some(name), TensorOrigin::key);
        key.is_some_and(|key| self.checkpoint.is_in_place(key))
    }

    fn read(&self, name: &str) -> Result<TensorBytes<'_>> {
        if self.listing.adapter_tensors.contains_key(name) {
            return self.checkpoint.read(name);
        }
        let TensorInfo { dtype, shape } =
            self.listing.tensors.get(name).ok_or_else(|| CheckpointError::no_such_tensor(name))?;
        let size = dtype.size().unwrap_or_default();
        let length = shape.iter().product::<usize>() * size;
        match self.inner.get(name).ok_or_else(|| CheckpointError::no_such_tensor(name))? {
            TensorOrigin::Tensor(key) => self.checkpoint.read(key),
            TensorOrigin::Third { key, third } => {
                let part = self.checkpoint.read(key)?.part(third * length..(third + 1) * length);
                part.ok_or_else(|| CheckpointError::damaged_tensor(key, "it is shorter than its shape"))
            }
            TensorOrigin::Zeros => zeros(name, length).map(TensorBytes::Gathered),
            TensorOrigin::Identity => {
                let mut bytes = zeros(name, length)?;
                let row = shape.first().copied().unwrap_or_default() * size;
                for one in bytes.chunks_exact_mut((row + size).max(1)).map(|chunk| &mut chunk[..size]) {
                    one.copy_from_slice(&1f32.to_le_bytes());
                }
                if let Some(last) = bytes.last_chunk_mut() {
                    *last = 1f32.to_le_bytes();
                }
                Ok(TensorBytes::Gathered(bytes))
            }
        }
    }
}

fn zeros(name: &str, length: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| {
        let (name, source) = (name.to_string(), io::ErrorKind::OutOfMemory.into());
        CheckpointError::ReadTensor { name, source }
    })?;
    bytes.resize(length, 0);
    Ok(bytes)
}
