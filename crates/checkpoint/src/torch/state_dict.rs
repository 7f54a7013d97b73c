//! The model's dictionary in a pickle, and the contents of the file outside it.

use std::collections::BTreeMap;
use std::path::Path;

use mert_arch::fairseq::CfgValue;
use mert_arch::printable_line;

use super::refusals::{refuse_keys, refuse_without_model};
use super::training_config::{TRAINER_MODEL, is_trainer, training_config};
use super::tree::{Key, Tree, key_of, shortened};
use crate::checkpoint::OtherObject;
use crate::error::display_key;
use crate::pickle::{Unpickler, Value};
use crate::{CheckpointError, Result};

/// The model's dictionary.
pub(super) struct StateDict<'a> {
    /// The path in the file, with dots between the keys; empty for the root.
    pub(super) path: String,
    /// The entries; the last one of a name counts, as in Python.
    pub(super) entries: BTreeMap<String, Value<'a>>,
    /// The objects outside the dictionary.
    pub(super) other_objects: Vec<OtherObject>,
    /// The paths of tensors outside the dictionary.
    pub(super) other_tensors: Vec<String>,
    /// The training configuration beside the model.
    pub(super) training_config: Option<CfgValue>,
    /// The strings in the file's root.
    pub(super) texts: BTreeMap<String, String>,
}

impl<'a> StateDict<'a> {
    /// The dictionary at a position of the tree.
    fn new(tree: &Tree<'_, 'a>, unpickler: &Unpickler<'a>, position: usize) -> Self {
        let entries = tree.entries(position).iter().map(|(key, value)| {
            let key = match key_of(unpickler, key) {
                Key::Text(key) => key.to_string(),
                other => shortened(&other),
            };
            (key, value.clone())
        });
        StateDict {
            path: tree.path(position, None),
            entries: entries.collect(),
            other_objects: tree.other_objects(position),
            other_tensors: tree.other_tensors(position),
            training_config: training_config(unpickler, tree.root()),
            texts: texts(unpickler, tree.root()),
        }
    }
}

/// The strings in a pickle's root, as far as they are not larger than a configuration.
fn texts(unpickler: &Unpickler<'_>, root: &Value<'_>) -> BTreeMap<String, String> {
    const MAX_TEXT: usize = 1 << 20;
    let text = |(key, value): &(Value<'_>, Value<'_>)| match (key, value) {
        (Value::Text(key), Value::Text(text)) if key.len() + text.len() <= MAX_TEXT => {
            Some((key.to_string(), text.to_string()))
        }
        _ => None,
    };
    unpickler.dict_of(root).unwrap_or_default().iter().filter_map(text).collect()
}

/// Finds the dictionary with the first convolution's weight under any prefix; `requested` chooses among several. Without
/// one, returns the dictionary with the most tensors, so that its names can be examined.
///
/// # Errors
/// [`CheckpointError::Ambiguous`] for several models, [`CheckpointError::NotACheckpoint`] if there is neither a model nor a
/// dictionary of tensors.
pub(super) fn find_state_dict<'a>(
    path: &Path,
    unpickler: &Unpickler<'a>,
    root: &Value<'a>,
    requested: Option<&str>,
) -> Result<StateDict<'a>> {
    let tree = Tree::new(unpickler, root);
    let models = tree.models();
    let mut paths: Vec<String> = models.iter().map(|&position| tree.path(position, None)).collect();
    let duplicate = paths.iter().enumerate().find(|(at, path)| paths[..*at].contains(path)).map(|(_, path)| path);
    if let Some(duplicate) = duplicate.filter(|path| requested.is_none_or(|requested| requested == *path)) {
        let reason = format!(
            "two dictionaries with a model have the path `{}` (a key with a dot, and keys of nested dictionaries), so that \
             --key cannot choose one; save the intended one by itself with torch.save",
            printable_line(duplicate)
        );
        return Err(CheckpointError::not_a_checkpoint(path, reason));
    }
    if let Some(requested) = requested {
        if let Some(index) = paths.iter().position(|path| path == requested) {
            return Ok(StateDict::new(&tree, unpickler, models[index]));
        }
        paths.sort();
        let listed: Vec<String> = paths.iter().map(|path| display_key(path)).collect();
        let advice = match &paths[..] {
            [] => "no dictionary in the file holds one".to_string(),
            [only] if only.is_empty() => "the model is at the file's root; leave --key out".to_string(),
            _ => format!("the keys that hold one are {}", listed.join(", ")),
        };
        let reason = format!("no model under --key `{}`: {advice}", printable_line(requested));
        return Err(CheckpointError::not_a_checkpoint(path, reason));
    }
    match models[..] {
        [only] => Ok(StateDict::new(&tree, unpickler, only)),
        [] => {
            refuse_without_model(path, unpickler, root, &tree.modules())?;
            let most = tree.most_tensors();
            refuse_keys(path, unpickler, tree.entries(most))?;
            Ok(StateDict::new(&tree, unpickler, most))
        }
        _ => {
            // The averaged copy of a Trainer is in `extra_state.ema`; --key chooses it.
            let trained = models.iter().zip(&paths).find(|(_, path)| *path == TRAINER_MODEL);
            if let Some((&trained, _)) = trained.filter(|_| is_trainer(unpickler, root)) {
                return Ok(StateDict::new(&tree, unpickler, trained));
            }
            paths.sort();
            Err(CheckpointError::Ambiguous { candidates: paths, option: "--key" })
        }
    }
}

