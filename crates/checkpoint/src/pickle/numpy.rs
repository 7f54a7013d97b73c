//! numpy's element types, and the arrays that joblib writes between the opcodes of a pickle.

use super::error::{PickleError, Result};
use super::unpickler::Unpickler;
use super::value::Value;

/// The class of an array's description in a file of joblib 0.10 and later.
/// scikit-learn before 0.23 has a copy of joblib.
const WRAPPER: &str = "joblib.numpy_pickle.NumpyArrayWrapper";

/// numpy's own limit on dimensions.
const MAX_DIMENSIONS: usize = 64;

/// The element type of a numpy array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ElementType {
    /// numpy's letter: `f` float, `i` and `u` integers, `b` boolean, `O` Python objects.
    pub(crate) kind: u8,
    /// The size of an element in bytes.
    pub(crate) size: usize,
    pub(crate) is_big_endian: bool,
}

impl<'a> Unpickler<'a> {
    /// The element type that a `numpy.dtype` describes; `None` for structures.
    pub(crate) fn element_type(&self, dtype: &Value<'a>) -> Option<ElementType> {
        if self.python_type(dtype) != "numpy.dtype" {
            return None;
        }
        let [Value::Text(code), ..] = self.arguments(dtype)? else { return None };
        let (&kind, digits) = code.as_bytes().split_first()?;
        let units: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
        let order = match self.state(dtype).and_then(|state| self.items(state)) {
            // (version, byte order, base type, names, fields, …)
            Some([_, Value::Text(order), Value::Scalar("None"), Value::Scalar("None"), ..]) => *order,
            Some(_) => return None,
            None => "|",
        };
        // A character of Unicode takes four bytes.
        let size = units.checked_mul(if kind == b'U' { 4 } else { 1 })?;
        Some(ElementType { kind, size, is_big_endian: order == ">" })
    }

    /// True if the pickle makes an object of a class whose name ends with `ending`.
    pub(crate) fn has_class(&self, ending: &str) -> bool {
        self.objects.iter().any(|object| object.class.ends_with(ending))
    }

    /// The extents in a tuple.
    pub(crate) fn extents(&self, shape: &Value<'a>) -> Option<Vec<usize>> {
        let extent = |item: &Value<'a>| match item {
            Value::Int(extent) => usize::try_from(*extent).ok(),
            _ => None,
        };
        self.items(shape).filter(|shape| shape.len() <= MAX_DIMENSIONS)?.iter().map(extent).collect()
    }

    /// An attribute of an object.
    pub(crate) fn attribute(&self, value: &Value<'a>, name: &str) -> Option<&Value<'a>> {
        let attributes = self.dict_of(self.state(value)?)?;
        // The last entry of a name counts, as in Python.
        attributes.iter().rev().find(|(key, _)| *key == Value::Text(name)).map(|(_, value)| value)
    }

    /// Reads the elements behind the BUILD of an array's description, as `NumpyArrayWrapper.read_array` of
    /// [joblib](https://github.com/joblib/joblib/blob/main/joblib/numpy_pickle.py) does: a byte that counts the padding,
    /// the padding, the elements. An array of objects is a pickle of its own instead, which is passed over.
    pub(super) fn raw_array(&mut self, number: usize) -> Result<()> {
        if self.objects.get(number).is_none_or(|object| !object.class.ends_with(WRAPPER)) {
            return Ok(());
        }
        let error = PickleError::RawArray { at: self.at };
        let wrapper = Value::Object(number);
        let dtype = self.attribute(&wrapper, "dtype").ok_or(error)?;
        let element = self.element_type(dtype).ok_or(error)?;
        if element.kind == b'O' {
            return self.nested();
        }
        let shape = self.attribute(&wrapper, "shape").and_then(|shape| self.extents(shape)).ok_or(error)?;
        let length = shape.iter().try_fold(element.size, |bytes, &extent| bytes.checked_mul(extent)).ok_or(error)?;
        let is_padded = self
            .attribute(&wrapper, "numpy_array_alignment_bytes")
            .is_some_and(|value| *value != Value::Scalar("None"));
        if is_padded {
            let padding = usize::from(self.byte()?);
            self.take(padding)?;
        }
        let raw = self.take(length)?;
        if let Some(object) = self.objects.get_mut(number) {
            object.raw = Some(raw);
        }
        Ok(())
    }

    /// Parses a pickle inside the pickle, without raw arrays in it, so that this cannot recurse; its value is not kept.
    fn nested(&mut self) -> Result<()> {
        let kept = (std::mem::take(&mut self.stack), std::mem::take(&mut self.marks), std::mem::take(&mut self.memo));
        self.has_raw_arrays = false;
        self.load()?;
        self.has_raw_arrays = true;
        (self.stack, self.marks, self.memo) = kept;
        Ok(())
    }
}
