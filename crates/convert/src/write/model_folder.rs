//! The writer of model folders for other programs: the weights, `config.json` and `preprocessor_config.json`.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use mert_checkpoint::Source;
use mert_fs::{AtomicFolder, FsError, check_folder_output};

use super::output::{Written, refuse_input_as_output};
use super::safetensors::write_file;
use crate::plan::{Plan, Step};
use crate::targets::{Companion, MODEL_FOLDER_FILES, MODEL_WEIGHTS};
use crate::{ConvertError, Result};

/// The kind of folder that may be replaced, for messages.
const MODEL_FOLDER: &str = "a folder with nothing but config.json, model.safetensors and preprocessor_config.json, as mert-convert --for writes it";

/// Executes a plan for a program that loads a folder; `on_step` is called after each step.
///
/// The weights are written as [`write::safetensors`](crate::write::safetensors) writes a file: on the threads of the current
/// rayon pool, with a few pieces of a tensor in memory and the same bytes on any number of threads. Everything is read back
/// before the folder is renamed to `output`.
///
/// # Errors
/// [`ConvertError`]; `output` is then as it was before.
pub fn model_folder(
    plan: &Plan,
    source: &Source,
    output: &Path,
    force: bool,
    on_step: &(dyn Fn(&Step) + Sync),
) -> Result<Written> {
    refuse_input_as_output(plan, source, output)?;
    let folder = AtomicFolder::create(output, force, MODEL_FOLDER, is_model_folder)?;
    let weights = folder.temporary_path().join(MODEL_WEIGHTS);
    let file = create(&weights, output)?;
    let mut written = write_file(plan, source, &file, (&weights, output), on_step)?;
    file.sync_all().map_err(|source| FsError::write(output, source))?;
    for Companion { name, text } in plan.companions() {
        let path = folder.temporary_path().join(name);
        let mut file = create(&path, output)?;
        file.write_all(text.as_bytes()).map_err(|source| FsError::write(output, source))?;
        file.sync_all().map_err(|source| FsError::write(output, source))?;
        if fs::read(&path).map_err(|source| FsError::write(output, source))? != text.as_bytes() {
            return Err(ConvertError::read_back(output, format!("{name} differs")));
        }
        written.bytes += text.len() as u64;
    }
    folder.commit()?;
    Ok(written)
}

/// Creates a file that is read back later.
fn create(path: &Path, output: &Path) -> Result<File> {
    let file = File::options().read(true).write(true).create_new(true).open(path);
    Ok(file.map_err(|source| FsError::write(output, source))?)
}

/// Checks that a model folder may be written to `output`: nothing is there, or with `force` a folder that this module wrote.
///
/// # Errors
/// [`FsError::OutputExists`] or [`FsError::OutputNotReplaceable`].
pub fn check_model_folder_output(output: &Path, force: bool) -> Result<()> {
    Ok(check_folder_output(output, force, MODEL_FOLDER, is_model_folder).map(drop)?)
}

/// Whether a folder holds no other files than a model folder has, and so may be replaced.
fn is_model_folder(folder: &Path) -> bool {
    let Ok(mut entries) = fs::read_dir(folder) else { return false };
    entries.all(|entry| {
        entry.is_ok_and(|entry| {
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            is_file && entry.file_name().to_str().is_some_and(|name| MODEL_FOLDER_FILES.contains(&name))
        })
    })
}
