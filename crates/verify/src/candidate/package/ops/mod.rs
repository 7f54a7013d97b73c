//! What each operation computes, after Apple's documentation of MIL
//! (<https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html>).
//!
//! A parameter that is missing takes the documented default; one that is not known is an error.

mod attention;
mod elementwise;
mod linear;
mod norm;
mod reduction;
mod shape;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;

use super::types::Element;
use super::value::Value;

type Result<T, E = String> = std::result::Result<T, E>;

/// What an operation computes.
type Compute = fn(&Call<'_>) -> Result<Value>;

/// Every operation that is known, by its name in MIL.
const OPERATIONS: [(&str, Compute); 24] = [
    ("identity", shape::identity),
    ("cast", shape::cast),
    ("expand_dims", shape::expand_dims),
    ("transpose", shape::transpose),
    ("reshape", shape::reshape),
    ("concat", shape::concat),
    ("slice_by_index", shape::slice_by_index),
    ("add", elementwise::add),
    ("sub", elementwise::sub),
    ("mul", elementwise::mul),
    ("real_div", elementwise::real_div),
    ("square", elementwise::square),
    ("sqrt", elementwise::sqrt),
    ("gelu", elementwise::gelu),
    ("relu", elementwise::relu),
    ("softmax", elementwise::softmax),
    ("reduce_mean", reduction::mean),
    ("reduce_max", reduction::max),
    ("linear", linear::linear),
    ("matmul", linear::matmul),
    ("conv", linear::conv),
    ("layer_norm", norm::layer_norm),
    ("instance_norm", norm::instance_norm),
    ("scaled_dot_product_attention", attention::scaled_dot_product_attention),
];

/// Whether there is an operation of this kind.
pub(super) fn is_known(kind: &str) -> bool {
    OPERATIONS.iter().any(|(name, _)| *name == kind)
}

/// Computes the operation of this kind.
pub(super) fn compute(kind: &str, call: &Call<'_>) -> Result<Value> {
    match OPERATIONS.iter().find(|(name, _)| *name == kind) {
        Some((_, operation)) => operation(call),
        None => Err("no operation of this kind is known here".into()),
    }
}

/// An operation's operands, by parameter.
pub(super) struct Call<'a> {
    arguments: BTreeMap<&'a str, Vec<&'a Value>>,
    opset: u32,
    used: RefCell<BTreeSet<&'a str>>,
}

impl<'a> Call<'a> {
    pub(super) fn new(arguments: BTreeMap<&'a str, Vec<&'a Value>>, opset: u32) -> Self {
        Call { arguments, opset, used: RefCell::default() }
    }

    /// Refuses what the operation did not look at: it has no such parameter.
    pub(super) fn refuse_unused(&self) -> Result<()> {
        let used = self.used.borrow();
        match self.arguments.keys().find(|parameter| !used.contains(*parameter)) {
            Some(parameter) => Err(format!("parameter `{parameter}` is not known here")),
            None => Ok(()),
        }
    }

    /// Refuses an operation that came with a later operation set.
    fn since(&self, opset: u32) -> Result<()> {
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

    fn optional<T>(&self, parameter: &str, read: impl FnOnce(&'a Value) -> Option<T>, what: &str) -> Result<Option<T>> {
        match self.values(parameter) {
            None => Ok(None),
            Some([value]) => match read(value) {
                Some(read) => Ok(Some(read)),
                None => Err(format!("parameter `{parameter}` is {}, expected {what}", value.shown())),
            },
            Some(values) => Err(format!("parameter `{parameter}` has {} values, expected one", values.len())),
        }
    }

    fn required<T>(&self, parameter: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| format!("parameter `{parameter}` is missing"))
    }

    /// The operand `x` or whatever it is called, of either float type.
    fn float(&self, parameter: &str) -> Result<Float<'a>> {
        let float = self.optional(parameter, Float::of, "fp16 or fp32")?;
        self.required(parameter, float)
    }

