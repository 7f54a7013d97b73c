//! The adapter of a conversion: the one that the user names, or the one in the checkpoint; an adapter that nothing merges is
//! refused.

use std::path::Path;

use mert_arch::ADAPTER_CONFIG_FILE;

use super::attached::with_adapter_tensors;
use super::embedded::EmbeddedTensors;
use super::error::AdapterError;
use super::keys::parse;
use super::open::OpenAdapter;
use super::types::{Adapter, AdapterOptions};
use crate::checkpoint::{Checkpoint, Listing};
use crate::names::quantization_in_encoder;
use crate::{CheckpointError, Result};

/// The state of the adapters of an opened checkpoint.
pub(crate) struct Found<'a> {
    /// The input as the user named it.
    pub(crate) path: &'a Path,
    /// The folder of the configuration files.
    pub(crate) folder: &'a Path,
    /// The name of an adapter's file in the folder.
    pub(crate) beside: Option<String>,
    /// The adapters between the weights.
    pub(crate) embedded: EmbeddedTensors,
}

/// A checkpoint with the tensors of the adapter that is to be merged, the adapter, and notes, one sentence each.
pub(crate) type Chosen = (Box<dyn Checkpoint>, Option<Adapter>, Vec<String>);

impl Found<'_> {
    /// Decides which adapter is merged.
    ///
    /// # Errors
    /// [`CheckpointError::UnmergedAdapter`] for an adapter that would be lost, [`CheckpointError::QuantizedBase`] for quantized
    /// weights, [`CheckpointError::Adapter`] if the adapter cannot be merged.
    pub(crate) fn choose(self, checkpoint: Box<dyn Checkpoint>, options: &AdapterOptions) -> Result<Chosen> {
        let evidence = self.evidence(checkpoint.listing());
        if options.ignore {
            let Some((what, name)) = evidence else {
                let reason = "--no-adapter: there is no adapter in the checkpoint or beside it; leave it out";
                return Err(AdapterError::NotFound(reason.into()).of(self.path));
            };
            let note = format!(
                "without {what} (`{name}`), as --no-adapter says: the weights of the model before it was adapted"
            );
            return Ok((checkpoint, None, vec![note]));
        }
        let unmerged = |found, name: &str, advice| {
            Err(CheckpointError::UnmergedAdapter {
                path: self.path.to_path_buf(),
                found,
                name: name.to_string(),
                advice,
            })
        };
        if let Some(path) = &options.path {
            if !self.embedded.is_empty() {
                let name = self.embedded.evidence().unwrap_or_default();
                return unmerged("an adapter of its own", name, "merge that one first, by leaving --adapter out");
            }
            let adapter = OpenAdapter::open(path, options.alpha)?;
            refuse_quantized(self.path, checkpoint.listing())?;
            let (merged, notes) = (adapter.adapter.clone(), adapter.adapter.notes.clone());
            return Ok((with_adapter_tensors(checkpoint, adapter), Some(merged), notes));
        }
        if !self.embedded.is_empty() {
            refuse_quantized(self.path, checkpoint.listing())?;
            let config = Some(self.folder.join(ADAPTER_CONFIG_FILE)).filter(|config| config.is_file());
            let adapter = self.embedded.choose(self.path, config.as_deref(), options)?;
            let notes = adapter.notes.clone();
            return Ok((checkpoint, Some(adapter), notes));
        }
        if let Some((what, name)) = evidence {
            return unmerged(what, &name, ADVICE);
        }
        let option = options.name.as_ref().map(|_| "--adapter-name").or(options.alpha.map(|_| "--lora-alpha"));
        match option {
            Some(option) => {
                let reason =
                    format!("{option}: the checkpoint holds no adapter; leave it out, or give one with --adapter");
                Err(AdapterError::NotFound(reason).of(self.path))
            }
            None => Ok((checkpoint, None, Vec::new())),
        }
    }

    /// The evidence of an adapter, and a tensor or file of it.
    fn evidence(&self, listing: &Listing) -> Option<(&'static str, String)> {
        let embedded = self.embedded.evidence().map(|name| match self.embedded.is_empty() {
            false => ("an adapter (LoRA)", name.to_string()),
            true => ("the layers of a model with an adapter, without its tensors", name.to_string()),
        });
        let elsewhere = || {
            let name = listing.other_tensors.iter().find(|name| parse(name).is_some())?;
            Some(("an adapter (LoRA) outside the model's dictionary", name.clone()))
        };
        let beside = || self.beside.as_ref().map(|name| ("an adapter (LoRA) in its folder", name.clone()));
        embedded.or_else(elsewhere).or_else(beside)
    }
}

/// The advice for an adapter that the user did not mention.
const ADVICE: &str = "merge it with --adapter and its folder or file (mert-convert), or in Python, `model = \
                      model.merge_and_unload()`; to convert the model without it, give --no-adapter";

/// Refuses a checkpoint of which a linear layer is quantized.
fn refuse_quantized(path: &Path, listing: &Listing) -> Result<()> {
    let evidence = listing.tensors.keys().find(|name| quantization_in_encoder(name));
    evidence.map_or(Ok(()), |name| {
        let evidence = format!("`{}`", mert_arch::printable_line(&listing.name_in_file(name)));
        Err(CheckpointError::QuantizedBase { path: path.to_path_buf(), evidence })
    })
}
