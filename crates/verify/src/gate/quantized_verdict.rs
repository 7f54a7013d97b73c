//! What a verdict says of quantized weights: whether their codes are the original's, and what to do if they are too few.

use super::comparison::{Comparison, Question};
use super::model::ModelVerdict;
#[cfg(feature = "tch")]
use super::weights::WeightsVerdict;
use crate::ModelEncoding;
use crate::candidate::Candidate;

impl ModelVerdict {
    /// Adds the verdict on the quantized weights, which libtorch's reader has read from the original.
    #[cfg(feature = "tch")]
    pub(crate) fn add_weights(&mut self, weights: WeightsVerdict) {
        self.failures.extend(weights.failures());
        if weights.passed() {
            self.notes.push(weights.summary());
        }
        self.weights = Some(weights);
    }

    /// Notes what to do about a quantized model that fails by its rounding alone.
    pub(super) fn advise_more_bits(&mut self, candidate: &dyn Candidate) {
        let failed = |question| self.comparisons.iter().any(|c: &Comparison| c.question == question && !c.passed());
        let encoding = ModelEncoding::of(candidate.metadata());
        if !encoding.is_quantized() || failed(Question::Structure) || !failed(Question::Rounding) {
            return;
        }
        self.notes.push(format!(
            "{encoding} weights cost this model more than the tolerance allows: give them more bits or smaller groups, leave the \
             most sensitive layers in {} (`mert-convert --q-skip`), or let `--budget` choose the bits of each layer; a limit below \
             the floor takes a reason, `below_floor` in verify.yaml",
            encoding.float()
        ));
    }
}
