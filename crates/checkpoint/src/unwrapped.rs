//! A view of a checkpoint without the names of wrapper modules.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use mert_fs::MappedFile;

use crate::checkpoint::{Checkpoint, Listing};
use crate::names::strip_wrappers;
use crate::tensor_bytes::TensorBytes;
use crate::{CheckpointError, Result};

/// A checkpoint presented without wrapper names.
struct Unwrapped {
    checkpoint: Box<dyn Checkpoint>,
    listing: Listing,
}

/// The checkpoint itself, or a view of it without wrapper names.
///
/// # Errors
/// [`CheckpointError::SameName`] if two tensors then have the same name.
pub(crate) fn without_wrappers(path: &Path, checkpoint: Box<dyn Checkpoint>) -> Result<Box<dyn Checkpoint>> {
    let listing = checkpoint.listing();
    let names = || listing.tensors.keys().chain(listing.non_tensors.keys());
    if names().all(|name| matches!(strip_wrappers(name), Cow::Borrowed(_))) {
        return Ok(checkpoint);
    }
    let mut originals: BTreeMap<String, String> = BTreeMap::new();
    for name in names() {
        if let Some(first) = originals.insert(strip_wrappers(name).into_owned(), name.clone()) {
            let (path, second) = (path.to_path_buf(), name.clone());
            return Err(CheckpointError::SameName { path, name: strip_wrappers(&first).into_owned(), first, second });
        }
    }
    let renamed = |name: &String| strip_wrappers(name).into_owned();
    let tensors = listing.tensors.iter().map(|(name, info)| (renamed(name), info.clone())).collect();
    let non_tensors = listing.non_tensors.iter().map(|(name, kind)| (renamed(name), kind.clone())).collect();
    originals.retain(|name, original| name != original);
    let listing = Listing { tensors, non_tensors, wrapped: originals, ..listing.clone() };
    Ok(Box::new(Unwrapped { checkpoint, listing }))
}

impl Unwrapped {
    /// The name in the file.
    fn original<'a>(&'a self, name: &'a str) -> &'a str {
        self.listing.wrapped.get(name).map_or(name, String::as_str)
    }
}

impl Checkpoint for Unwrapped {
    fn listing(&self) -> &Listing {
        &self.listing
    }

    fn files(&self) -> Vec<&MappedFile> {
        self.checkpoint.files()
    }

    fn is_same(&self, first: &str, second: &str) -> bool {
        self.checkpoint.is_same(self.original(first), self.original(second))
    }

    fn is_in_place(&self, name: &str) -> bool {
        self.checkpoint.is_in_place(self.original(name))
    }

    fn read(&self, name: &str) -> Result<TensorBytes<'_>> {
        self.checkpoint.read(self.original(name))
    }
}
