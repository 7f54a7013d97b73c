//! The questions that can be asked of a candidate with a reference, and what is expected for each.

use mert_arch::Dtype;
use ndarray::Array3;

use super::comparison::Question;
use crate::candidate::Candidate;
use crate::{Reference, Result, Tolerance, Tolerances, VerifyError};

/// The expected hidden states for one question, and the tolerance.
pub(super) struct Expectation<'r> {
    pub(super) question: Question,
    pub(super) reference_weights: Dtype,
    pub(super) states: &'r Array3<f32>,
    pub(super) tolerance: Tolerance,
}

/// Lists the questions that this reference can answer about the candidate. The weights and the arithmetic of the
/// candidate decide which hidden states of the reference are expected, and under which tolerance.
///
/// # Errors
/// [`VerifyError::Tolerance`] for changes to the tolerances that are not accepted.
pub(super) fn expectations<'r>(
    candidate: &dyn Candidate,
    reference: &'r Reference,
    tolerances: &Tolerances,
) -> Result<Vec<Expectation<'r>>> {
    let (weights, compute) = (candidate.metadata().dtype, candidate.arithmetic());
    let structure = |reference_weights, states| {
        let tolerance = tolerances.structure.apply(Tolerance::structure())?;
        Ok::<_, VerifyError>(Expectation { question: Question::Structure, reference_weights, states, tolerance })
    };
    let rounding = |tolerance| {
        let tolerance = tolerances.rounding.apply(tolerance)?;
        let (reference_weights, states) = (Dtype::F32, &reference.hidden_states);
        Ok::<_, VerifyError>(Expectation { question: Question::Rounding, reference_weights, states, tolerance })
    };
    if compute != Dtype::F32 {
        // Rounded activations hide what the structure question looks for. The coarser of the two roundings sets the
        // tolerance.
        let coarser = if weights == Dtype::Bf16 { Dtype::Bf16 } else { compute };
        return Ok(vec![rounding(Tolerance::half_compute(coarser))?]);
    }
    if weights == Dtype::F32 {
        return Ok(vec![structure(Dtype::F32, &reference.hidden_states)?]);
    }
    let mut expectations = Vec::new();
    if let Some(states) = reference.rounded.get(&weights) {
        expectations.push(structure(weights, states)?);
    }
    expectations.push(rounding(Tolerance::rounding(weights))?);
    Ok(expectations)
}
