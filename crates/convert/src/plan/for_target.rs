//! The checks and additions of a plan for another program.

use mert_arch::{Config, Layout, Role, TensorSpec};

use super::options::PlanOptions;
use super::preprocessor::PlannedPreprocessor;
use super::{Plan, Step};
use crate::targets::{Companion, ModelFacts};
use crate::{ConvertError, Result};

/// The vector in place of masked frames, which only training uses. transformers has it as a parameter of the encoder.
const MASKED_SPEC_EMBED: &str = "masked_spec_embed";

/// The layout of the output, once the target is known to compute this model.
///
/// # Errors
/// [`ConvertError::Target`] for a model or an option that the target does not have; [`ConvertError::UnknownInput`] if the
/// output states the audio input and nothing else does.
pub(super) fn layout(config: &Config, preprocessor: &PlannedPreprocessor, options: &PlanOptions) -> Result<Layout> {
    let Some(target) = options.target else { return Ok(options.layout) };
    let class = target.class();
    class.check(config, options.dtype, options.keep_final_proj).map_err(|refusal| ConvertError::Target {
        target: target.name(),
        field: refusal.field,
        found: refusal.found,
        reason: refusal.reason,
    })?;
    if options.quantize.is_some() {
        return Err(ConvertError::Target {
            target: target.name(),
            field: "--quantize",
            found: "quantized linear layers".into(),
            reason: "its loader reads floats only; leave it out, or convert without --for for this toolkit and MLX"
                .into(),
        });
    }
    let inputs = [
        ("sampling_rate", "--sampling-rate HZ", &preprocessor.sampling_rate_origin),
        ("do_normalize", "--do-normalize true|false", &preprocessor.do_normalize_origin),
    ];
    let (fields, given): (Vec<_>, Vec<_>) = inputs
        .into_iter()
        .filter(|(_, _, origin)| target.is_folder() && origin.is_assumed())
        .map(|(field, option, _)| (format!("`{field}`"), option))
        .unzip();
    if !fields.is_empty() {
        let (fields, options) = (fields.join(" and "), given.join(" "));
        return Err(ConvertError::UnknownInput { target: target.name(), fields, options });
    }
    Ok(class.layout())
}

/// The tensors beside the encoder's that the target takes if the checkpoint has them.
pub(super) fn optional_tensors(config: &Config, options: &PlanOptions) -> Vec<TensorSpec> {
    let takes = options.target.is_some_and(|target| target.class().has_masked_spec_embed());
    let spec = || TensorSpec { name: MASKED_SPEC_EMBED.into(), shape: vec![config.hidden_size], role: Role::Embedding };
    takes.then(spec).into_iter().collect()
}

impl Plan {
    /// The files beside the weights, if the output is a folder.
    pub(crate) fn companions(&self) -> Vec<Companion> {
        self.target.map(|target| target.class().companions(&self.facts())).unwrap_or_default()
    }

    /// What a user of the target must know, a sentence each.
    pub(super) fn target_notes(&self) -> Vec<String> {
        let Some(target) = self.target else { return Vec::new() };
        let mut notes = target.class().notes(&self.facts());
        for counter in &self.counters {
            notes.push(format!("{counter}, which only counts batches of training, is written as 0"));
        }
        notes
    }

    fn facts(&self) -> ModelFacts<'_> {
        ModelFacts {
            config: &self.config,
            dtype: self.dtype,
            preprocessor: self.preprocessor.preprocessor,
            final_proj: self.final_proj,
            masked_spec_embed: self.steps.iter().any(|step: &Step| step.name == MASKED_SPEC_EMBED),
        }
    }
}
