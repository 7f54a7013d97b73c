//! The values of a pickle.

use std::rc::Rc;

use crate::dtype::SourceDtype;

/// A value of a pickle. Containers are indices into the unpickler's lists.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    /// A value of which only the Python type is kept.
    Scalar(&'static str),
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    /// A string of protocol 0 with escapes or characters beyond ASCII, as it is in the file (`raw-unicode-escape`).
    EscapedText(&'a [u8]),
    Bytes(&'a [u8]),
    ByteArray(&'a [u8]),
    /// Bytes that protocols 0 to 2 write as the string of the same code points (`_codecs.encode(…, "latin1")`).
    Latin1(&'a str),
    EscapedLatin1(&'a [u8]),
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
    /// The appended items, if the object is a list.
    pub(super) items: Vec<Value<'a>>,
    /// The entries, if the object is a dictionary.
    pub(super) entries: Vec<(Value<'a>, Value<'a>)>,
    /// The object's attributes.
    pub(super) state: Option<Value<'a>>,
    /// The elements of an array that joblib writes into the stream, raw.
    pub(super) raw: Option<&'a [u8]>,
}

/// A tensor in a pickle: a view of a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View<'a> {
    pub(crate) storage: Rc<Storage<'a>>,
    pub(crate) dtype: SourceDtype,
    /// The size of an element in bytes; 0 for an unknown dtype.
    pub(crate) element_size: usize,
    /// The position of the first element, relative to the start of the storage.
    pub(crate) offset: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
    /// A transformation that the stored values still need, such as `neg`.
    pub(crate) transform: Option<String>,
}

/// A storage named by a persistent id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Storage<'a> {
    pub(crate) key: &'a str,
    pub(crate) dtype: SourceDtype,
    pub(crate) element_size: usize,
    pub(crate) elements: usize,
    /// The position of the first element in the root storage of a legacy file.
    pub(crate) start: usize,
}

/// The kind and index of a container, to track visited ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Container {
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
                transform: None,
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
