//! The tensors of the model's dictionary, each with its location in a storage of the file.

use std::collections::{BTreeMap, HashMap};

use super::objects::NEGATED_VIEW;
use super::state_dict::StateDict;
use super::storages::StorageLocation;
use super::strided::end;
use crate::checkpoint::{Listing, TensorInfo};
use crate::pickle::{Unpickler, Value, View};

/// A tensor's view of a storage, in elements.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TensorView {
    /// The index in [`Tensors::storages`].
    pub(super) storage: usize,
    pub(super) element_size: usize,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
    pub(super) is_contiguous: bool,
}

/// The tensors of the model's dictionary and their storages.
#[derive(Debug, Default)]
pub(super) struct Tensors {
    pub(super) listing: Listing,
    pub(super) storages: Vec<StorageLocation>,
    /// The views by the tensors' names.
    pub(super) views: HashMap<String, TensorView>,
}

/// Locates the storage of each tensor of the model's dictionary; `find_storage` is called once for each storage.
///
/// # Errors
/// A sentence about the file.
pub(super) fn locate_tensors(
    unpickler: &Unpickler<'_>,
    state_dict: StateDict<'_>,
    mut find_storage: impl FnMut(&str) -> Result<StorageLocation, String>,
) -> Result<Tensors, String> {
    let StateDict { path, entries, other_objects, other_tensors, training_config, texts } = state_dict;
    let mut tensors = Tensors {
        listing: Listing {
            state_dict: path,
            other_objects,
            other_tensors,
            training_config,
            texts,
            ..Listing::default()
        },
        ..Tensors::default()
    };
    let Tensors { listing, storages, views } = &mut tensors;
    let mut indices: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, value) in &entries {
        let view = match value {
            Value::Tensor(view) => view,
            other => {
                listing.non_tensors.insert(name.clone(), unpickler.python_type(other).to_string());
                continue;
            }
        };
        if let Some(transform) = &view.transform {
            let kind = match transform.as_str() {
                "neg" => NEGATED_VIEW.to_string(),
                other => format!("torch.Tensor with `{other}`"),
            };
            listing.non_tensors.insert(name.clone(), kind);
            continue;
        }
        let storage = match indices.get(view.storage.key) {
            Some(index) => *index,
            None => {
                let found = find_storage(view.storage.key).map_err(|reason| format!("tensor `{name}`: {reason}"))?;
                storages.push(found);
                indices.insert(view.storage.key, storages.len() - 1);
                storages.len() - 1
            }
        };
        let located =
            locate(view, storage, &storages[storage]).map_err(|reason| format!("tensor `{name}`: {reason}"))?;
        listing.tensors.insert(name.clone(), TensorInfo { dtype: view.dtype.clone(), shape: view.shape.clone() });
        views.insert(name.clone(), located);
    }
    Ok(tensors)
}

/// Checks a view against the length of its storage.
fn locate(view: &View<'_>, storage: usize, location: &StorageLocation) -> Result<TensorView, String> {
    let View { element_size, shape, strides, .. } = view;
    let offset = view.storage.start.saturating_add(view.offset);
    let declared = view.storage.elements.checked_mul(view.storage.element_size);
    if declared != Some(location.len()) {
        let (key, length) = (view.storage.key, location.len());
        return Err(format!(
            "its storage `{key}` has {length} bytes, expected {} of {} bytes: the file is damaged",
            view.storage.elements, view.storage.element_size
        ));
    }
    let used = end(offset, shape, strides).and_then(|elements| elements.checked_mul(*element_size));
    if used.is_none_or(|used| used > location.len()) {
        return Err(format!("its shape {shape:?} reaches beyond its storage: the file is damaged"));
    }
    let (shape, strides, is_contiguous) = (shape.clone(), strides.clone(), view.is_contiguous());
    Ok(TensorView { storage, element_size: *element_size, offset, shape, strides, is_contiguous })
}

impl TensorView {
    /// The number of bytes of the tensor's elements.
    pub(super) fn byte_len(&self) -> usize {
        self.shape.iter().fold(self.element_size, |bytes, &extent| bytes.saturating_mul(extent))
    }
}
