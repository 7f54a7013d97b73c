//! The weights that two bundles of the same model both store as floats: each must be the other's, up to the rounding to a
//! narrower type.

use std::collections::BTreeMap;

use half::{bf16, f16};
use mert_arch::{Dtype, printable_line};

use super::tensors::{StoredTensor, float, widened};
use super::verdict::{Figure, PartVerdict};

/// The tensors of one kind, such as the first norms of all layers.
#[derive(Default)]
struct Kind {
    tensors: usize,
    values: usize,
    different: usize,
    first: Option<String>,
}

/// The verdicts on the tensors of `ours` that are floats, one for each kind: the tensors whose names differ only in numbers. A
/// tensor that is quantized in one of both is left to others.
pub(super) fn compare(
    prefix: &str,
    ours: &BTreeMap<String, StoredTensor<'_>>,
    theirs: &BTreeMap<String, StoredTensor<'_>>,
) -> Vec<PartVerdict> {
    let (mut kinds, mut verdicts): (BTreeMap<String, Kind>, _) = (BTreeMap::new(), Vec::new());
    for (name, found) in ours.iter().filter(|(name, _)| !is_quantized(ours, name) && !is_quantized(theirs, name)) {
        let (part, Some(found_type)) = (format!("{prefix}{}", printable_line(name)), float(found.dtype)) else {
            continue;
        };
        let Some(expected) = theirs.get(name) else {
            verdicts.push(PartVerdict::fault(part, "the other bundle has no such tensor"));
            continue;
        };
        let (Some(values), Some(other), Some(other_type)) =
            (widened(*found), widened(*expected), float(expected.dtype))
        else {
            let fault = format!("{:?}, expected floats as here: {:?}", expected.dtype, found.dtype);
            verdicts.push(PartVerdict::fault(part, fault));
            continue;
        };
        if values.len() != other.len() {
            verdicts.push(PartVerdict::fault(part, format!("{} values, expected {}", values.len(), other.len())));
            continue;
        }
        let kind = kinds.entry(format!("{prefix}{}", without_numbers(name))).or_default();
        let pairs = values.iter().zip(&other);
        let different = pairs.filter(|(a, b)| !same(**a, found_type, **b, other_type)).count();
        kind.tensors += 1;
        kind.values += values.len();
        kind.different += different;
        if different > 0 && kind.first.is_none() {
            kind.first = Some(part);
        }
    }
    for name in theirs.keys().filter(|name| !ours.contains_key(*name) && !is_quantized(theirs, name)) {
        let part = format!("{prefix}{}", printable_line(name));
        // Where the weight is quantized here, its codes are compared.
        verdicts.push(PartVerdict::fault(part, "the tensor is in the other bundle only"));
    }
    verdicts.extend(kinds.into_iter().map(|(name, kind)| kind.verdict(name)));
    verdicts
}

impl Kind {
    fn verdict(self, name: String) -> PartVerdict {
        let part = match self.first {
            Some(first) if first != name => format!("{name}, first in {first}"),
            _ => name,
        };
        let figures = vec![
            Figure { name: "differing values", value: self.different as f64, limit: Some(0.0) },
            Figure { name: "of", value: self.values as f64, limit: None },
            Figure { name: "tensors", value: self.tensors as f64, limit: None },
        ];
        PartVerdict { part, figures, fault: None }
    }
}

/// Whether a tensor is a part of a quantized weight.
pub(super) fn is_quantized(tensors: &BTreeMap<String, StoredTensor<'_>>, name: &str) -> bool {
    let module = name.rsplit_once('.').filter(|(_, part)| ["weight", "scales", "biases"].contains(part));
    module.is_some_and(|(module, _)| tensors.contains_key(&format!("{module}.scales")))
}

/// A name with `*` for every number in it.
fn without_numbers(name: &str) -> String {
    let part = |part: &str| match part.parse::<usize>() {
        Ok(_) => "*".to_string(),
        Err(_) => printable_line(part),
    };
    name.split('.').map(part).collect::<Vec<_>>().join(".")
}

/// Whether two values can be the same number, each rounded to its type. A NaN is none.
fn same(ours: f32, our_type: Dtype, theirs: f32, their_type: Dtype) -> bool {
    match (our_type, their_type) {
        (ours_in, theirs_in) if ours_in == theirs_in => ours == theirs,
        (Dtype::F32, theirs_in) => rounded(ours, theirs_in) == theirs,
        (ours_in, Dtype::F32) => rounded(theirs, ours_in) == ours,
        // f16 and bf16 of one number: half a unit in the last place of each, and of f16's subnormal numbers.
        _ => (ours - theirs).abs() <= theirs.abs() * (2f32.powi(-9) + 2f32.powi(-11)) * 1.01 + 2f32.powi(-25),
    }
}

fn rounded(value: f32, dtype: Dtype) -> f32 {
    match dtype {
        Dtype::F32 => value,
        Dtype::F16 => f16::from_f32(value).to_f32(),
        Dtype::Bf16 => bf16::from_f32(value).to_f32(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_the_same_after_the_rounding_to_the_narrower_type() {
        let (x, half, brain) = (0.123_456_79f32, rounded(0.123_456_79, Dtype::F16), rounded(0.123_456_79, Dtype::Bf16));
        assert!(same(half, Dtype::F16, x, Dtype::F32) && same(x, Dtype::F32, half, Dtype::F16));
        assert!(same(half, Dtype::F16, brain, Dtype::Bf16) && same(x, Dtype::F32, x, Dtype::F32));
        assert!(!same(half, Dtype::F32, x, Dtype::F32) && !same(half * 1.01, Dtype::F16, x, Dtype::F32));
        assert!(
            !same(half * 1.01, Dtype::F16, brain, Dtype::Bf16) && !same(f32::NAN, Dtype::F32, f32::NAN, Dtype::F32)
        );
    }

    #[test]
    fn kinds_are_named_without_numbers() {
        assert_eq!(without_numbers("lm.layers.11.norm1.weight"), "lm.layers.*.norm1.weight");
    }
}
