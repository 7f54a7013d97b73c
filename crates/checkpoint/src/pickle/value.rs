//! The values of a pickle, and access to their contents.

use std::rc::Rc;

use super::Unpickler;
use crate::SourceDtype;

/// A value of a pickle. Containers are indices into the unpickler's lists.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    /// A value of which only the Python type is needed.
    Scalar(&'static str),
    Bool(bool),
    Int(i64),
    Text(&'a str),
    /// A class or function by its dotted name.
    Global(Rc<str>),
    Sequence(usize),
    Dict(usize),
    Object(usize),
    Storage(Rc<Storage<'a>>),
    Tensor(Rc<View<'a>>),
}

/// A list, tuple or set.
#[derive(Debug)]
pub(crate) struct Sequence<'a> {
    pub(super) kind: &'static str,
    pub(super) items: Vec<Value<'a>>,
}

/// A `dict` or an `OrderedDict`.
#[derive(Debug)]
pub(crate) struct Dict<'a> {
    pub(super) kind: &'static str,
    pub(super) entries: Vec<(Value<'a>, Value<'a>)>,
}

/// The result of a call that was not executed: an instance of a class, or a function's return value.
#[derive(Debug)]
pub(crate) struct Object<'a> {
    /// The dotted name of the class or function.
    pub(super) class: Rc<str>,
    pub(super) arguments: Value<'a>,
    /// Appended items, if it is a list.
    pub(super) items: Vec<Value<'a>>,
    /// Items set, if it is a dictionary.
    pub(super) entries: Vec<(Value<'a>, Value<'a>)>,
    /// The attributes.
    pub(super) state: Option<Value<'a>>,
}

/// A tensor in a pickle: a view of a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View<'a> {
    pub(crate) storage: Rc<Storage<'a>>,
    pub(crate) dtype: SourceDtype,
    /// Bytes per element; 0 for an unknown dtype.
    pub(crate) element_size: usize,
    /// The first element, relative to the start of the storage.
    pub(crate) offset: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
    /// A transformation that the stored values still need, such as negation.
    pub(crate) mark: Option<String>,
}

/// A storage named by a persistent id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Storage<'a> {
    pub(crate) key: &'a str,
    pub(crate) dtype: SourceDtype,
    pub(crate) element_size: usize,
    pub(crate) elements: usize,
    /// The first element in the root storage of a legacy file.
    pub(crate) start: usize,
}

/// A container's kind and index, to track visited containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    Sequence(usize),
    Dict(usize),
    Object(usize),
}

impl View<'_> {
    /// Whether the elements are contiguous in row-major order.
    pub(crate) fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&extent, &stride)| {
            let follows = extent == 1 || stride == expected;
            expected = expected.saturating_mul(extent);
            follows
        })
    }
}

impl<'a> Unpickler<'a> {
    /// The container of a value, if it is one.
    pub(crate) fn node(value: &Value<'a>) -> Option<Node> {
        match *value {
            Value::Sequence(number) => Some(Node::Sequence(number)),
            Value::Dict(number) => Some(Node::Dict(number)),
            Value::Object(number) => Some(Node::Object(number)),
            _ => None,
        }
    }

    /// The items of a list or tuple, or of an object that is a list.
    pub(crate) fn items(&self, value: &Value<'a>) -> Option<&[Value<'a>]> {
        match *value {
            Value::Sequence(number) => self.sequences.get(number).map(|sequence| &sequence.items[..]),
            Value::Object(number) => {
                self.objects.get(number).map(|object| &object.items[..]).filter(|items| !items.is_empty())
            }
            _ => None,
        }
    }

    /// The entries of a dictionary, or of an object that is one (a `defaultdict`, a subclass).
    pub(crate) fn dict_of(&self, value: &Value<'a>) -> Option<&[(Value<'a>, Value<'a>)]> {
        match *value {
            Value::Dict(number) => self.dicts.get(number).map(|dict| &dict.entries[..]),
            Value::Object(number) => {
                self.objects.get(number).map(|object| &object.entries[..]).filter(|entries| !entries.is_empty())
            }
            _ => None,
        }
    }

    /// An object's attributes.
    pub(crate) fn state(&self, value: &Value<'a>) -> Option<&Value<'a>> {
        match *value {
            Value::Object(number) => self.objects.get(number)?.state.as_ref(),
            _ => None,
        }
    }

    /// The values directly in a container: items, keys, entries, arguments and attributes.
    pub(crate) fn within(&self, node: Node) -> impl Iterator<Item = &Value<'a>> {
        let (items, entries, object) = match node {
            Node::Sequence(number) => (&self.sequences[number].items[..], &[][..], None),
            Node::Dict(number) => (&[][..], &self.dicts[number].entries[..], None),
            Node::Object(number) => {
                let object = &self.objects[number];
                (&object.items[..], &object.entries[..], Some(object))
            }
        };
        let of_object =
            object.into_iter().flat_map(|object| [Some(&object.arguments), object.state.as_ref()]).flatten();
        items.iter().chain(entries.iter().flat_map(|(key, value)| [key, value])).chain(of_object)
    }

    /// The Python type of a value for messages.
    pub(crate) fn python_type<'v>(&'v self, value: &'v Value<'a>) -> &'v str {
        match value {
            Value::Scalar(kind) => kind,
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Text(_) => "str",
            Value::Global(name) => name,
            Value::Sequence(number) => self.sequences[*number].kind,
            Value::Dict(number) => self.dicts[*number].kind,
            Value::Object(number) => &self.objects[*number].class,
            Value::Storage(_) => "torch.Storage",
            Value::Tensor(_) => "torch.Tensor",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contiguous_views() {
        let view = |shape: &[usize], strides: &[usize]| {
            let dtype = SourceDtype::F32;
            let storage = Storage { key: "0", dtype: dtype.clone(), element_size: 4, elements: 24, start: 0 };
            View {
                storage: storage.into(),
                dtype,
                element_size: 4,
                offset: 0,
                shape: shape.to_vec(),
                strides: strides.to_vec(),
                mark: None,
            }
            .is_contiguous()
        };
        assert!(view(&[2, 3, 4], &[12, 4, 1]));
        assert!(view(&[], &[]));
        // The stride of an axis of length one does not matter.
        assert!(view(&[2, 1, 4], &[4, 99, 1]));
        assert!(!view(&[2, 3, 4], &[12, 1, 3]));
        assert!(!view(&[2, 3], &[0, 1]));
    }
}
