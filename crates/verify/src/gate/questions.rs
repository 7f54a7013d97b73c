//! The questions that can be asked of a candidate with a reference, and what is expected for each.

use mert_arch::{ComputeType, Dtype};
use ndarray::Array3;

use super::comparison::Question;
use crate::candidate::Candidate;
use crate::{ModelEncoding, Reference, Result, Tolerance, Tolerances, VerifyError};

/// The expected hidden states for one question, and the tolerance.
pub(super) struct Expectation<'r> {
    pub(super) question: Question,
    pub(super) reference_weights: ModelEncoding,
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
    let (weights, compute) = (ModelEncoding::of(candidate.metadata()), candidate.arithmetic());
    let structure = |states| {
        let tolerance = tolerances.structure.apply(Tolerance::structure())?;
        let reference_weights = weights.clone();
        Ok::<_, VerifyError>(Expectation { question: Question::Structure, reference_weights, states, tolerance })
    };
    let rounding = |tolerance| {
        let tolerance = tolerances.rounding.apply(tolerance)?;
        let (reference_weights, states) = (ModelEncoding::of_floats(Dtype::F32), &reference.hidden_states);
        Ok::<_, VerifyError>(Expectation { question: Question::Rounding, reference_weights, states, tolerance })
    };
    let compression = candidate.compression();
    let compressed = compression.as_ref().map(|weights| match candidate.as_precise_as() {
        Some(encoding) => Tolerance::quantized(&encoding).named_after(&weights.to_string()),
        None => Tolerance::compressed(&weights.to_string()),
    });
    let of_weights = || compressed.clone().unwrap_or_else(|| Tolerance::rounding_of(&weights));
    if compute != Dtype::F32 {
        // Rounded activations hide what the structure question looks for. The coarser of the two roundings sets the
        // tolerance.
        let coarser = match (compute, weights.float()) {
            (ComputeType::Float(_), Dtype::Bf16) => ComputeType::BF16,
            _ => compute,
        };
        let on_cpu = candidate.rounds_factors_only().then(|| Tolerance::rounded_factors(coarser)).flatten();
        let arithmetic = on_cpu.unwrap_or_else(|| Tolerance::compute(coarser));
        let quantized = weights.is_quantized() || compressed.is_some();
        return Ok(vec![rounding(if quantized { of_weights().or_looser(arithmetic) } else { arithmetic })?]);
    }
    if compressed.is_none() && weights == ModelEncoding::of_floats(Dtype::F32) {
        return Ok(vec![structure(&reference.hidden_states)?]);
    }
    let mut expectations = Vec::new();
    let with_weights = match &compression {
        Some(compressed) => reference.quantized.get(&compressed.array_name(weights.float())),
        None => reference.with_weights(&weights),
    };
    if let Some(states) = with_weights {
        expectations.push(structure(states)?);
    }
    expectations.push(rounding(of_weights())?);
    Ok(expectations)
}
