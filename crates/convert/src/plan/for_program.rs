//! The checks and additions of a plan for another program.

use mert_arch::{Config, Layout, Role, TensorSpec};

use super::options::PlanOptions;
use super::preprocessor::PlannedPreprocessor;
use super::{Plan, Step};
use crate::programs::{Companion, ModelFacts, preprocessor_companion};
use crate::{ConvertError, Result};

/// The vector in place of masked frames, which only training uses. transformers has it as a parameter of the encoder.
const MASKED_SPEC_EMBED: &str = "masked_spec_embed";

/// The layout of the output, once the program is known to compute this model.
///
/// # Errors
/// [`ConvertError::Program`] for a model or an option that the program does not have; [`ConvertError::UnknownInput`] if the
/// output states the audio input and nothing else does.
pub(super) fn layout(config: &Config, preprocessor: &PlannedPreprocessor, options: &PlanOptions) -> Result<Layout> {
    let Some(program) = options.program else { return Ok(options.layout) };
    let class = program.class();
    class.check(config, options.dtype, options.keep_final_proj).map_err(|refusal| ConvertError::Program {
        program: program.name(),
        field: refusal.field,
        found: refusal.found,
        reason: refusal.reason,
    })?;
    if options.quantize.is_some() {
        return Err(ConvertError::Program {
            program: program.name(),
            field: "--quantize",
            found: "quantized linear layers".into(),
            reason: "its loader reads floats only; leave it out, or convert without --for for this toolkit and MLX"
                .into(),
        });
    }
    if program.is_folder() {
        preprocessor.check_stated(&format!("--for {program}"))?;
    }
    Ok(class.layout())
}

/// The tensors beside the encoder's that the program takes if the checkpoint has them.
pub(super) fn optional_tensors(config: &Config, options: &PlanOptions) -> Vec<TensorSpec> {
    let takes = options.program.is_some_and(|program| program.class().has_masked_spec_embed());
    let spec = || TensorSpec { name: MASKED_SPEC_EMBED.into(), shape: vec![config.hidden_size], role: Role::Embedding };
    takes.then(spec).into_iter().collect()
}

impl Plan {
    /// The files beside the weights, if the output is a folder.
    pub(crate) fn companions(&self) -> Vec<Companion> {
        match self.program {
            Some(program) => program.class().companions(&self.facts()),
            None => vec![preprocessor_companion(&self.facts())],
        }
    }

    /// Refuses a plan whose audio input is an assumption, for an output that states it.
    pub(crate) fn check_stated_input(&self, output: &str) -> Result<()> {
        self.preprocessor.check_stated(output)
    }

    /// What a user of the program must know, a sentence each.
    pub(super) fn program_notes(&self) -> Vec<String> {
        let Some(program) = self.program else { return Vec::new() };
        let mut notes = program.class().notes(&self.facts());
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
