//! The quantized weights of a candidate beside those of the original checkpoint.

use mert_arch::{Encoding, Role};
use tch::Tensor;

use super::libtorch::{DecodedWeights, Libtorch};
use crate::Result;
use crate::candidate::Candidate;
use crate::gate::WeightsVerdict;
use crate::quantized::Codes;

/// Judges the quantized weights of a candidate against the original's; `None` if it has none. For [`Codes::Nearest`] the
/// decoded weights are returned, too: then those that follow from the original are not the candidate's to the bit.
///
/// # Errors
/// [`VerifyError`](crate::VerifyError) if weights cannot be read.
pub(crate) fn compare_weights(
    candidate: &dyn Candidate,
    original: &Libtorch,
    codes: Codes,
) -> Result<(Option<WeightsVerdict>, Option<DecodedWeights>)> {
    let metadata = candidate.metadata();
    let mut verdict = WeightsVerdict::new(codes);
    let mut decoded = DecodedWeights::new();
    for spec in metadata.inventory().into_iter().filter(|spec| spec.role == Role::Linear) {
        if let Encoding::Float(_) = metadata.encoding(&spec) {
            continue;
        }
        let (Some(values), [_, inputs]) = (original.weight(&spec.name)?, &spec.shape[..]) else { continue };
        let Some(stored) = candidate.linear_weight(&spec)? else { continue };
        // Another model's original, which the configurations show.
        if values.len() != stored.values.len() {
            continue;
        }
        verdict.judge(&spec.name, *inputs, &values, &stored);
        if codes == Codes::Nearest {
            let shape: Vec<i64> = spec.shape.iter().map(|&n| n as i64).collect();
            decoded.insert(spec.name, Tensor::f_from_slice(&stored.values)?.f_reshape(shape)?);
        }
    }
    let (any, nearest) = (verdict.tensors > 0, codes == Codes::Nearest);
    Ok((any.then_some(verdict), (any && nearest).then_some(decoded)))
}

/// The values of a package's compressed weights, with which its structure is judged: `None` if it has none. What they cost is
/// the rounding question's.
///
/// # Errors
/// [`VerifyError`](crate::VerifyError) if weights cannot be read.
pub(crate) fn decompressed_weights(candidate: &dyn Candidate) -> Result<Option<DecodedWeights>> {
    let mut weights = DecodedWeights::new();
    for spec in candidate.metadata().inventory().into_iter().filter(|spec| spec.role == Role::Linear) {
        if let Some(values) = candidate.decompressed(&spec)? {
            let shape: Vec<i64> = spec.shape.iter().map(|&n| n as i64).collect();
            weights.insert(spec.name, Tensor::f_from_slice(&values)?.f_reshape(shape)?);
        }
    }
    Ok((!weights.is_empty()).then_some(weights))
}
