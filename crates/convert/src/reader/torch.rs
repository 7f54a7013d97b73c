use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use mert_spec::CONV0_WEIGHT;
use pytorch_reader::{DType, PickleValue, PytorchError, PytorchReader, Tensor};

use super::negated_view::holds_negated_view;
use super::storages::{Location, locate};
use super::{Checkpoint, Listing, MappedFile, SourceDtype, TensorBytes, TensorInfo};
use crate::{ConvertError, Result};

/// A file written by `torch.save`: zip, legacy or tar container.
///
/// Objects that are not tensors stay opaque; nothing in the file is executed.
#[derive(Debug)]
pub struct TorchFile {
    listing: Listing,
    tensors: HashMap<String, Tensor>,
    file: MappedFile,
    /// Where those tensors lie of which that is known.
    locations: HashMap<String, Location>,
}

impl TorchFile {
    /// Parses the pickle and finds the dictionary that holds the model: the root, or one nested in it
    /// (`state_dict`, `model`, …). `key` names it where there are several.
    ///
    /// # Errors
    /// [`ConvertError::NotACheckpoint`] for a damaged or foreign file, [`ConvertError::Ambiguous`] for
    /// several models.
    pub fn open(path: &Path, key: Option<&str>) -> Result<Self> {
        let damaged = |error: PytorchError| match error {
            PytorchError::Io(source) if source.kind() != io::ErrorKind::UnexpectedEof => {
                ConvertError::Open { path: path.to_path_buf(), source }
            }
            other => ConvertError::NotACheckpoint {
                path: path.to_path_buf(),
                reason: format!("{other}; expected a file written by torch.save, or safetensors"),
            },
        };
        if holds_negated_view(path) {
            return Err(ConvertError::NegatedView { path: path.to_path_buf() });
        }
        // The first pass gives the dictionaries' structure, which tensor paths alone do not show: a
        // dot can be part of a key or separate two.
        let root = PytorchReader::read_pickle_data(path, None).map_err(damaged)?;
        let all = PytorchReader::new(path).map_err(damaged)?.into_tensors();

        let state_dict = find_state_dict(path, &root, key)?;
        let file = MappedFile::open(path).map_err(|source| ConvertError::Open { path: path.to_path_buf(), source })?;
        let mut located = locate(&file);
        let mut locations = HashMap::new();
        let (mut listing, mut tensors) =
            (Listing { state_dict: state_dict.path.clone(), ..Listing::default() }, HashMap::new());
        let mut names: BTreeMap<String, Tensor> = all.into_iter().collect();
        for (key, value) in state_dict.entries {
            let full = join(&state_dict.path, key);
            match names.remove(&full) {
                Some(tensor) => {
                    let info = TensorInfo { dtype: dtype(tensor.dtype()), shape: tensor.shape().to_vec() };
                    if let Some(location) = located.remove(&full).filter(|location| location.info == info) {
                        locations.insert(key.clone(), location);
                    }
                    listing.tensors.insert(key.clone(), info);
                    tensors.insert(key.clone(), tensor);
                }
                None => {
                    listing.foreign.insert(key.clone(), python_type(value).to_string());
                }
            }
        }
        listing.outside = names.into_keys().collect();
        Ok(TorchFile { listing, tensors, file, locations })
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
        self.locations.contains_key(name)
    }

    fn read(&self, name: &str) -> io::Result<TensorBytes<'_>> {
        if let Some(location) = self.locations.get(name) {
            let named = |e: io::Error| io::Error::new(e.kind(), format!("tensor `{name}`: {e}"));
            return location.read(&self.file).map(TensorBytes::InPlace).map_err(named);
        }
        let tensor = self.tensors.get(name).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("tensor `{name}` is not in the checkpoint"))
        })?;
        tensor.read().map(TensorBytes::Gathered)
    }
}

struct StateDict<'a> {
    path: String,
    entries: &'a HashMap<String, PickleValue>,
}

