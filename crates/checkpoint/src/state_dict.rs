//! Finding the model's dictionary in a pickle, and listing the contents outside it.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::Path;

use mert_arch::{CONV0_WEIGHT, printable_line};

use super::Beside;
use super::objects::{Module, refuse_keys, refuse_without_model};
use super::pickle::{Node, Unpickler, Value};
use super::signature::python_literal;
use super::wrappers::unwrapped;
use crate::{CheckpointError, Result};

/// The model's dictionary.
pub(super) struct StateDict<'a> {
    /// The path in the file, with dots between the keys; empty for the root.
    pub(super) path: String,
    /// The entries; the last one of a name counts, as in Python.
    pub(super) entries: BTreeMap<String, Value<'a>>,
    /// The file's contents outside the dictionary.
    pub(super) beside: Vec<Beside>,
    /// The paths of tensors outside the dictionary.
    pub(super) outside: Vec<String>,
}

/// Limits on path lengths and on listings: a pickle of a few bytes can describe long paths, and many.
const LONGEST_PATH: usize = 256;
const LONGEST_NAME: usize = 1 << 12;
const MOST_BESIDE: usize = 1 << 12;
const MOST_OUTSIDE: usize = 1 << 18;

/// A dictionary key or list index.
#[derive(Clone, Copy)]
enum Key<'u> {
    Text(&'u str),
    Number(i64),
    /// Any other key, by its Python type.
    Other(&'u str),
}

/// A value of the pickle and the path to it.
#[derive(Clone, Copy)]
struct Visit<'u, 'a> {
    value: &'u Value<'a>,
    parent: usize,
    key: Key<'u>,
}

/// Every dictionary and list reachable from the root through others, nearest first.
struct Tree<'u, 'a> {
    unpickler: &'u Unpickler<'a>,
    visits: Vec<Visit<'u, 'a>>,
}

/// Finds the dictionary with the first convolution's weight under any prefix; among several, `asked`. Without one,
/// returns the dictionary with the most tensors, so that its names can be examined.
///
/// # Errors
/// [`CheckpointError::Ambiguous`] for several models, [`CheckpointError::NotACheckpoint`] if there is neither a model nor a
/// dictionary of tensors.
pub(super) fn find_state_dict<'a>(
    path: &Path,
    unpickler: &Unpickler<'a>,
    root: &Value<'a>,
    asked: Option<&str>,
) -> Result<StateDict<'a>> {
    let tree = Tree::new(unpickler, root);
    let models = tree.models();
    let mut paths: Vec<String> = models.iter().map(|&visit| tree.path(visit, None)).collect();
    if let Some(twice) = paths.iter().enumerate().find(|(at, path)| paths[..*at].contains(path)).map(|(_, path)| path)
        && asked.is_none_or(|asked| asked == twice)
    {
        return Err(CheckpointError::NotACheckpoint {
            path: path.to_path_buf(),
            reason: format!(
                "two dictionaries with a model have the path `{}` in it (a key with a dot, and keys of nested dictionaries), so \
                 that --key cannot choose one; save the one that you mean by itself with torch.save",
                printable_line(twice)
            ),
        });
    }
    if let Some(asked) = asked {
        if let Some(position) = paths.iter().position(|path| path == asked) {
            return Ok(tree.state_dict(models[position]));
        }
        paths.sort();
        let listed: Vec<String> = paths.iter().map(|path| shown_key(path)).collect();
        return Err(CheckpointError::NotACheckpoint {
            path: path.to_path_buf(),
            reason: format!("no model is under key `{asked}`; the keys that hold one are: {}", listed.join(", ")),
        });
    }
    match models[..] {
        [only] => Ok(tree.state_dict(only)),
        [] => {
            refuse_without_model(path, unpickler, root, &tree.modules())?;
            let most = tree.most_tensors();
            refuse_keys(path, unpickler, tree.entries(most))?;
            Ok(tree.state_dict(most))
        }
        _ => {
            paths.sort();
            Err(CheckpointError::Ambiguous { candidates: paths, option: "--key" })
        }
    }
}

/// A dictionary's path for messages.
pub(crate) fn shown_key(path: &str) -> String {
    if path.is_empty() { "(none: it is the file's root)".into() } else { format!("`{}`", printable_line(path)) }
}

