//! The dictionaries and lists of a pickle as a tree: their paths, the models and modules among them, and the objects
//! outside a dictionary.

use std::collections::{HashSet, VecDeque};

use mert_arch::CONV0_WEIGHT;
use mert_arch::naming::FAIRSEQ_CONV0_WEIGHT;

use crate::checkpoint::OtherObject;
use crate::commands::python_literal;
use crate::names::strip_wrappers;
use crate::pickle::{Container, Unpickler, Value};

/// Limits on path lengths and on listings: a pickle of a few bytes can describe long paths, and many.
const MAX_PATH: usize = 256;
const MAX_NAME: usize = 1 << 12;
const MAX_OTHER_OBJECTS: usize = 1 << 12;
const MAX_OTHER_TENSORS: usize = 1 << 18;

/// A dictionary key or list index.
#[derive(Clone, Copy)]
pub(super) enum Key<'u> {
    Text(&'u str),
    Number(i64),
    /// A key of another type, by its Python type.
    Other(&'u str),
}

/// A value of the pickle and the path to it.
#[derive(Clone, Copy)]
struct Visit<'u, 'a> {
    value: &'u Value<'a>,
    parent: usize,
    key: Key<'u>,
}

/// A pickled module.
pub(super) struct Module {
    /// The path in the file, with dots between the keys.
    pub(super) path: String,
    /// The Python class.
    pub(super) class: String,
    /// The path as Python subscripts, if it has any.
    pub(super) subscripts: Option<String>,
}

/// Every dictionary and list that is reachable from the root through others, nearest first.
pub(super) struct Tree<'u, 'a> {
    unpickler: &'u Unpickler<'a>,
    visits: Vec<Visit<'u, 'a>>,
}

impl<'u, 'a> Tree<'u, 'a> {
    pub(super) fn new(unpickler: &'u Unpickler<'a>, root: &'u Value<'a>) -> Self {
        let mut seen: HashSet<Container> = Unpickler::container(root).into_iter().collect();
        let mut tree = Tree { unpickler, visits: vec![Visit { value: root, parent: 0, key: Key::Text("") }] };
        let mut parent = 0;
        while parent < tree.visits.len() {
            for (key, value) in tree.children(parent).collect::<Vec<_>>() {
                if Unpickler::container(value).is_some_and(|container| seen.insert(container)) {
                    tree.visits.push(Visit { value, parent, key });
                }
            }
            parent += 1;
        }
        tree
    }

    /// The pickle's root.
    pub(super) fn root(&self) -> &'u Value<'a> {
        self.visits[0].value
    }

    /// The entries of a dictionary, or the items of a list.
    fn children(&self, visit: usize) -> impl Iterator<Item = (Key<'u>, &'u Value<'a>)> + use<'u, 'a> {
        let (unpickler, value) = (self.unpickler, self.visits[visit].value);
        let entries = unpickler.dict_of(value).into_iter().flatten();
        let items = unpickler.items(value).filter(|_| matches!(value, Value::Sequence(_))).into_iter().flatten();
        let entries = entries.map(|(key, value)| (key_of(unpickler, key), value));
        entries.chain(items.enumerate().map(|(index, value)| (Key::Number(index as i64), value)))
    }

    /// The path to a value, with dots between the keys; only the end of a long path.
    pub(super) fn path(&self, visit: usize, last: Option<Key<'u>>) -> String {
        let mut visit = visit;
        let mut keys: Vec<String> = last.iter().map(shortened).collect();
        let mut length = keys.iter().map(String::len).sum::<usize>();
        while visit != 0 && length <= MAX_PATH {
            let key = shortened(&self.visits[visit].key);
            length += key.len() + 1;
            keys.push(key);
            visit = self.visits[visit].parent;
        }
        keys.reverse();
        let path = keys.join(".");
        if visit == 0 { path } else { format!("….{path}") }
    }

    /// The entries of a dictionary; none for a list.
    pub(super) fn entries(&self, visit: usize) -> &[(Value<'a>, Value<'a>)] {
        self.unpickler.dict_of(self.visits[visit].value).unwrap_or_default()
    }

    /// The dictionaries that hold a model.
    pub(super) fn models(&self) -> Vec<usize> {
        (0..self.visits.len()).filter(|&visit| holds_model(self.entries(visit))).collect()
    }

    /// The nearest of the dictionaries with the most direct tensors.
    pub(super) fn most_tensors(&self) -> usize {
        let tensors = |visit: usize| {
            // A ShardedTensor is an object.
            let is_tensor =
                |(_, value): &&(Value<'a>, Value<'a>)| self.unpickler.python_type(value).ends_with("Tensor");
            self.entries(visit).iter().filter(is_tensor).count()
        };
        (0..self.visits.len()).rev().max_by_key(|&visit| tensors(visit)).unwrap_or_default()
    }

    /// The pickled modules.
    pub(super) fn modules(&self) -> Vec<Module> {
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
                Key::Text(key) if key.len() <= MAX_PATH => python_literal(key),
                Key::Number(key) if !matches!(container, "set" | "frozenset") => key.to_string(),
                _ => return None,
            };
            subscripts = format!("[{literal}]{subscripts}");
            if subscripts.len() > MAX_PATH {
                return None;
            }
            visit = parent;
        }
        Some(subscripts)
    }

    /// The siblings of the entries on the path from the root to a dictionary.
    pub(super) fn other_objects(&self, visit: usize) -> Vec<OtherObject> {
        let mut path = vec![visit];
        while let Some(&last) = path.last().filter(|last| **last != 0) {
            path.push(self.visits[last].parent);
        }
        let mut seen: HashSet<Container> =
            path.iter().filter_map(|&visit| Unpickler::container(self.visits[visit].value)).collect();
        let mut objects = Vec::new();
        for (&outer, &inner) in path.iter().skip(1).zip(&path).rev() {
            for (key, value) in self.children(outer).filter(|(_, value)| *value != self.visits[inner].value) {
                if objects.len() == MAX_OTHER_OBJECTS {
                    return objects;
                }
                let kind = self.unpickler.python_type(value).to_string();
                objects.push(OtherObject {
                    name: self.path(outer, Some(key)),
                    kind,
                    tensors: self.tensors(value, &mut seen),
                });
            }
        }
        objects
    }

    /// The paths of tensors in dictionaries and lists other than the model's.
    pub(super) fn other_tensors(&self, model: usize) -> Vec<String> {
        let others = (0..self.visits.len()).filter(|&visit| visit != model);
        let tensors = others.flat_map(|visit| {
            let tensors = self.children(visit).filter(|(_, value)| matches!(value, Value::Tensor(_)));
            tensors.map(move |(key, _)| (visit, key))
        });
        tensors.take(MAX_OTHER_TENSORS).map(|(visit, key)| self.path(visit, Some(key))).collect()
    }

    /// The number of tensors reachable from a value, without those already seen.
    fn tensors(&self, value: &Value<'a>, seen: &mut HashSet<Container>) -> usize {
        let mut open = VecDeque::from([value]);
        let mut tensors = 0;
        while let Some(value) = open.pop_front() {
            tensors += usize::from(matches!(value, Value::Tensor(_)));
            if let Some(container) = Unpickler::container(value).filter(|container| seen.insert(*container)) {
                open.extend(self.unpickler.within(container));
            }
        }
        tensors
    }
}

