//! The operands of an operation, read by name and type, and the checks that operations share.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;

use crate::candidate::coreml::types::Element;
use crate::candidate::coreml::value::Value;

/// A result, or a sentence about what is wrong with the operation.
pub(super) type Result<T, E = String> = std::result::Result<T, E>;

/// A call of an operation: its operands by parameter. It records which parameters the operation has read.
pub(in crate::candidate::coreml) struct Call<'a> {
    arguments: BTreeMap<&'a str, Vec<&'a Value>>,
    opset: u32,
    used: RefCell<BTreeSet<&'a str>>,
}

impl<'a> Call<'a> {
    pub(in crate::candidate::coreml) fn new(arguments: BTreeMap<&'a str, Vec<&'a Value>>, opset: u32) -> Self {
        Call { arguments, opset, used: RefCell::default() }
    }

    /// Refuses parameters that the operation did not read: it does not support them.
    pub(in crate::candidate::coreml) fn refuse_unused(&self) -> Result<()> {
        let used = self.used.borrow();
        match self.arguments.keys().find(|parameter| !used.contains(*parameter)) {
            Some(parameter) => Err(format!("unsupported parameter `{parameter}`")),
            None => Ok(()),
        }
    }

    /// Refuses an operation that is in later operation sets only.
    pub(super) fn since(&self, opset: u32) -> Result<()> {
        if self.opset < opset {
            return Err(format!("it is in operation set CoreML{opset} and later, the program in CoreML{}", self.opset));
        }
        Ok(())
    }

    fn values(&self, parameter: &str) -> Option<&[&'a Value]> {
        let (&name, values) = self.arguments.get_key_value(parameter)?;
        self.used.borrow_mut().insert(name);
        Some(values)
    }

    fn optional<T>(
        &self,
        parameter: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
        expected: &str,
    ) -> Result<Option<T>> {
        match self.values(parameter) {
            None => Ok(None),
            Some([value]) => match read(value) {
                Some(read) => Ok(Some(read)),
                None => Err(format!("parameter `{parameter}` is {}, expected {expected}", value.type_of())),
            },
            Some(values) => Err(format!("parameter `{parameter}` has {} values, expected one", values.len())),
        }
    }

    fn required<T>(&self, parameter: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| format!("parameter `{parameter}` is missing"))
    }

    /// Reads a required operand of either float type.
    pub(super) fn float(&self, parameter: &str) -> Result<Float<'a>> {
        let float = self.optional(parameter, Float::of, "fp16 or fp32")?;
        self.required(parameter, float)
    }

    /// Reads a required float operand of the same type as another.
    pub(super) fn float_like(&self, parameter: &str, other: &Float<'_>) -> Result<Float<'a>> {
        let float = self.optional_float_like(parameter, other)?;
        self.required(parameter, float)
    }

    pub(super) fn optional_float_like(&self, parameter: &str, other: &Float<'_>) -> Result<Option<Float<'a>>> {
        let element = other.element;
        let same = |value| Float::of(value).filter(|float| float.element == element);
        self.optional(parameter, same, &format!("{}, as the other operand", element.name()))
    }

    /// Reads a list of float operands of one type.
    pub(super) fn floats(&self, parameter: &str) -> Result<(Element, Vec<&'a Tensor>)> {
        let values = self.required(parameter, self.values(parameter))?;
        let floats: Option<Vec<Float<'a>>> = values.iter().map(|value| Float::of(value)).collect();
        let floats = floats.ok_or_else(|| format!("parameter `{parameter}` has values that are not fp16 or fp32"))?;
        let first = floats.first().ok_or_else(|| format!("parameter `{parameter}` has no values"))?;
        if floats.iter().any(|float| float.element != first.element) {
            return Err(format!("parameter `{parameter}` has values of different types"));
        }
        Ok((first.element, floats.iter().map(|float| float.tensor).collect()))
    }

    pub(super) fn ints(&self, parameter: &str) -> Result<&'a [i32]> {
        let ints = self.optional_ints(parameter)?;
        self.required(parameter, ints)
    }

    pub(super) fn optional_ints(&self, parameter: &str) -> Result<Option<&'a [i32]>> {
        self.optional(parameter, Value::ints, "a list of int32")
    }

    pub(super) fn optional_int(&self, parameter: &str) -> Result<Option<i32>> {
        self.optional(parameter, Value::int, "one int32")
    }

    pub(super) fn int(&self, parameter: &str) -> Result<i32> {
        let int = self.optional_int(parameter)?;
        self.required(parameter, int)
    }

    /// Reads a required int32 tensor of any shape: its values, row-major, and its extents.
    pub(super) fn int_tensor(&self, parameter: &str) -> Result<(&'a [i32], &'a [usize])> {
        let read = |value: &'a Value| match value {
            Value::Ints(values, dims) => Some((&values[..], &dims[..])),
            _ => None,
        };
        self.required(parameter, self.optional(parameter, read, "int32")?)
    }

    /// Whether an operand is int32.
    pub(super) fn is_int(&self, parameter: &str) -> bool {
        matches!(self.arguments.get(parameter).map(Vec::as_slice), Some([Value::Ints(..)]))
    }

    pub(super) fn optional_bool(&self, parameter: &str) -> Result<Option<bool>> {
        self.optional(parameter, Value::bool, "one bool")
    }

    pub(super) fn optional_bools(&self, parameter: &str) -> Result<Option<&'a [bool]>> {
        self.optional(parameter, Value::bools, "a list of bool")
    }

    pub(super) fn optional_text(&self, parameter: &str) -> Result<Option<&'a str>> {
        self.optional(parameter, Value::text, "a string")
    }

    pub(super) fn text(&self, parameter: &str) -> Result<&'a str> {
        let text = self.optional_text(parameter)?;
        self.required(parameter, text)
    }
}

