//! The dictionary of a pickle that holds the model, and what lies beside it.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::Path;

use mert_spec::CONV0_WEIGHT;

use super::Beside;
use super::objects::refuse_without_model;
use super::pickle::{Node, Unpickler, Value};
use super::wrappers::unwrapped;
use crate::pattern::shown;
use crate::{ConvertError, Result};

/// The model's dictionary.
pub(super) struct StateDict<'a> {
    /// Its path in the file, with dots between the keys; empty for the root.
    pub(super) path: String,
    /// Its entries, of which the last of a name counts, as in Python.
    pub(super) entries: BTreeMap<String, Value<'a>>,
    /// What the file holds beside it.
    pub(super) beside: Vec<Beside>,
}

/// A value of the pickle and the way to it.
struct Visit<'a> {
    value: Value<'a>,
    parent: usize,
    key: String,
}

/// Every dictionary and list that can be reached from the root through others, nearest first.
struct Tree<'u, 'a> {
    unpickler: &'u Unpickler<'a>,
    visits: Vec<Visit<'a>>,
}

/// The dictionary that holds the first convolution's weight under any prefix: `asked`, where there are several.
/// Where there is none it is the one with the most tensors, for what its names say of it.
///
/// # Errors
/// [`ConvertError::Ambiguous`] for several models, [`ConvertError::NotACheckpoint`] for none where no dictionary of
/// tensors is.
pub(super) fn find_state_dict<'a>(
    path: &Path,
    unpickler: &Unpickler<'a>,
    root: &Value<'a>,
    asked: Option<&str>,
) -> Result<StateDict<'a>> {
    let tree = Tree::new(unpickler, root.clone());
    let models = tree.models();
    let mut paths: Vec<String> = models.iter().map(|&visit| tree.path(visit)).collect();
    if let Some(asked) = asked {
        if let Some(position) = paths.iter().position(|path| path == asked) {
            return Ok(tree.state_dict(models[position]));
        }
        paths.sort();
        let listed: Vec<String> = paths.iter().map(|path| shown_key(path)).collect();
        return Err(ConvertError::NotACheckpoint {
            path: path.to_path_buf(),
            reason: format!("no model is under key `{asked}`; the keys that hold one are: {}", listed.join(", ")),
        });
    }
    match models[..] {
        [only] => Ok(tree.state_dict(only)),
        [] => {
            refuse_without_model(path, unpickler, root, &tree.modules())?;
            Ok(tree.state_dict(tree.most_tensors()))
        }
        _ => {
            paths.sort();
            Err(ConvertError::Ambiguous { candidates: paths, option: "--key" })
        }
    }
}

/// A dictionary's path as messages show it.
pub(crate) fn shown_key(path: &str) -> String {
    if path.is_empty() { "(none: it is the file's root)".into() } else { format!("`{}`", shown(path)) }
}

impl<'u, 'a> Tree<'u, 'a> {
    fn new(unpickler: &'u Unpickler<'a>, root: Value<'a>) -> Self {
        let mut seen: HashSet<Node> = Unpickler::node(&root).into_iter().collect();
        let mut visits = vec![Visit { value: root, parent: 0, key: String::new() }];
        let mut next = 0;
        while next < visits.len() {
            let value = visits[next].value.clone();
            let mut children = Vec::new();
            for (key, value) in unpickler.dict_of(&value).into_iter().flatten() {
                children.push((key_of(unpickler, key), value));
            }
            if let Value::Sequence(_) = value {
                let items = unpickler.items(&value).into_iter().flatten().enumerate();
                children.extend(items.map(|(index, value)| (index.to_string(), value)));
            }
            for (key, value) in children {
                if Unpickler::node(value).is_some_and(|node| seen.insert(node)) {
                    visits.push(Visit { value: value.clone(), parent: next, key });
                }
            }
            next += 1;
        }
        Tree { unpickler, visits }
    }

    fn path(&self, mut visit: usize) -> String {
        let mut keys = Vec::new();
        while visit != 0 {
            keys.push(self.visits[visit].key.as_str());
            visit = self.visits[visit].parent;
        }
        keys.reverse();
        keys.join(".")
    }