/// Whether a key is the first convolution's weight, under any prefix.
fn is_conv0(key: &str) -> bool {
    key.ends_with(CONV0_WEIGHT) || key.ends_with(FAIRSEQ_CONV0_WEIGHT)
}

/// Whether a dictionary has the first convolution's weight.
pub(super) fn holds_model(entries: &[(Value<'_>, Value<'_>)]) -> bool {
    entries.iter().any(|(key, value)| {
        let Value::Text(key) = key else { return false };
        // An object of another type under that name is a transformed weight: an array, a shard.
        key.len() < MAX_NAME && is_conv0(&strip_wrappers(key)) && !matches!(value, Value::Dict(_) | Value::Sequence(_))
    })
}

/// A dictionary key of a pickle.
pub(super) fn key_of<'u>(unpickler: &'u Unpickler<'_>, key: &'u Value<'_>) -> Key<'u> {
    match key {
        Value::Text(key) => Key::Text(key),
        Value::Int(key) => Key::Number(*key),
        other => Key::Other(unpickler.python_type(other)),
    }
}

/// A key as a path component, shortened if it is long.
pub(super) fn shortened(key: &Key<'_>) -> String {
    match key {
        Key::Text(key) if key.len() > MAX_PATH => {
            format!("{}…", key.chars().take(MAX_PATH / 4).collect::<String>())
        }
        Key::Text(key) => key.to_string(),
        Key::Number(key) => key.to_string(),
        Key::Other(kind) => format!("({kind})"),
    }
}
