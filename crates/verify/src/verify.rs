use std::time::Instant;

use mert_runtime::{ComputeDtype, ConvertedFile, DeviceKind, Model};
use mert_spec::{Dtype, LayerSelection};
use ndarray::Array3;

use crate::candidate::{cumulative, isolated};
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
    /// The element type in which it computes; f32 by default.
    pub compute: Option<ComputeDtype>,
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
/// [`VerifyError`] if something could not be compared for a reason outside the model: an unreadable
/// reference, a layer that does not exist, no references. A model that is wrong gives a report that
/// did not pass.
pub fn verify_model(
    file: &ConvertedFile,
    references: impl IntoIterator<Item = Result<Reference>>,
    options: &Options,
) -> Result<ModelReport> {
    options.tolerances.validate()?;
    let config = &file.metadata().config;
    let wanted = options.layers.resolve(config.num_hidden_states())?;
    let compute = options.compute.unwrap_or(Dtype::F32);
    let model = Model::open(file.path(), compute, &options.device.open()?)?;
    let mut report = ModelReport::new(file, options.device, compute);

    if file.metadata().config_inferred {
        report.notes.push(
            "the model's architecture was worked out from shapes when it was converted, with assumptions; convert it \
             with its config.json to be sure"
                .into(),
        );
    }
    for reference in references {
        let reference = reference?;
        report.notes.extend(reference.weaknesses(config)?);
        let (timing, comparisons) = compare(file, &model, &reference, &wanted, compute, options)?;
        report.timings.push(timing);
        report.comparisons.extend(comparisons);
    }
    if report.comparisons.is_empty() {
        return Err(VerifyError::NothingToCompare(
            "no reference was given, so there is nothing to compare with".into(),
        ));
    }
    report.judge_structure_coverage(options.require_structure);
    Ok(report)
}

fn compare(
    file: &ConvertedFile,
    model: &Model,
    reference: &Reference,
    wanted: &[usize],
    compute: Dtype,
    options: &Options,
) -> Result<(Timing, Vec<Comparison>)> {
    let started = Instant::now();
    let shared = if options.isolate { None } else { Some(cumulative(model, &reference.input_values, wanted)?) };
    let seconds = started.elapsed().as_secs_f64();

    let mut comparisons = Vec::new();
    for Asked { question, reference_weights, states, tolerance } in questions(file, reference, compute, options)? {
        let isolated_states = match shared {
            Some(_) => None,
            None => Some(isolated(model, &reference.input_values, states.view(), wanted)?),
        };
        let candidate = shared.as_ref().or(isolated_states.as_ref());
        let mut layers = judge(candidate.unwrap_or(&Default::default()), states.view(), wanted, &tolerance);
        let (expected, found) = (model.config().num_hidden_states(), states.dim().0);
        if found != expected {
            let reason =
                format!("the reference has {found} hidden states, the model {expected}: it is of another model");
            layers.iter_mut().for_each(|layer| layer.failures.push(reason.clone()));
        }
        comparisons.push(Comparison {
            reference: reference.name.clone(),
            question,
            reference_weights,
            isolated: options.isolate,
            tolerance,
            layers,
        });
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

/// What can be asked of this file with this reference: which weights the reference must have, and how
/// near the results must be.
fn questions<'r>(
    file: &ConvertedFile,
    reference: &'r Reference,
    compute: Dtype,
    options: &Options,
) -> Result<Vec<Asked<'r>>> {
    let weights = file.metadata().dtype;
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