#[cfg(test)]
mod tests {
    use mert_arch::CONV0_WEIGHT;

    use super::*;

    const TENSOR: &[u8] = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n\
        X\x01\0\0\0kX\x03\0\0\0cpuK\x0atQK\0K\x02\x85K\x01\x85\x89NtR";

    fn text(text: &str) -> Vec<u8> {
        [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
    }

    fn dict(entries: &[(&[u8], &[u8])]) -> Vec<u8> {
        let entries: Vec<u8> = entries.iter().flat_map(|(key, value)| [*key, *value].concat()).collect();
        [b"}(", &entries[..], b"u"].concat()
    }

    fn model() -> Vec<u8> {
        dict(&[(&text(CONV0_WEIGHT), TENSOR)])
    }

    /// The path of the dictionary found.
    fn find(pickle: &[u8], requested: Option<&str>) -> Result<String> {
        let pickle = [pickle, b"."].concat();
        let mut unpickler = Unpickler::new(&pickle);
        let root = unpickler.load().unwrap();
        find_state_dict("x.bin".as_ref(), &unpickler, &root, requested).map(|found| found.path)
    }

    #[track_caller]
    fn refused(pickle: &[u8], words: &[&str]) {
        let message = find(pickle, None).unwrap_err().to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{words:?}: {message}");
    }

    #[test]
    fn a_second_model_below_the_first() {
        let both = dict(&[(&text(CONV0_WEIGHT), TENSOR), (&text("ema"), &model())]);
        let error = find(&both, None).unwrap_err();
        assert!(
            matches!(&error, CheckpointError::Ambiguous { candidates, option: "--key" } if *candidates == ["", "ema"]),
            "{error}"
        );
        assert_eq!(find(&both, Some("")).unwrap(), "");
        assert_eq!(find(&both, Some("ema")).unwrap(), "ema");
    }

    #[test]
    fn a_key_with_a_dot_and_nested_keys() {
        let nested = dict(&[(&text("b"), &model())]);
        let both = dict(&[(&text("a.b"), &model()), (&text("a"), &nested)]);
        refused(&both, &["two dictionaries", "`a.b`", "torch.save"]);
        assert!(find(&both, Some("a.b")).unwrap_err().to_string().contains("two dictionaries"));
        assert_eq!(find(&dict(&[(&text("a.b"), &model())]), None).unwrap(), "a.b");
    }

    #[test]
    fn modules_are_reached_by_subscripts() {
        let module = [b"c__main__\nNet\n)\x81", &dict(&[(&text("_modules"), b"}")])[..], b"b"].concat();
        let list = [b"](", &module[..], b"e"].concat();
        for (pickle, subscripts) in [
            (module.clone(), "weights_only=False);"),
            (dict(&[(b"K\x07", &dict(&[(&text("net"), &module)]))]), r#"weights_only=False)[7]["net"];"#),
            (dict(&[(&text("a.b"), &module)]), r#"weights_only=False)["a.b"];"#),
            (dict(&[(&text("models"), &list)]), r#"weights_only=False)["models"][0];"#),
            (dict(&[(b"N", &module)]), "take the module out of it"),
        ] {
            refused(&pickle, &["__main__.Net", subscripts]);
        }
    }

    #[test]
    fn a_model_in_another_object() {
        let object = |class: &[u8]| {
            let state = dict(&[(&text("data"), &model())]);
            [b"c", class, b"\n)\x81", &state[..], b"b"].concat()
        };
        let user_dict = object(b"collections\nUserDict");
        refused(&user_dict, &["inside a pickled `collections.UserDict`", "torch.save(dict("]);
        refused(&dict(&[(&text("model"), &user_dict)]), &["inside a pickled `collections.UserDict`"]);
        refused(&object(b"argparse\nNamespace"), &["inside a pickled `argparse.Namespace`"]);
        let state = dict(&[(&text("data"), &dict(&[(&text(CONV0_WEIGHT), b"K\x01")]))]);
        let metadata = b"ctorch.distributed.checkpoint.metadata\nMetadata\n)\x81";
        refused(&[metadata, &state[..], b"b"].concat(), &["a distributed checkpoint's index"]);
    }

    #[test]
    fn keys_that_are_not_strings() {
        let keys: Vec<Vec<u8>> = (b'a'..=b'z').map(|letter| vec![b'C', 1, letter]).collect();
        let entries: Vec<(&[u8], &[u8])> = keys.iter().map(|key| (&key[..], TENSOR)).collect();
        refused(&dict(&entries), &["`bytes`", "key.decode()"]);
    }

    #[test]
    fn flattened_parameters_of_one_rank() {
        let part = b"ctorch.distributed._shard.sharded_tensor.api\nShardedTensor\n)\x81";
        let parts = dict(&[(&text("encoder._flat_param"), part), (&text("_flat_param"), part)]);
        assert_eq!(find(&dict(&[(&text("epoch"), b"K\x03"), (&text("model"), &parts)]), None).unwrap(), "model");
    }

    #[test]
    fn a_legacy_file_of_an_old_protocol() {
        refused(b"K\x01", &["pickled `int`", "without pickle_protocol"]);
    }
}
