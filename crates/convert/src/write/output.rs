//! The result of writing an output, and the check that the output is not the input.

use std::fs;
use std::path::Path;

use mert_checkpoint::Source;
use mert_fs::FsError;
use serde::Serialize;

use super::delta_kept::DeltaKept;
use super::fidelity::Fidelity;
use crate::Result;
use crate::plan::{ConfigOrigin, Plan};

/// A written output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Written {
    /// The output's size in bytes.
    pub bytes: u64,
    /// The SHA-256 of the checkpoint, in hexadecimal.
    pub source_sha256: String,
    /// What the weights have of the changes of the adapter that was merged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta_kept: Option<DeltaKept>,
    /// How close the written model is to its checkpoint, if it was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fidelity: Option<Fidelity>,
}

/// Refuses an output that is one of the input's files, or a folder that holds one of them.
///
/// # Errors
/// [`FsError::OutputIsInput`].
pub(super) fn refuse_input_as_output(plan: &Plan, source: &Source, output: &Path) -> Result<()> {
    let Ok(output) = fs::canonicalize(output) else { return Ok(()) };
    // An output that is a folder would be replaced as a whole.
    let same = |input: &Path| fs::canonicalize(input).is_ok_and(|input| input.starts_with(&output));
    let config = match &plan.config_origin {
        ConfigOrigin::File(path) => Some(path),
        ConfigOrigin::Cfg { .. } | ConfigOrigin::Inferred { .. } => None,
    };
    if source
        .files
        .iter()
        .chain(config)
        .chain(&source.preprocessor_files)
        .chain(&source.adapter_files())
        .any(|file| same(file))
    {
        return Err(FsError::OutputIsInput { path: output }.into());
    }
    Ok(())
}