    fn entries(&self, visit: usize) -> &[(Value<'a>, Value<'a>)] {
        self.unpickler.dict_of(&self.visits[visit].value).unwrap_or_default()
    }

    /// The dictionaries that hold a model and are in no other that does.
    fn models(&self) -> Vec<usize> {
        let holds_model = |visit: &usize| {
            self.entries(*visit).iter().any(|(key, value)| {
                let Value::Text(key) = key else { return false };
                // Anything else under that name is what the weight has become: an array, a shard.
                unwrapped(key).ends_with(CONV0_WEIGHT) && !matches!(value, Value::Dict(_) | Value::Sequence(_))
            })
        };
        let models: HashSet<usize> = (0..self.visits.len()).filter(holds_model).collect();
        let mut inner = HashSet::new();
        for visit in 1..self.visits.len() {
            let parent = self.visits[visit].parent;
            if models.contains(&parent) || inner.contains(&parent) {
                inner.insert(visit);
            }
        }
        (0..self.visits.len()).filter(|visit| models.contains(visit) && !inner.contains(visit)).collect()
    }

    /// The nearest of the dictionaries with the most tensors directly in them.
    fn most_tensors(&self) -> usize {
        let tensors = |visit: usize| {
            let is_tensor = |(_, value): &&(Value<'a>, Value<'a>)| matches!(value, Value::Tensor(_));
            self.entries(visit).iter().filter(is_tensor).count()
        };
        (0..self.visits.len()).rev().max_by_key(|&visit| tensors(visit)).unwrap_or_default()
    }

    /// The paths of whole modules, with their classes.
    fn modules(&self) -> Vec<(String, String)> {
        let is_module = |visit: &usize| {
            let state = self.unpickler.state(&self.visits[*visit].value);
            let attributes = state.and_then(|state| self.unpickler.dict_of(state));
            attributes.is_some_and(|attributes| attributes.iter().any(|(key, _)| *key == Value::Text("_modules")))
        };
        let named =
            |visit: usize| (self.path(visit), self.unpickler.python_type(&self.visits[visit].value).to_string());
        (0..self.visits.len()).filter(is_module).map(named).collect()
    }

    fn state_dict(&self, visit: usize) -> StateDict<'a> {
        let entries =
            self.entries(visit).iter().map(|(key, value)| (key_of(self.unpickler, key), value.clone())).collect();
        StateDict { path: self.path(visit), entries, beside: self.beside(visit) }
    }

    /// The entries next to those on the way from the root to a dictionary.
    fn beside(&self, visit: usize) -> Vec<Beside> {
        let mut seen: HashSet<Node> = Unpickler::node(&self.visits[visit].value).into_iter().collect();
        let mut way = vec![visit];
        while let Some(&last) = way.last().filter(|last| **last != 0) {
            way.push(self.visits[last].parent);
        }
        seen.extend(way.iter().filter_map(|&visit| Unpickler::node(&self.visits[visit].value)));
        let mut beside = Vec::new();
        for (&outer, &inner) in way.iter().skip(1).zip(&way).rev() {
            let (path, model) = (self.path(outer), &self.visits[inner].value);
            let items = self.unpickler.items(&self.visits[outer].value).unwrap_or_default();
            let items = items.iter().enumerate().map(|(index, value)| (index.to_string(), value));
            let entries = self.entries(outer).iter().map(|(key, value)| (key_of(self.unpickler, key), value));
            for (key, value) in entries.chain(items).filter(|(_, value)| *value != model) {
                let name = if path.is_empty() { key } else { format!("{path}.{key}") };
                let kind = self.unpickler.python_type(value).to_string();
                beside.push(Beside { name, kind, tensors: self.tensors(value, &mut seen) });
            }
        }
        beside
    }

    /// How many tensors a value leads to that have not been seen.
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

/// A dictionary's key as part of a path.
fn key_of<'a>(unpickler: &Unpickler<'a>, key: &Value<'a>) -> String {
    match key {
        Value::Text(key) => key.to_string(),
        Value::Int(key) => key.to_string(),
        other => format!("({})", unpickler.python_type(other)),
    }
}