/// A float operand.
pub(super) struct Float<'a> {
    pub(super) element: Element,
    pub(super) tensor: &'a Tensor,
}

impl<'a> Float<'a> {
    pub(super) fn of(value: &'a Value) -> Option<Self> {
        match value {
            Value::Float(element, tensor) => Some(Float { element: *element, tensor }),
            _ => None,
        }
    }

    /// The value of a scalar.
    pub(super) fn scalar(&self) -> Result<f64> {
        self.tensor.to_scalar::<f32>().map(f64::from).map_err(|_| "a parameter is not a scalar".to_string())
    }

    /// Wraps a result of the same type.
    pub(super) fn result(&self, tensor: candle_core::Result<Tensor>) -> Result<Value> {
        result(self.element, tensor)
    }
}

pub(super) fn result(element: Element, tensor: candle_core::Result<Tensor>) -> Result<Value> {
    // candle refuses operands of the wrong shape.
    Ok(Value::Float(element, tensor.map_err(|e| candle_message(&e))?))
}

/// The maximum number of values in a result, which take 8 GiB. The attention logits of the longest clip that fits in
/// memory have fewer, and mismatched operands could broadcast to any number.
const MAX_VALUES: usize = 1 << 31;

/// Refuses a result that would not fit in memory, before it is computed.
pub(super) fn check_result_size(dims: &[usize]) -> Result<()> {
    let count = dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
    match count.filter(|&count| count <= MAX_VALUES) {
        Some(_) => Ok(()),
        None => Err(format!("its result would have shape {dims:?}, which does not fit in memory")),
    }
}

/// Formats candle's error without the backtrace that it may carry.
pub(super) fn candle_message(error: &candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => candle_message(inner),
        other => other.to_string(),
    }
}

/// Resolves an axis; negative ones count from the last.
pub(super) fn axis(axis: i32, rank: usize) -> Result<usize> {
    let from_front = if axis < 0 { i64::from(axis) + rank as i64 } else { i64::from(axis) };
    let found = usize::try_from(from_front).ok().filter(|&found| found < rank);
    found.ok_or_else(|| format!("axis {axis} does not exist: the operand has {rank}"))
}

/// Reads the number of a list that must have exactly one, at least `least`.
pub(super) fn single_number(parameter: &str, values: &[i32], least: i32) -> Result<usize> {
    match values {
        &[value] if value >= least => Ok(value.unsigned_abs() as usize),
        _ => Err(format!("parameter `{parameter}` is {values:?}, expected one number, at least {least}")),
    }
}
