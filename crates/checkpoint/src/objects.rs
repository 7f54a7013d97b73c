//! Recognition of Python objects where tensors or a model should be, with what to do.

use mert_arch::printable_line;

use std::collections::{HashSet, VecDeque};
use std::path::Path;

use super::pickle::{Node, Unpickler, Value};
use super::signature::python;
use super::state_dict::holds_model;
use crate::{CheckpointError, Result};

/// The kind of a lazily negated view in [`super::Listing::foreign`].
pub const NEGATED_VIEW: &str = "negated view";

/// A part of a class or function name, a description of its objects, and how to convert them to tensors.
const KINDS: &[(&str, &str, &str)] = &[
    (
        "DTensor",
        "one rank's shard of a distributed tensor",
        "save the whole model on rank 0 with torch.distributed.checkpoint.state_dict.get_model_state_dict(model, \
         options=StateDictOptions(full_state_dict=True)), or call full_tensor() on each",
    ),
    (
        "ShardedTensor",
        "one rank's shard of a distributed tensor",
        "save the whole model with FullStateDictConfig: FSDP.set_state_dict_type(model, StateDictType.FULL_STATE_DICT)",
    ),
    (
        "_rebuild_meta_tensor",
        "a tensor on the meta device, which holds no data",
        "load the weights into the model (to_empty, then load_state_dict) and save it again",
    ),
    ("_rebuild_qtensor", "a quantized tensor", "save the float model, from before it was quantized"),
    ("PackedParams", "a quantized layer's packed weights", "save the float model, from before it was quantized"),
    ("bitsandbytes", "a quantized tensor", "save the float model, from before it was quantized"),
    ("torchao", "a quantized tensor", "save the float model, from before it was quantized"),
    (
        "torch._utils._rebuild_tensor",
        "a tensor written by pickle.dump, or in protocol 0 or 1",
        "load the file in Python and save it with torch.save without pickle_protocol",
    ),
    ("_rebuild_sparse", "a sparse tensor", "save it again after tensor.to_dense()"),
    ("_rebuild_nested", "a nested tensor", "save it again after tensor.to_padded_tensor(0.0)"),
    ("ndarray", "a numpy array", "make tensors of the arrays with torch.from_numpy, and torch.save them"),
    ("numpy.", "a value of numpy", "make tensors of the arrays with torch.from_numpy, and torch.save them"),
    (
        "_load_from_bytes",
        "a tensor written by pickle.dump",
        "load it in Python with pickle.load and save it with torch.save",
    ),
];

/// A description of an object in place of a tensor, and what to do; `None` if its kind is unknown.
pub fn advice(kind: &str) -> Option<(&'static str, &'static str)> {
    KINDS.iter().find(|(part, ..)| kind.contains(part)).map(|(_, what, fix)| (*what, *fix))
}

/// Root keys of files that training writes beside the model, and the contents of such a file.
const OTHER_FILES: &[(&[&str], &str)] = &[
    (&["state", "param_groups"], "an optimizer's state"),
    (&["last_epoch", "_last_lr"], "a learning rate schedule"),
    (&["python", "numpy", "cpu"], "the states of random number generators"),
    (&["scale", "growth_factor", "_growth_tracker"], "a gradient scaler's state"),
    (&["optimizer_state_dict", "ds_version"], "a part of DeepSpeed's optimizer state"),
];

/// A pickled module.
pub(super) struct Module {
    /// The path in the file, with dots between the keys.
    pub(super) path: String,
    /// The Python class.
    pub(super) class: String,
    /// The path as Python subscripts, if it has any.
    pub(super) subscripts: Option<String>,
}

/// Refuses the dictionary with the most tensors if its keys are not strings.
pub(super) fn refuse_keys(path: &Path, unpickler: &Unpickler<'_>, entries: &[(Value<'_>, Value<'_>)]) -> Result<()> {
    const FEW: usize = 8;
    let mut others = entries
        .iter()
        .filter(|(key, value)| !matches!(key, Value::Text(_) | Value::Int(_)) && matches!(value, Value::Tensor(_)));
    let Some((key, _)) = others.clone().next() else { return Ok(()) };
    if others.by_ref().count() < FEW {
        return Ok(());
    }
    let kind = unpickler.python_type(key);
    let text = if kind == "bytes" { "key.decode()" } else { "str(key)" };
    Err(CheckpointError::NotACheckpoint {
        path: path.to_path_buf(),
        reason: format!(
            "the keys of its dictionary are of the type `{}`, expected strings; save it with strings as keys: \
             torch.save({{{text}: value for key, value in state_dict.items()}}, \"state_dict.pt\")",
            printable_line(kind)
        ),
    })
}