/// The dictionary that holds the first convolution's weight under any prefix; the root if none does.
fn find_state_dict<'a>(path: &Path, root: &'a PickleValue, asked: Option<&str>) -> Result<StateDict<'a>> {
    let not_a_checkpoint = |reason| ConvertError::NotACheckpoint { path: path.to_path_buf(), reason };
    let mut found = Vec::new();
    collect_state_dicts(root, String::new(), &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    let shown = |path: &str| if path.is_empty() { "(none: it is the file's root)".into() } else { format!("`{path}`") };
    let candidates: Vec<String> = found.iter().map(|c| shown(&c.path)).collect();
    if let Some(asked) = asked {
        found.retain(|candidate| candidate.path == asked);
        if found.is_empty() {
            return Err(not_a_checkpoint(format!(
                "no model is under key `{asked}`; the keys that hold one are: {}",
                candidates.join(", ")
            )));
        }
    }
    if found.len() > 1 {
        return Err(ConvertError::Ambiguous { candidates, option: "--key" });
    }
    match (found.pop(), root) {
        (Some(only), _) => Ok(only),
        (None, PickleValue::Dict(entries)) => Ok(StateDict { path: String::new(), entries }),
        (None, other) => Err(not_a_checkpoint(format!(
            "its root is a pickled `{}` (which was not executed), expected a dictionary of tensors",
            python_type(other)
        ))),
    }
}

fn collect_state_dicts<'a>(value: &'a PickleValue, path: String, found: &mut Vec<StateDict<'a>>) {
    let PickleValue::Dict(entries) = value else { return };
    let holds_model = |(key, value): (&String, &PickleValue)| {
        key.ends_with(CONV0_WEIGHT) && !matches!(value, PickleValue::Dict(_) | PickleValue::List(_))
    };
    if entries.iter().any(holds_model) {
        found.push(StateDict { path, entries });
        return;
    }
    for (key, value) in entries {
        collect_state_dicts(value, join(&path, key), found);
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_string() } else { format!("{path}.{key}") }
}

fn python_type(value: &PickleValue) -> &str {
    match value {
        PickleValue::None => "None",
        PickleValue::Bool(_) => "bool",
        PickleValue::Int(_) => "int",
        PickleValue::Float(_) => "float",
        PickleValue::String(_) => "str",
        PickleValue::List(_) => "list",
        PickleValue::Dict(_) => "dict",
        PickleValue::Bytes(_) => "bytes",
        PickleValue::Unsupported(name) => name,
    }
}

fn dtype(dtype: DType) -> SourceDtype {
    match dtype {
        DType::F64 => SourceDtype::F64,
        DType::F32 => SourceDtype::F32,
        DType::F16 => SourceDtype::F16,
        DType::BF16 => SourceDtype::Bf16,
        other => SourceDtype::Other(format!("{other:?}").to_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use mert_testkit::fixture;

    use super::*;

    /// Two readers of the same file: where a tensor is found in place, its bytes are what the library reads.
    #[test]
    fn what_lies_in_place_is_what_the_library_reads() {
        let tensors_in_place = |name: &str| {
            let file = TorchFile::open(&fixture(name), None).unwrap();
            for name in file.locations.keys() {
                assert!(matches!(file.read(name).unwrap(), TensorBytes::InPlace(_)));
                assert!(file.read(name).unwrap()[..] == file.tensors[name].read().unwrap(), "{name}");
            }
            (file.locations.len(), file.tensors.len())
        };
        for name in [
            "containers/zip.bin",
            "containers/legacy.bin",
            "containers/lightning.ckpt",
            "containers/fairseq-like.pt",
            "containers/parametrizations.bin",
            "containers/views.bin",
            "containers/data-parallel.bin",
            "containers/f16.bin",
            "containers/bf16.bin",
            "mert-tiny/pytorch_model.bin",
        ] {
            let (in_place, all) = tensors_in_place(name);
            assert_eq!(in_place, all, "{name}");
        }
        let (in_place, all) = tensors_in_place("containers/non-contiguous.bin");
        assert!(0 < in_place && in_place < all, "{in_place} of {all}");
    }
}
