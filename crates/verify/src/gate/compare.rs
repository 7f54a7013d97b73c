//! The comparison of one candidate with each of its references.

use std::time::Instant;

use mert_arch::LayerSelection;
#[cfg(feature = "tch")]
use mert_arch::Metadata;

use super::comparison::Comparison;
use super::frames::{FrameRecord, FrameTimes, keep_worst_records};
use super::layer::judge;
use super::model::{ForwardTime, ModelVerdict};
use super::questions::{Expectation, expectations};
use super::unnormalized_reference;
use crate::candidate::{Candidate, Output, RunIsolated};
use crate::quantized::Codes;
use crate::{Reference, Result, Tolerances, VerifyError};

/// The options of a comparison: which hidden states are compared, and how strictly.
#[derive(Debug, Clone, Default)]
pub struct CompareOptions {
    /// The hidden states to compare.
    pub layers: LayerSelection,
    /// Whether each layer is run on the reference's own hidden state below it.
    pub isolate: bool,
    /// Whether the model fails unless the structure was judged for every reference.
    pub require_structure: bool,
    /// How the codes of quantized weights are judged; [`Codes::Exact`] by default, and [`Codes::Nearest`] for a model that MLX
    /// saved, which may have computed them on a GPU.
    pub codes: Option<Codes>,
    /// The changes to the tolerances.
    pub tolerances: Tolerances,
    /// True to keep the distances of single frames for a report, with the samples around the worst one: of the failed
    /// comparisons and the worst others of each model.
    pub keep_frames: bool,
}

impl CompareOptions {
    /// How the codes of a model's quantized weights are judged.
    #[cfg(feature = "tch")]
    pub(crate) fn codes_of(&self, metadata: &Metadata) -> Codes {
        // Only a model that MLX saved does not record what it was made from.
        let saved_by_mlx = metadata.source_sha256.is_empty();
        self.codes.unwrap_or(if saved_by_mlx { Codes::Nearest } else { Codes::Exact })
    }
}

/// Compares a candidate with each of the references.
///
/// # Errors
/// [`VerifyError`] if nothing could be compared for a reason outside the model: unreadable references, a hidden state
/// that does not exist, no references. The error of a reference that cannot be compared beside others that can is in
/// [`ModelVerdict::errors`]. A model that is wrong is not an error but a verdict that did not pass.
pub(crate) fn compare_model(
    candidate: &dyn Candidate,
    references: impl IntoIterator<Item = Result<Reference>>,
    options: &CompareOptions,
) -> Result<ModelVerdict> {
    options.tolerances.validate()?;
    let config = &candidate.metadata().config;
    let wanted = options.layers.resolve_among(&candidate.hidden_states())?;
    let isolated = if options.isolate { Some(isolated(candidate)?) } else { None };
    let mut verdict = ModelVerdict::new(candidate);

    if candidate.metadata().config_inferred {
        verdict.notes.push(
            "the model's architecture was worked out from shapes when it was converted, with assumptions; convert it \
             with its config.json to be sure"
                .into(),
        );
    }
    let mut errors = Vec::new();
    for reference in references {
        let compared = reference.and_then(|reference| {
            let notes = reference.weaknesses(config, candidate.metadata().preprocessor.do_normalize)?;
            Ok((notes, compare(candidate, isolated, &reference, &wanted, options)?))
        });
        match compared {
            Ok((notes, (time, comparisons))) => {
                verdict.notes.extend(notes);
                verdict.timings.push(time);
                verdict.comparisons.extend(comparisons);
                keep_worst_records(&mut verdict.comparisons);
            }
            Err(error) => errors.push(error),
        }
    }
    if verdict.comparisons.is_empty() {
        let none =
            || VerifyError::NothingToCompare("no reference was given, so there is nothing to compare with".into());
        return Err(errors.into_iter().next().unwrap_or_else(none));
    }
    verdict.find_worst();
    verdict.judge_structure_coverage(candidate, options.require_structure);
    verdict.advise_more_bits(candidate);
    let judged: Vec<usize> = verdict.timings.iter().map(|time| time.samples).collect();
    match candidate.check_lengths(&judged) {
        Ok(note) => verdict.notes.extend(note),
        Err(error) => errors.push(error),
    }
    verdict.errors = errors.iter().map(VerifyError::to_string).collect();
    Ok(verdict)
}

fn isolated(candidate: &dyn Candidate) -> Result<&dyn RunIsolated> {
    let reason = "--isolate is for .safetensors files; a package runs from the samples up";
    candidate.isolated().ok_or_else(|| VerifyError::options(candidate.path(), reason))
}

/// Compares a candidate with one reference, its layers run alone if `isolated`.
fn compare(
    candidate: &dyn Candidate,
    isolated: Option<&dyn RunIsolated>,
    reference: &Reference,
    wanted: &[usize],
    options: &CompareOptions,
) -> Result<(ForwardTime, Vec<Comparison>)> {
    let input_values = &reference.input_values;
    let started = Instant::now();
    let outputs = if isolated.is_some() { Vec::new() } else { candidate.run(input_values, wanted)? };
    let seconds = started.elapsed().as_secs_f64();

    let times = FrameTimes::new(&candidate.metadata().config, candidate.metadata().preprocessor.sampling_rate);
    let mut comparisons = Vec::new();
    for expectation in expectations(candidate, reference, &options.tolerances)? {
        let alone;
        let outputs = match isolated {
            Some(model) => {
                let states = model.run_isolated(input_values, expectation.states.view(), wanted)?;
                alone = [(Output::Frames, states)];
                &alone[..]
            }
            None => &outputs,
        };
        let Expectation { question, reference_weights, states, tolerance } = expectation;
        for (output, found) in outputs {
            let mut layers = judge(found, output.of_reference(states.view()).view(), wanted, &tolerance);
            let (expected, available) = (candidate.metadata().config.num_hidden_states(), states.dim().0);
            if available == expected {
                unnormalized_reference::explain(candidate, found, *output, states, &tolerance, &mut layers)?;
            } else {
                let reason = format!(
                    "the reference has {available} hidden states, the model {expected}: it is of another model"
                );
                layers.iter_mut().for_each(|layer| layer.failures.push(reason.clone()));
            }
            // A mean over frames has no place in the clip.
            let frames = (options.keep_frames && *output == Output::Frames)
                .then(|| FrameRecord::new(found, states.view(), &layers, times, input_values));
            comparisons.push(Comparison {
                reference: reference.name.clone(),
                question,
                output: *output,
                reference_weights: reference_weights.clone(),
                isolated: isolated.is_some(),
                tolerance: tolerance.clone(),
                layers,
                frames,
            });
        }
    }
    let time = ForwardTime { reference: reference.name.clone(), samples: input_values.len(), seconds };
    Ok((time, comparisons))
}