/// The class of the object whose attributes or arguments hold a model's dictionary, such as a UserDict.
fn object_with_model<'u>(unpickler: &'u Unpickler<'_>, root: &'u Value<'_>) -> Option<&'u str> {
    let mut seen: HashSet<Node> = HashSet::new();
    let mut open = VecDeque::from([(root, None)]);
    while let Some((value, class)) = open.pop_front() {
        let Some(node) = Unpickler::node(value).filter(|node| seen.insert(*node)) else { continue };
        let entries = unpickler.dict_of(value).unwrap_or_default();
        // The metadata of a distributed checkpoint has the same keys and no tensors.
        if class.is_some() && holds_model(entries) && entries.iter().any(|(_, value)| matches!(value, Value::Tensor(_)))
        {
            return class;
        }
        let class = if matches!(node, Node::Object(_)) { Some(unpickler.python_type(value)) } else { class };
        open.extend(unpickler.within(node).map(|value| (value, class)));
    }
    None
}

/// Refuses a pickle without the model's tensors with a description, if its kind is known: whole modules, training
/// state.
pub(super) fn refuse_without_model(
    path: &Path,
    unpickler: &Unpickler<'_>,
    root: &Value<'_>,
    modules: &[Module],
) -> Result<()> {
    let refused = |reason: String| Err(CheckpointError::NotACheckpoint { path: path.to_path_buf(), reason });
    if let Some(Module { path: key, class, subscripts }) = modules.first() {
        let place = if key.is_empty() { String::new() } else { format!(" under `{}`", printable_line(key)) };
        let how = match subscripts {
            Some(subscripts) => python(
                &format!(
                    "m = torch.load({{path}}, map_location=\"cpu\", weights_only=False){subscripts}; \
                     torch.save(m.state_dict(), \"state_dict.pt\")"
                ),
                path,
            ),
            None => {
                "load the file with torch.load(…, weights_only=False), take the module out of it, and torch.save its \
                     state_dict()"
                    .into()
            }
        };
        return refused(format!(
            "it holds a whole pickled module, `{}`{place}, whose class is not run to read it. Where the class can be \
             imported, and if you trust the file, save its state dict: {how}",
            printable_line(class),
        ));
    }
    if let Some(class) = object_with_model(unpickler, root) {
        return refused(format!(
            "it holds a model's dictionary inside a pickled `{}` (which was not executed), expected a plain dictionary; \
             load the file in Python, take the dictionary out of the object, and save it: torch.save(dict(state_dict), \
             \"state_dict.pt\")",
            printable_line(class)
        ));
    }
    let keys: Vec<&str> = unpickler
        .dict_of(root)
        .into_iter()
        .flatten()
        .filter_map(|(key, _)| match key {
            Value::Text(key) => Some(*key),
            _ => None,
        })
        .collect();
    if let Some((_, what)) = OTHER_FILES.iter().find(|(known, _)| known.iter().all(|key| keys.contains(key))) {
        return refused(format!(
            "it holds {what}, not the model; give the file with the weights from the same folder, such as \
             model.safetensors or pytorch_model.bin"
        ));
    }
    if unpickler.dict_of(root).is_some() || matches!(root, Value::Dict(_)) {
        return Ok(());
    }
    let kind = unpickler.python_type(root);
    let hint = match kind {
        kind if kind.contains("TrainingArguments") => {
            "; it is the Trainer's arguments, not the model: give model.safetensors or pytorch_model.bin from the same \
             folder"
        }
        "torch.distributed.checkpoint.metadata.Metadata" => {
            "; it is a distributed checkpoint's index: give the folder that it is in"
        }
        "int" => {
            "; torch.save with pickle_protocol=0 or 1 writes that: load the file in Python and save it with torch.save \
             without pickle_protocol"
        }
        kind if kind.contains("joblib") || kind.contains("sklearn") => "; it is joblib's or scikit-learn's",
        _ => "",
    };
    refused(format!(
        "its root is a pickled `{}` (which was not executed), expected a dictionary of tensors{hint}",
        printable_line(kind)
    ))
}
