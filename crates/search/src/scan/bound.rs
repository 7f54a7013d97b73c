//! How far a score of a scan can be from the score in f64.
//!
//! With `u = 2⁻²⁴` and `n` roundings on the way of each product into a sum, the sum of `dim` products in f32 is within
//! `γ Σ|qᵢxᵢ| ≤ γ |q| |x|` of the exact one, `γ = nu / (1 − nu)`, in whatever order it is added: Higham, *Accuracy and
//! Stability of Numerical Algorithms*, section 3.1. A query is rounded to f32, which adds `u |q| |x|`. A query has the
//! length 1, so a term `w (q · x − q · μ) / |P(x − μ)|` of the score is within `w (γ + u) |x| / |P(x − μ)|`, and `w u` more
//! for the inverse, which is stored in f32: `(γ + u)` is the factor of a group, and `(|x| + |μ|) / |P(x − μ)|` the spread
//! of a row, which is stored beside its inverse. All else is computed in f64; its roundings, and those of the score in f64
//! that is to be met, are a multiple of `2⁻⁵³` of the same spread.
//!
//! The bound does not hold where products leave the normal range of f32; such rows have an infinite spread and are always
//! scored in f64.

use mert_simd::Isa;

use super::dots::roundings;

/// Half of the distance from 1 to the next larger f32.
const UNIT: f64 = f32::EPSILON as f64 / 2.0;

/// The error of an inverse that is stored in f32, for a term that is at most 1 and some.
pub(super) const INVERSE: f64 = 1.01 * UNIT;

/// What the spread of a row is multiplied by, for a row of `dim` values and a geometry that removes `components`.
pub(crate) fn error_factor(isa: Isa, dim: usize, components: usize) -> f64 {
    let n = (roundings(isa, dim) + 1) as f64;
    let rounding_f32 = (n * UNIT) / (1.0 - n * UNIT);
    // Additions of three dot products (with a query, of the norm, with the mean) and two for each component.
    let rounding_f64 = ((6 + 8 * components) * (dim + 16)) as f64 * (f64::EPSILON / 2.0);
    // A thousandth for products of roundings, and for queries whose length is rounded.
    1.001 * (rounding_f32 + rounding_f64)
}

/// Whether the bound holds for a row of length `row`, and of length `centered` after the mean `mean` and the components
/// are subtracted: its products and those lengths stay in the normal range of f32, down to a relative 2⁻⁶⁰.
pub(crate) fn is_regular(row: f64, mean: f64, centered: f64) -> bool {
    let range = 2f64.powi(-60)..2f64.powi(60);
    range.contains(&row) && mean < range.end && (2f64.powi(-100)..2f64.powi(100)).contains(&centered)
}