impl<'u, 'a> Tree<'u, 'a> {
    fn new(unpickler: &'u Unpickler<'a>, root: &'u Value<'a>) -> Self {
        let mut seen: HashSet<Node> = Unpickler::node(root).into_iter().collect();
        let mut tree = Tree { unpickler, visits: vec![Visit { value: root, parent: 0, key: Key::Text("") }] };
        let mut parent = 0;
        while parent < tree.visits.len() {
            for (key, value) in tree.children(parent).collect::<Vec<_>>() {
                if Unpickler::node(value).is_some_and(|node| seen.insert(node)) {
                    tree.visits.push(Visit { value, parent, key });
                }
            }
            parent += 1;
        }
        tree
    }

    /// The entries of a dictionary, or the items of a list.
    fn children(&self, visit: usize) -> impl Iterator<Item = (Key<'u>, &'u Value<'a>)> + use<'u, 'a> {
        let (unpickler, value) = (self.unpickler, self.visits[visit].value);
        let entries = unpickler.dict_of(value).into_iter().flatten();
        let items = unpickler.items(value).filter(|_| matches!(value, Value::Sequence(_))).into_iter().flatten();
        let entries = entries.map(|(key, value)| (key_of(unpickler, key), value));
        entries.chain(items.enumerate().map(|(index, value)| (Key::Number(index as i64), value)))
    }

    /// The path to a value, with dots between the keys; of a long path, its end.
    fn path(&self, visit: usize, last: Option<Key<'u>>) -> String {
        let mut visit = visit;
        let mut keys: Vec<String> = last.iter().map(shortened).collect();
        let mut length = keys.iter().map(String::len).sum::<usize>();
        while visit != 0 && length <= LONGEST_PATH {
            let key = shortened(&self.visits[visit].key);
            length += key.len() + 1;
            keys.push(key);
            visit = self.visits[visit].parent;
        }
        keys.reverse();
        let path = keys.join(".");
        if visit == 0 { path } else { format!("….{path}") }
    }

    fn entries(&self, visit: usize) -> &[(Value<'a>, Value<'a>)] {
        self.unpickler.dict_of(self.visits[visit].value).unwrap_or_default()
    }

    /// The dictionaries that hold a model.
    fn models(&self) -> Vec<usize> {
        (0..self.visits.len()).filter(|&visit| holds_model(self.entries(visit))).collect()
    }

    /// The nearest of the dictionaries with the most direct tensors.
    fn most_tensors(&self) -> usize {
        let tensors = |visit: usize| {
            // A ShardedTensor is an object.
            let is_tensor =
                |(_, value): &&(Value<'a>, Value<'a>)| self.unpickler.python_type(value).ends_with("Tensor");
            self.entries(visit).iter().filter(is_tensor).count()
        };
        (0..self.visits.len()).rev().max_by_key(|&visit| tensors(visit)).unwrap_or_default()
    }

    /// The pickled modules.
    fn modules(&self) -> Vec<Module> {
        let is_module = |visit: &usize| {
            let state = self.unpickler.state(self.visits[*visit].value);
            let attributes = state.and_then(|state| self.unpickler.dict_of(state));
            attributes.is_some_and(|attributes| attributes.iter().any(|(key, _)| *key == Value::Text("_modules")))
        };
        let named = |visit: usize| Module {
            path: self.path(visit, None),
            class: self.unpickler.python_type(self.visits[visit].value).to_string(),
            subscripts: self.subscripts(visit),
        };
        (0..self.visits.len()).filter(is_module).map(named).collect()
    }

    /// The Python subscripts that lead from the root to a value, such as `["models"][0]`; `None` if a key on the path has
    /// no short literal, or a container no subscripts.
    fn subscripts(&self, visit: usize) -> Option<String> {
        let (mut visit, mut subscripts) = (visit, String::new());
        while visit != 0 {
            let Visit { parent, key, .. } = self.visits[visit];
            let container = self.unpickler.python_type(self.visits[parent].value);
            let literal = match key {
                Key::Text(key) if key.len() <= LONGEST_PATH => python_literal(key),
                Key::Number(key) if !matches!(container, "set" | "frozenset") => key.to_string(),
                _ => return None,
            };
            subscripts = format!("[{literal}]{subscripts}");
            if subscripts.len() > LONGEST_PATH {
                return None;
            }
            visit = parent;
        }
        Some(subscripts)
    }

