//! Refusals of pickles without a model's tensors, with a description of the contents and what to do.

use std::collections::{HashSet, VecDeque};
use std::path::Path;

use mert_arch::printable_line;

use super::tree::{Module, holds_model};
use crate::commands::python;
use crate::pickle::{Container, Unpickler, Value};
use crate::{CheckpointError, Result};

/// Files that training writes beside the model: the keys of their root, and their contents.
const TRAINING_FILES: &[(&[&str], &str)] = &[
    (&["state", "param_groups"], "an optimizer's state"),
    (&["last_epoch", "_last_lr"], "a learning rate schedule"),
    (&["python", "numpy", "cpu"], "the states of random number generators"),
    (&["scale", "growth_factor", "_growth_tracker"], "a gradient scaler's state"),
    (&["optimizer_state_dict", "ds_version"], "a part of DeepSpeed's optimizer state"),
];

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
    let reason = format!(
        "the keys of its dictionary are of the type `{}`, expected strings; save it with strings as keys: \
         torch.save({{{text}: value for key, value in state_dict.items()}}, \"state_dict.pt\")",
        printable_line(kind)
    );
    Err(CheckpointError::not_a_checkpoint(path, reason))
}

/// The class of the object whose attributes or arguments hold a model's dictionary, such as a UserDict.
fn object_with_model<'u>(unpickler: &'u Unpickler<'_>, root: &'u Value<'_>) -> Option<&'u str> {
    let mut seen: HashSet<Container> = HashSet::new();
    let mut open = VecDeque::from([(root, None)]);
    while let Some((value, class)) = open.pop_front() {
        let Some(container) = Unpickler::container(value).filter(|container| seen.insert(*container)) else { continue };
        let entries = unpickler.dict_of(value).unwrap_or_default();
        // The metadata of a distributed checkpoint has the same keys and no tensors.
        if class.is_some() && holds_model(entries) && entries.iter().any(|(_, value)| matches!(value, Value::Tensor(_)))
        {
            return class;
        }
        let class = if matches!(container, Container::Object(_)) { Some(unpickler.python_type(value)) } else { class };
        open.extend(unpickler.within(container).map(|value| (value, class)));
    }
    None
}

/// Refuses a pickle without the model's tensors, if the kind of its contents is known: whole modules, a model in another
/// object, training state.
pub(super) fn refuse_without_model(
    path: &Path,
    unpickler: &Unpickler<'_>,
    root: &Value<'_>,
    modules: &[Module],
) -> Result<()> {
    let reason = modules
        .first()
        .map(|module| pickled_module(path, module))
        .or_else(|| object_with_model(unpickler, root).map(inside_an_object))
        .or_else(|| training_file(unpickler, root))
        .or_else(|| other_root(unpickler, root));
    reason.map_or(Ok(()), |reason| Err(CheckpointError::not_a_checkpoint(path, reason)))
}

fn pickled_module(path: &Path, module: &Module) -> String {
    let Module { path: key, class, subscripts } = module;
    let place = if key.is_empty() { String::new() } else { format!(" under `{}`", printable_line(key)) };
    let how = match subscripts {
        Some(subscripts) => python(
            &format!(
                "m = torch.load({{path}}, map_location=\"cpu\", weights_only=False){subscripts}; \
                 torch.save(m.state_dict(), \"state_dict.pt\")"
            ),
            path,
        ),
        None => "load the file with torch.load(…, weights_only=False), take the module out of it, and torch.save its \
                 state_dict()"
            .into(),
    };
    format!(
        "it holds a whole pickled module, `{}`{place}, whose class is not run to read it. Where the class can be imported, \
         and if you trust the file, save its state dict: {how}",
        printable_line(class),
    )
}

fn inside_an_object(class: &str) -> String {
    format!(
        "it holds a model's dictionary inside a pickled `{}` (which was not executed), expected a plain dictionary; load the \
         file in Python, take the dictionary out of the object, and save it: torch.save(dict(state_dict), \
         \"state_dict.pt\")",
        printable_line(class)
    )
}

fn training_file(unpickler: &Unpickler<'_>, root: &Value<'_>) -> Option<String> {
    let entries = unpickler.dict_of(root).unwrap_or_default();
    let has_key = |key: &&str| entries.iter().any(|(found, _)| matches!(found, Value::Text(found) if found == key));
    let (_, what) = TRAINING_FILES.iter().find(|(keys, _)| keys.iter().all(has_key))?;
    Some(format!(
        "it holds {what}, not the model; give the file with the weights from the same folder, such as model.safetensors or \
         pytorch_model.bin"
    ))
}

fn other_root(unpickler: &Unpickler<'_>, root: &Value<'_>) -> Option<String> {
    if unpickler.dict_of(root).is_some() || matches!(root, Value::Dict(_)) {
        return None;
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
    Some(format!(
        "its root is a pickled `{}` (which was not executed), expected a dictionary of tensors{hint}",
        printable_line(kind)
    ))
}