    /// A float operand of the same type as another.
    fn float_like(&self, parameter: &str, other: &Float<'_>) -> Result<Float<'a>> {
        let float = self.optional_float_like(parameter, other)?;
        self.required(parameter, float)
    }

    fn optional_float_like(&self, parameter: &str, other: &Float<'_>) -> Result<Option<Float<'a>>> {
        let element = other.element;
        let same = |value| Float::of(value).filter(|float| float.element == element);
        self.optional(parameter, same, &format!("{}, as the other operand", element.name()))
    }

    /// Several float operands of one type.
    fn floats(&self, parameter: &str) -> Result<(Element, Vec<&'a Tensor>)> {
        let values = self.required(parameter, self.values(parameter))?;
        let floats: Option<Vec<Float<'a>>> = values.iter().map(|value| Float::of(value)).collect();
        let floats = floats.ok_or_else(|| format!("parameter `{parameter}` has values that are not fp16 or fp32"))?;
        let first = floats.first().ok_or_else(|| format!("parameter `{parameter}` has no values"))?;
        if floats.iter().any(|float| float.element != first.element) {
            return Err(format!("parameter `{parameter}` has values of different types"));
        }
        Ok((first.element, floats.iter().map(|float| float.tensor).collect()))
    }

    fn ints(&self, parameter: &str) -> Result<&'a [i32]> {
        let ints = self.optional_ints(parameter)?;
        self.required(parameter, ints)
    }

    fn optional_ints(&self, parameter: &str) -> Result<Option<&'a [i32]>> {
        self.optional(parameter, Value::ints, "a list of int32")
    }

    fn optional_int(&self, parameter: &str) -> Result<Option<i32>> {
        self.optional(parameter, Value::int, "one int32")
    }

    fn int(&self, parameter: &str) -> Result<i32> {
        let int = self.optional_int(parameter)?;
        self.required(parameter, int)
    }

    fn optional_bool(&self, parameter: &str) -> Result<Option<bool>> {
        self.optional(parameter, Value::bool, "one bool")
    }

    fn optional_bools(&self, parameter: &str) -> Result<Option<&'a [bool]>> {
        self.optional(parameter, Value::bools, "a list of bool")
    }

    fn optional_text(&self, parameter: &str) -> Result<Option<&'a str>> {
        self.optional(parameter, Value::text, "a string")
    }

    fn text(&self, parameter: &str) -> Result<&'a str> {
        let text = self.optional_text(parameter)?;
        self.required(parameter, text)
    }
}

/// A float operand.
struct Float<'a> {
    element: Element,
    tensor: &'a Tensor,
}

impl<'a> Float<'a> {
    fn of(value: &'a Value) -> Option<Self> {
        match value {
            Value::Float(element, tensor) => Some(Float { element: *element, tensor }),
            _ => None,
        }
    }

    /// The only value of a scalar.
    fn scalar(&self) -> Result<f64> {
        self.tensor.to_scalar::<f32>().map(f64::from).map_err(|_| "a parameter is no scalar".to_string())
    }

    /// A result of the same type.
    fn result(&self, tensor: candle_core::Result<Tensor>) -> Result<Value> {
        result(self.element, tensor)
    }
}

fn result(element: Element, tensor: candle_core::Result<Tensor>) -> Result<Value> {
    // Operands of the wrong shape are what candle refuses.
    Ok(Value::Float(element, tensor.map_err(|e| described(&e))?))
}

/// The most values that a result may have: 8 GiB. The logits of the longest clip that fits memory have fewer, and
/// operands that go together by mistake can ask for any number.
const MAX_VALUES: usize = 1 << 31;

/// Refuses a result that would not fit memory before it is computed.
fn demand_room(dims: &[usize]) -> Result<()> {
    let count = dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
    match count.filter(|&count| count <= MAX_VALUES) {
        Some(_) => Ok(()),
        None => Err(format!("its result would be {dims:?}, which is more than can be held here")),
    }
}

/// candle's message without the backtrace that it may carry.
fn described(error: &candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => described(inner),
        other => other.to_string(),
    }
}

/// An axis counted from the front; negative ones count from the back.
fn axis(axis: i32, rank: usize) -> Result<usize> {
    let from_front = if axis < 0 { i64::from(axis) + rank as i64 } else { i64::from(axis) };
    let found = usize::try_from(from_front).ok().filter(|&found| found < rank);
    found.ok_or_else(|| format!("axis {axis} does not exist: the operand has {rank}"))
}

/// A list that must have one number, not below `least`.
fn only(parameter: &str, values: &[i32], least: i32) -> Result<usize> {
    match values {
        &[value] if value >= least => Ok(value.unsigned_abs() as usize),
        _ => Err(format!("parameter `{parameter}` is {values:?}, expected one number from {least} on")),
    }
}
