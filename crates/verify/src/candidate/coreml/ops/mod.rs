//! The operations of MIL that the interpreter computes, after Apple's documentation
//! (<https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html>).
//!
//! A missing parameter has the documented default; an unsupported one is an error.

mod attention;
mod call;
mod elementwise;
mod integers;
mod linear;
mod norm;
mod reduction;
mod shape;
#[cfg(test)]
mod tests;

pub(super) use self::call::Call;
use self::call::Result;
use super::value::Value;

/// The function that computes an operation.
type Compute = fn(&Call<'_>) -> Result<Value>;

/// The supported operations by their names in MIL.
const OPERATIONS: [(&str, Compute); 30] = [
    ("identity", shape::identity),
    ("cast", shape::cast),
    ("expand_dims", shape::expand_dims),
    ("transpose", shape::transpose),
    ("reshape", shape::reshape),
    ("concat", shape::concat),
    ("slice_by_index", shape::slice_by_index),
    ("shape", integers::shape),
    ("range_1d", integers::range_1d),
    ("gather", integers::gather),
    ("add", elementwise::add),
    ("sub", elementwise::sub),
    ("mul", elementwise::mul),
    ("real_div", elementwise::real_div),
    ("square", elementwise::square),
    ("sqrt", elementwise::sqrt),
    ("gelu", elementwise::gelu),
    ("relu", elementwise::relu),
    ("sigmoid", elementwise::sigmoid),
    ("softmax", elementwise::softmax),
    ("reduce_mean", reduction::mean),
    ("reduce_max", reduction::max),
    ("reduce_sum", reduction::sum),
    ("linear", linear::linear),
    ("matmul", linear::matmul),
    ("conv", linear::conv),
    ("layer_norm", norm::layer_norm),
    ("instance_norm", norm::instance_norm),
    ("batch_norm", norm::batch_norm),
    ("scaled_dot_product_attention", attention::scaled_dot_product_attention),
];

/// Whether an operation of this kind is supported.
pub(super) fn is_supported(kind: &str) -> bool {
    OPERATIONS.iter().any(|(name, _)| *name == kind)
}

/// Computes an operation of this kind.
pub(super) fn compute(kind: &str, call: &Call<'_>) -> Result<Value> {
    match OPERATIONS.iter().find(|(name, _)| *name == kind) {
        Some((_, operation)) => operation(call),
        None => Err("unsupported operation".into()),
    }
}
