//! The verdict on a model's quantized weights themselves: whether their codes are those of the original. Hidden states show that
//! something is wrong; this names the tensor.

use mert_arch::printable_line;
use serde::Serialize;

use crate::candidate::StoredWeight;
use crate::quantized::{Codes, WeightVerdict, check_weight};

/// The number of tensors whose fault is described; the rest are counted.
const MAX_DESCRIBED: usize = 5;

/// The verdict on the quantized weights of a model, against the original's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WeightsVerdict {
    /// How the codes were judged.
    pub codes: Codes,
    /// The number of quantized weights that were compared.
    pub tensors: usize,
    /// The number of their values.
    pub values: usize,
    /// The number of values that are not what `mx.quantize` on the CPU makes of the original.
    pub different: usize,
    /// The names of the weights that failed.
    pub failed: Vec<String>,
    /// The faults, one sentence for each of the first weights that failed.
    #[serde(skip)]
    faults: Vec<String>,
    /// Whether every fault is within half a step of the original.
    #[serde(skip)]
    all_near: bool,
}

impl WeightsVerdict {
    /// A verdict on no weights.
    pub fn new(codes: Codes) -> Self {
        WeightsVerdict {
            codes,
            tensors: 0,
            values: 0,
            different: 0,
            failed: Vec::new(),
            faults: Vec::new(),
            all_near: true,
        }
    }

    /// Judges a weight `(out, in)` against the original's values.
    pub fn judge(&mut self, name: &str, inputs: usize, original: &[f32], stored: &StoredWeight) {
        let found = check_weight(original, &stored.values, stored.encoding);
        self.tensors += 1;
        self.values += found.values;
        self.different += found.different;
        if found.passed(self.codes) {
            return;
        }
        self.all_near &= found.far == 0;
        self.failed.push(name.to_string());
        if self.faults.len() < MAX_DESCRIBED {
            self.faults.push(describe(name, inputs, stored, &found));
        }
    }

    /// Whether all weights passed.
    pub fn passed(&self) -> bool {
        self.failed.is_empty()
    }

    /// A line about weights that passed.
    #[cfg(feature = "tch")]
    pub(crate) fn summary(&self) -> String {
        let WeightsVerdict { tensors, values, different, .. } = self;
        match (self.codes, different) {
            (_, 0) => format!(
                "weights: the {tensors} quantized weights are what mx.quantize makes of the original on the CPU"
            ),
            (_, different) => format!(
                "weights: {different} of {values} values of the {tensors} quantized weights are not what mx.quantize makes of \
                 the original on the CPU, but all are within half a step of it"
            ),
        }
    }

    /// Sentences about the weights that failed.
    #[cfg(feature = "tch")]
    pub(crate) fn failures(&self) -> Vec<String> {
        let mut failures = self.faults.clone();
        if self.failed.len() > self.faults.len() {
            failures.push(format!(
                "{} more quantized weights are not the original's",
                self.failed.len() - self.faults.len()
            ));
        }
        if !self.passed() && self.codes == Codes::Exact && self.all_near {
            failures.push(
                "all of these values are within half a step of the original: if MLX quantized the file on a GPU, judge it with \
                 --codes nearest"
                    .into(),
            );
        }
        failures
    }
}

fn describe(name: &str, inputs: usize, stored: &StoredWeight, found: &WeightVerdict) -> String {
    let WeightVerdict { values, different, far, .. } = found;
    let worst = found.worst.map_or(String::new(), |(index, is, expected)| {
        format!(
            ", the worst at row {} column {}: {is} instead of {expected}",
            index / inputs.max(1),
            index % inputs.max(1)
        )
    });
    format!(
        "weights: `{}` ({}): {different} of {values} values are not what mx.quantize makes of the original, {far} of them further \
         than half a step from it{worst}",
        printable_line(name),
        stored.encoding
    )
}
