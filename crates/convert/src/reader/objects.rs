//! Recognition of Python objects where tensors or a model should be, with what to do.

use std::path::Path;

use super::pickle::{Unpickler, Value};
use super::signature::python;
use crate::pattern::shown;
use crate::{ConvertError, Result};

/// The kind of a lazily negated view in [`super::Listing::foreign`].
pub(crate) const NEGATED_VIEW: &str = "negated view";

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
pub(crate) fn advice(kind: &str) -> Option<(&'static str, &'static str)> {
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

/// Refuses a pickle without the model's tensors with a description, if its kind is known: whole modules, training
/// state.
pub(super) fn refuse_without_model(
    path: &Path,
    unpickler: &Unpickler<'_>,
    root: &Value<'_>,
    modules: &[(String, String)],
) -> Result<()> {
    let refused = |reason: String| Err(ConvertError::NotACheckpoint { path: path.to_path_buf(), reason });
    if let Some((key, class)) = modules.first() {
        let place = if key.is_empty() { String::new() } else { format!(" under `{}`", shown(key)) };
        let keys: String = key.split('.').filter(|key| !key.is_empty()).map(|key| format!("[{key:?}]")).collect();
        return refused(format!(
            "it holds a whole pickled module, `{}`{place}, whose class is not run to read it. Where the class can be \
             imported, and if you trust the file, save its state dict: {}",
            shown(class),
            python(
                &format!(
                    "m = torch.load({{path}}, map_location=\"cpu\", weights_only=False){keys}; \
                             torch.save(m.state_dict(), \"state_dict.pt\")"
                ),
                path
            ),
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
        kind if kind.contains("joblib") || kind.contains("sklearn") => "; it is joblib's or scikit-learn's",
        _ => "",
    };
    refused(format!(
        "its root is a pickled `{}` (which was not executed), expected a dictionary of tensors{hint}",
        shown(kind)
    ))
}
