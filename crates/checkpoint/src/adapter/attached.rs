//! A view of a checkpoint with the tensors of an adapter's file beside its own.

use mert_fs::MappedFile;

use super::open::OpenAdapter;
use crate::Result;
use crate::checkpoint::{Checkpoint, Listing};
use crate::tensor_bytes::TensorBytes;

/// A checkpoint whose listing has an adapter's tensors, with keys `FILE:KEY`.
struct Attached {
    checkpoint: Box<dyn Checkpoint>,
    adapter: Box<dyn Checkpoint>,
    /// The start of the adapter's keys.
    start: String,
    listing: Listing,
}

/// The checkpoint with the adapter's tensors in [`Listing::adapter_tensors`].
pub(crate) fn with_adapter_tensors(checkpoint: Box<dyn Checkpoint>, adapter: OpenAdapter) -> Box<dyn Checkpoint> {
    let OpenAdapter { checkpoint: adapter, file_name, .. } = adapter;
    let start = format!("{file_name}:");
    let mut listing = checkpoint.listing().clone();
    let tensors = &adapter.listing().tensors;
    listing.adapter_tensors = tensors.iter().map(|(key, info)| (format!("{start}{key}"), info.clone())).collect();
    Box::new(Attached { checkpoint, adapter, start, listing })
}

impl Attached {
    /// The key in the adapter's file, if it is one.
    fn adapter_key<'k>(&self, name: &'k str) -> Option<&'k str> {
        let key = name.strip_prefix(self.start.as_str())?;
        self.listing.adapter_tensors.contains_key(name).then_some(key)
    }
}

impl Checkpoint for Attached {
    fn listing(&self) -> &Listing {
        &self.listing
    }

    fn files(&self) -> Vec<&MappedFile> {
        self.checkpoint.files()
    }

    fn adapter_files(&self) -> Vec<&MappedFile> {
        self.adapter.files()
    }

    fn is_in_place(&self, name: &str) -> bool {
        match self.adapter_key(name) {
            Some(key) => self.adapter.is_in_place(key),
            None => self.checkpoint.is_in_place(name),
        }
    }

    fn read(&self, name: &str) -> Result<TensorBytes<'_>> {
        match self.adapter_key(name) {
            Some(key) => self.adapter.read(key),
            None => self.checkpoint.read(name),
        }
    }
}