    fn state_dict(&self, visit: usize) -> StateDict<'a> {
        let entries = self.entries(visit).iter().map(|(key, value)| {
            let key = match key_of(self.unpickler, key) {
                Key::Text(key) => key.to_string(),
                other => shortened(&other),
            };
            (key, value.clone())
        });
        StateDict {
            path: self.path(visit, None),
            entries: entries.collect(),
            beside: self.beside(visit),
            outside: self.outside(visit),
        }
    }

    /// The siblings of the entries on the path from the root to a dictionary.
    fn beside(&self, visit: usize) -> Vec<Beside> {
        let mut way = vec![visit];
        while let Some(&last) = way.last().filter(|last| **last != 0) {
            way.push(self.visits[last].parent);
        }
        let mut seen: HashSet<Node> =
            way.iter().filter_map(|&visit| Unpickler::node(self.visits[visit].value)).collect();
        let mut beside = Vec::new();
        for (&outer, &inner) in way.iter().skip(1).zip(&way).rev() {
            for (key, value) in self.children(outer).filter(|(_, value)| *value != self.visits[inner].value) {
                if beside.len() == MOST_BESIDE {
                    return beside;
                }
                let kind = self.unpickler.python_type(value).to_string();
                beside.push(Beside {
                    name: self.path(outer, Some(key)),
                    kind,
                    tensors: self.tensors(value, &mut seen),
                });
            }
        }
        beside
    }

    /// The paths of tensors in dictionaries and lists other than the model's.
    fn outside(&self, model: usize) -> Vec<String> {
        let others = (0..self.visits.len()).filter(|&visit| visit != model);
        let tensors = others.flat_map(|visit| {
            let tensors = self.children(visit).filter(|(_, value)| matches!(value, Value::Tensor(_)));
            tensors.map(move |(key, _)| (visit, key))
        });
        tensors.take(MOST_OUTSIDE).map(|(visit, key)| self.path(visit, Some(key))).collect()
    }

    /// The number of tensors reachable from a value, without those already seen.
    fn tensors(&self, value: &Value<'a>, seen: &mut HashSet<Node>) -> usize {
        let mut open = VecDeque::from([value]);
        let mut tensors = 0;
        while let Some(value) = open.pop_front() {
            tensors += usize::from(matches!(value, Value::Tensor(_)));
            if let Some(node) = Unpickler::node(value).filter(|node| seen.insert(*node)) {
                open.extend(self.unpickler.within(node));
            }
        }
        tensors
    }
}

/// Whether a dictionary has the first convolution's weight.
pub(super) fn holds_model(entries: &[(Value<'_>, Value<'_>)]) -> bool {
    entries.iter().any(|(key, value)| {
        let Value::Text(key) = key else { return false };
        // Any other object under that name is a transformed weight: an array, a shard.
        key.len() < LONGEST_NAME
            && unwrapped(key).ends_with(CONV0_WEIGHT)
            && !matches!(value, Value::Dict(_) | Value::Sequence(_))
    })
}

fn key_of<'u>(unpickler: &'u Unpickler<'_>, key: &'u Value<'_>) -> Key<'u> {
    match key {
        Value::Text(key) => Key::Text(key),
        Value::Int(key) => Key::Number(*key),
        other => Key::Other(unpickler.python_type(other)),
    }
}

/// A key as a path component.
fn shortened(key: &Key<'_>) -> String {
    match key {
        Key::Text(key) if key.len() > LONGEST_PATH => {
            format!("{}…", key.chars().take(LONGEST_PATH / 4).collect::<String>())
        }
        Key::Text(key) => key.to_string(),
        Key::Number(key) => key.to_string(),
        Key::Other(kind) => format!("({kind})"),
    }
}

#[cfg(test)]
mod tests {
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
    fn find(pickle: &[u8], asked: Option<&str>) -> Result<String> {
        let pickle = [pickle, b"."].concat();
        let mut unpickler = Unpickler::new(&pickle);
        let root = unpickler.load().unwrap();
        find_state_dict("x.bin".as_ref(), &unpickler, &root, asked).map(|found| found.path)
    }

    #[track_caller]
    fn refused(pickle: &[u8], words: &[&str]) {
        let said = find(pickle, None).unwrap_err().to_string();
        assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
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
    fn keys_that_are_no_strings() {
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
