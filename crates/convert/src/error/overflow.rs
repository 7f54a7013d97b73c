//! The parts of the message about a value that overflows a dtype.

use mert_arch::Dtype;

/// A value in decimal notation: the shortest that parses to the same f32 or, if it is not an f32, f64.
pub(super) fn decimal(value: f64) -> String {
    let short = value as f32;
    if f64::from(short) == value { format!("{short:e}") } else { format!("{value:e}") }
}

/// The advice for a value that overflows a dtype.
pub(super) fn overflow_advice(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F16 => "convert with --dtype bf16 or --dtype f32",
        Dtype::Bf16 => "convert with --dtype f32",
        Dtype::F32 => "weights of a healthy model never are as large: save the checkpoint again from one",
    }
}
