//! What an output of any form does for a conversion: check its path and the options, count what it will store, write.

use std::path::Path;

use mert_arch::Layout;
use mert_checkpoint::Source;

use super::fidelity::Fidelity;
use super::output::Written;
use crate::plan::{Plan, PlanOptions, Step};
use crate::{ConvertError, Result};

/// A form of output: a file, a folder or a package.
pub trait Target: Send + Sync {
    /// Checks that the output may be written: nothing is there, or with `force` something of this form. This precedes the
    /// reading of the checkpoint, which takes longer.
    ///
    /// # Errors
    /// [`FsError`](mert_fs::FsError) as [`ConvertError::Output`], or [`ConvertError::ProgramOutput`].
    fn check_output(&self, output: &Path, force: bool) -> Result<()>;

    /// The order of Conv1d weights, given the one that the user asks for.
    ///
    /// # Errors
    /// [`ConvertError::TargetOption`] if the target has another.
    fn layout(&self, requested: Option<Layout>) -> Result<Layout> {
        Ok(requested.unwrap_or(Layout::Mlx))
    }

    /// The usual number of values that share a scale in layers quantized to `bits` bits; `None` for MLX's.
    fn group_size(&self, _bits: usize) -> Option<usize> {
        None
    }

    /// Refuses options of a plan that the target cannot express.
    ///
    /// # Errors
    /// [`ConvertError::TargetOption`].
    fn check_options(&self, _options: &PlanOptions) -> Result<()> {
        Ok(())
    }

    /// The plan with the tensors in the form in which this target stores them.
    ///
    /// # Errors
    /// [`ConvertError`] if the target cannot express an encoding.
    fn refine(&self, plan: Plan) -> Result<Plan> {
        Ok(plan)
    }

    /// Prepares the output of a plan that [`Target::refine`] returned, without reading weights.
    ///
    /// # Errors
    /// [`ConvertError`] if the target cannot express the model.
    fn prepare<'p>(&self, plan: &'p Plan) -> Result<Box<dyn PreparedOutput + 'p>>;
}

/// The output of a plan, ready to be written.
pub trait PreparedOutput: Sync {
    /// The number of tensors that are stored.
    fn tensor_count(&self) -> usize;

    /// The number of bytes of these tensors.
    fn byte_len(&self) -> usize;

    /// The form in a few words, such as "layout mlx".
    fn form(&self) -> String;

    /// More about the output, a line each, such as the files of a folder.
    fn details(&self) -> Vec<String>;

    /// Whether the output has a place for [`Fidelity`].
    fn records_fidelity(&self) -> bool {
        false
    }

    /// Executes the plan on the threads of the current rayon pool. The output appears whole or not at all, with the same
    /// bytes on any number of threads.
    ///
    /// # Errors
    /// [`ConvertError`]; the output is then as it was before.
    fn write(&self, job: &WriteJob<'_>) -> Result<Written>;
}

/// The inputs of writing.
pub struct WriteJob<'a> {
    /// The checkpoint.
    pub source: &'a Source,
    /// The path of the output.
    pub output: &'a Path,
    /// Whether an output of the same form is replaced.
    pub force: bool,
    /// A function that is called after each step.
    pub on_step: &'a (dyn Fn(&Step) + Sync),
    /// A check of the complete weights before the output appears under its name.
    pub inspect: &'a Inspect<'a>,
}

/// A check of weights that were written, at a temporary path: a file, or a folder with them. It returns what is to be
/// recorded beside them, if anything, or the reason to discard the output.
pub type Inspect<'a> = dyn Fn(&Path) -> std::result::Result<Option<Fidelity>, String> + Sync + 'a;

/// A check that accepts everything and records nothing.
pub fn no_inspection(_: &Path) -> std::result::Result<Option<Fidelity>, String> {
    Ok(None)
}

impl WriteJob<'_> {
    /// Runs the check.
    pub(super) fn inspect(&self, written: &Path) -> Result<Option<Fidelity>> {
        let discarded = |reason| ConvertError::Inspection { path: self.output.to_path_buf(), reason };
        (self.inspect)(written).map_err(discarded)
    }
}
