//! Comparing one model with each of its references.

use std::time::Instant;

use mert_arch::{Dtype, LayerSelection};
use mert_runtime::DeviceKind;
use ndarray::Array3;

use crate::candidate::{Candidate, Emulation, Output, PackageEngine};
use crate::closing_norm::explain;
use crate::gate::{Comparison, Question, judge};
use crate::report::{ModelReport, Timing};
use crate::{Reference, Result, Tolerance, Tolerances, VerifyError};

/// What to verify, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Which hidden states.
    pub layers: LayerSelection,
    /// Where the model runs.
    pub device: DeviceKind,
    /// The element type in which a safetensors file is computed; f32 by default.
    pub compute: Option<Dtype>,
    /// Who runs a Core ML package; the interpreter by default.
    pub engine: Option<PackageEngine>,
    /// The half precision that the interpreter emulates, if any.
    pub emulate: Option<Emulation>,
    /// Feed each layer the reference's own input.
    pub isolate: bool,
    /// Fail unless the structure was judged for every reference.
    pub require_structure: bool,
    /// Changes to the tolerances.
    pub tolerances: Tolerances,
}

/// Compares a converted model with each of the references.
///
/// # Errors
/// [`VerifyError`] if nothing could be compared for a reason outside the model: unreadable references, a layer that does
/// not exist, no references. A reference that cannot be compared beside others that were is in
/// [`ModelReport::errors`]. A model that is wrong gives a report that did not pass.
pub fn verify_model(
    candidate: &dyn Candidate,
    references: impl IntoIterator<Item = Result<Reference>>,
    options: &Options,
) -> Result<ModelReport> {
    options.tolerances.validate()?;
    let config = &candidate.metadata().config;
    let wanted = options.layers.resolve_among(&candidate.hidden_states())?;
    let mut report = ModelReport::new(candidate);

    if candidate.metadata().config_inferred {
        report.notes.push(
            "the model's architecture was worked out from shapes when it was converted, with assumptions; convert it \
             with its config.json to be sure"
                .into(),
        );
    }
    let mut errors = Vec::new();
    for reference in references {
        let compared = reference.and_then(|reference| {
            let notes = reference.weaknesses(config, candidate.metadata().preprocessor.do_normalize)?;
            Ok((notes, compare(candidate, &reference, &wanted, options)?))
        });
        match compared {
            Ok((notes, (timing, comparisons))) => {
                report.notes.extend(notes);
                report.timings.push(timing);
                report.comparisons.extend(comparisons);
            }
            Err(error) => errors.push(error),
        }
    }
    if report.comparisons.is_empty() {
        let none =
            || VerifyError::NothingToCompare("no reference was given, so there is nothing to compare with".into());
        return Err(errors.into_iter().next().unwrap_or_else(none));
    }
    report.find_worst();
    report.judge_structure_coverage(options.require_structure);
    let judged: Vec<usize> = report.timings.iter().map(|timing| timing.samples).collect();
    match candidate.check_lengths(&judged) {
        Ok(note) => report.notes.extend(note),
        Err(error) => errors.push(error),
    }
    report.errors = errors.iter().map(VerifyError::to_string).collect();
    Ok(report)
}

fn compare(
    candidate: &dyn Candidate,
    reference: &Reference,
    wanted: &[usize],
    options: &Options,
) -> Result<(Timing, Vec<Comparison>)> {
    let started = Instant::now();
    let shared = if options.isolate { Vec::new() } else { candidate.run(&reference.input_values, wanted)? };
    let seconds = started.elapsed().as_secs_f64();

    let mut comparisons = Vec::new();
    for Asked { question, reference_weights, states, tolerance } in questions(candidate, reference, options)? {
        let isolated;
        let outputs = if options.isolate {
            let alone = candidate.run_isolated(&reference.input_values, states.view(), wanted)?;
            isolated = [(Output::Frames, alone)];
            &isolated[..]
        } else {
            &shared
        };
        for (output, found) in outputs {
            let mut layers = judge(found, output.of_reference(states.view()).view(), wanted, &tolerance);
            let (expected, available) = (candidate.metadata().config.num_hidden_states(), states.dim().0);
            if available == expected {
                explain(candidate, found, *output, states, &tolerance, &mut layers)?;
            } else {
                let reason = format!(
                    "the reference has {available} hidden states, the model {expected}: it is of another model"
                );
                layers.iter_mut().for_each(|layer| layer.failures.push(reason.clone()));
            }
            comparisons.push(Comparison {
                reference: reference.name.clone(),
                question,
                output: *output,
                reference_weights,
                isolated: options.isolate,
                tolerance: tolerance.clone(),
                layers,
            });
        }
    }
    let timing = Timing { reference: reference.name.clone(), samples: reference.input_values.len(), seconds };
    Ok((timing, comparisons))
}

/// One question, and what answers it.
struct Asked<'r> {
    question: Question,
    reference_weights: Dtype,
    states: &'r Array3<f32>,
    tolerance: Tolerance,
}

/// What can be asked of this model with this reference: which weights the reference must have, and how
/// near the results must be.
fn questions<'r>(candidate: &dyn Candidate, reference: &'r Reference, options: &Options) -> Result<Vec<Asked<'r>>> {
    let (weights, compute) = (candidate.metadata().dtype, candidate.arithmetic());
    let structure = |reference_weights, states| {
        let tolerance = options.tolerances.structure.apply(Tolerance::structure())?;
        Ok::<_, VerifyError>(Asked { question: Question::Structure, reference_weights, states, tolerance })
    };
    let rounding = |tolerance| {
        let tolerance = options.tolerances.rounding.apply(tolerance)?;
        let (reference_weights, states) = (Dtype::F32, &reference.hidden_states);
        Ok::<_, VerifyError>(Asked { question: Question::Rounding, reference_weights, states, tolerance })
    };
    if compute != Dtype::F32 {
        // Rounded activations drown what the structure question looks for. The coarser of the two
        // roundings sets the tolerance.
        let coarser = if weights == Dtype::Bf16 { Dtype::Bf16 } else { compute };
        return Ok(vec![rounding(Tolerance::half_compute(coarser))?]);
    }
    if weights == Dtype::F32 {
        return Ok(vec![structure(Dtype::F32, &reference.hidden_states)?]);
    }
    let mut questions = Vec::new();
    if let Some(states) = reference.rounded.get(&weights) {
        questions.push(structure(weights, states)?);
    }
    questions.push(rounding(Tolerance::rounding(weights))?);
    Ok(questions)
}
