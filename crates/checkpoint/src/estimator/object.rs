//! A value of a pickle, and access to what it holds.

use super::{EstimatorError, NumpyArray};
use crate::pickle::{PickleError, Unpickler, Value};

/// A parsed pickle.
pub struct PickledObjects<'a> {
    unpickler: Unpickler<'a>,
    root: Value<'a>,
}

impl std::fmt::Debug for PickledObjects<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PickledObjects").field("root", &self.root).finish_non_exhaustive()
    }
}

impl<'a> PickledObjects<'a> {
    /// Parses a pickle of `pickle.dump` (protocols 0 to 5) or `joblib.dump`, without executing it.
    ///
    /// # Errors
    /// [`EstimatorError::Pickle`] if it is cut off, damaged or too large; [`EstimatorError::OldJoblib`].
    pub fn parse(pickle: &'a [u8]) -> Result<Self, EstimatorError> {
        let mut unpickler = Unpickler::with_raw_arrays(pickle);
        let root = unpickler.load().map_err(|error: PickleError| EstimatorError::Pickle(error.to_string()))?;
        if unpickler.has_class("joblib.numpy_pickle.NDArrayWrapper") {
            return Err(EstimatorError::OldJoblib);
        }
        Ok(PickledObjects { unpickler, root })
    }

    /// The pickled value.
    pub fn root(&self) -> PickledObject<'_, 'a> {
        PickledObject { unpickler: &self.unpickler, value: &self.root }
    }
}

/// A value of a pickle.
#[derive(Clone, Copy)]
pub struct PickledObject<'p, 'a> {
    unpickler: &'p Unpickler<'a>,
    value: &'p Value<'a>,
}

impl std::fmt::Debug for PickledObject<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PickledObject").field(&self.python_type()).finish()
    }
}

impl<'p, 'a> PickledObject<'p, 'a> {
    fn of(&self, value: &'p Value<'a>) -> Self {
        PickledObject { unpickler: self.unpickler, value }
    }

    /// The dotted name of the Python type, such as `sklearn.cluster._kmeans.KMeans`, or of the function whose result it
    /// would be.
    pub fn python_type(&self) -> &'p str {
        self.unpickler.python_type(self.value)
    }

    /// True for Python's `None`.
    pub fn is_none(&self) -> bool {
        *self.value == Value::Scalar("None")
    }

    /// The entries of a dictionary or the attributes of an object, with the names that are strings; the last of a name
    /// counts.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, PickledObject<'p, 'a>)> + use<'p, 'a> {
        let (unpickler, value) = (self.unpickler, self.value);
        let attributes = || unpickler.dict_of(unpickler.state(value)?);
        let entries = unpickler.dict_of(value).or_else(attributes).unwrap_or_default();
        entries.iter().filter_map(move |(key, value)| match key {
            Value::Text(name) => Some((*name, PickledObject { unpickler, value })),
            _ => None,
        })
    }

    /// An entry of a dictionary or an attribute of an object.
    pub fn get(&self, name: &str) -> Option<PickledObject<'p, 'a>> {
        self.entries().filter(|(key, _)| *key == name).last().map(|(_, value)| value)
    }

    /// The items of a list or tuple.
    pub fn items(&self) -> Vec<PickledObject<'p, 'a>> {
        let items = match self.value {
            Value::Sequence(_) => self.unpickler.items(self.value).unwrap_or_default(),
            _ => &[],
        };
        items.iter().map(|item| self.of(item)).collect()
    }

    /// A string.
    pub fn text(&self) -> Option<&'a str> {
        match self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A truth value, of Python or of numpy.
    pub fn boolean(&self) -> Option<bool> {
        match self.value {
            Value::Bool(value) => Some(*value),
            _ => self.scalar().map(|value| value != 0.0),
        }
    }

    /// A number, of Python or of numpy.
    pub fn number(&self) -> Option<f64> {
        match self.value {
            Value::Int(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            _ => self.scalar(),
        }
    }

    /// A scalar of numpy: `numpy.core.multiarray.scalar(dtype, bytes)`.
    fn scalar(&self) -> Option<f64> {
        if !self.python_type().ends_with(".multiarray.scalar") {
            return None;
        }
        let [dtype, bytes] = self.unpickler.arguments(self.value)? else { return None };
        let array = NumpyArray::new(self.unpickler.element_type(dtype)?, Vec::new(), false, bytes)?;
        array.values().ok()?.first().copied()
    }

    /// A numpy array, raw in a file of joblib, or as `pickle.dump` writes it. `None` for any other value, or if the array
    /// is of a structured type.
    pub fn array(&self) -> Option<NumpyArray<'a>> {
        let unpickler = self.unpickler;
        match self.python_type() {
            class if class.ends_with("joblib.numpy_pickle.NumpyArrayWrapper") => {
                let attribute = |name| unpickler.attribute(self.value, name);
                let element = unpickler.element_type(attribute("dtype")?)?;
                let is_fortran = attribute("order") == Some(&Value::Text("F"));
                let raw = unpickler.raw(self.value).map_or(Value::Scalar("None"), Value::Bytes);
                NumpyArray::new(element, unpickler.extents(attribute("shape")?)?, is_fortran, &raw)
            }
            "numpy.ndarray" => match unpickler.state(self.value) {
                // `_reconstruct`, and BUILD with (version, shape, type, Fortran order, bytes).
                Some(state) => {
                    let [_, shape, dtype, Value::Bool(is_fortran), bytes] = unpickler.items(state)? else {
                        return None;
                    };
                    let element = unpickler.element_type(dtype)?;
                    NumpyArray::new(element, unpickler.extents(shape)?, *is_fortran, bytes)
                }
                // `_frombuffer(bytes, type, shape, order)` of protocol 5.
                None => {
                    let [bytes, dtype, shape, Value::Text(order)] = unpickler.arguments(self.value)? else {
                        return None;
                    };
                    let element = unpickler.element_type(dtype)?;
                    NumpyArray::new(element, unpickler.extents(shape)?, *order == "F", bytes)
                }
            },
            _ => None,
        }
    }
}
