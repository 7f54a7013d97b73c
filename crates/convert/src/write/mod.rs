//! Output formats: one file or folder for each target.

mod coreml;
mod safetensors;
mod tensors;

use std::fs;
use std::path::Path;

use serde::Serialize;

pub use self::coreml::{
    CoreMlOptions, CoreMlProgram, DeploymentTarget, InputLengths, check_package_output, coreml, coreml_program,
};
pub use self::safetensors::safetensors;
use mert_checkpoint::Source;
use mert_fs::FsError;

use crate::{ConfigOrigin, Plan, Result};

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Size of the output.
    pub bytes: u64,
    /// SHA-256 of the checkpoint, in hexadecimal.
    pub source_sha256: String,
}

fn refuse_input_as_output(plan: &Plan, source: &Source, output: &Path) -> Result<()> {
    let Ok(output) = fs::canonicalize(output) else { return Ok(()) };
    // An output that is a folder would be replaced with all that is in it.
    let same = |input: &Path| fs::canonicalize(input).is_ok_and(|input| input.starts_with(&output));
    let config = match &plan.config_origin {
        ConfigOrigin::File(path) => Some(path),
        ConfigOrigin::Inferred { .. } => None,
    };
    if source.files.iter().chain(config).chain(&source.preprocessor_files).any(|file| same(file)) {
        return Err(FsError::OutputIsInput { path: output }.into());
    }
    Ok(())
}
