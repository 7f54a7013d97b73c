//! Model folders: the weights, `config.json` and `preprocessor_config.json`, for other programs and, with a model card, for
//! MLX and this toolkit.
//!
//! - this file: the folder; `config.rs`: the `config.json` of an MLX folder; `card.rs`: the model card.

mod card;
mod config;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use mert_arch::CONFIG_FILE;
use mert_fs::{AtomicFolder, FsError, check_folder_output};

use super::output::{Written, refuse_input_as_output};
use super::safetensors::{form, tensor_count, write_file};
use super::target::{PreparedOutput, Target, WriteJob};
use crate::plan::Plan;
use crate::programs::{Companion, MODEL_FOLDER_FILES, MODEL_WEIGHTS};
use crate::{ConvertError, Result};

/// The kind of folder that may be replaced, for messages.
const MODEL_FOLDER: &str = "a folder with nothing but config.json, preprocessor_config.json, README.md and model.safetensors, as \
                            mert-convert writes it";

/// The name of the model card, as the Hugging Face hub shows it.
const CARD: &str = "README.md";

/// A folder that a program loads: of another program, or of MLX and this toolkit.
#[derive(Debug, Clone, Copy)]
pub struct ModelFolder;

impl Target for ModelFolder {
    fn check_output(&self, output: &Path, force: bool) -> Result<()> {
        Ok(check_folder_output(output, force, MODEL_FOLDER, is_model_folder).map(drop)?)
    }

    fn prepare<'p>(&self, plan: &'p Plan) -> Result<Box<dyn PreparedOutput + 'p>> {
        plan.check_stated_input("a model folder")?;
        Ok(Box::new(Prepared { plan }))
    }
}

/// A folder of a plan.
struct Prepared<'p> {
    plan: &'p Plan,
}

impl PreparedOutput for Prepared<'_> {
    fn tensor_count(&self) -> usize {
        tensor_count(self.plan)
    }

    fn byte_len(&self) -> usize {
        self.plan.byte_len()
    }

    fn form(&self) -> String {
        form(self.plan)
    }

    fn details(&self) -> Vec<String> {
        let card = if self.plan.program.is_none() { ", README.md" } else { "" };
        vec![format!("a folder with {}{card}", MODEL_FOLDER_FILES.join(", "))]
    }

    /// The weights are written as a file's are. Everything is read back before the folder is renamed to the output's name.
    fn write(&self, job: &WriteJob<'_>) -> Result<Written> {
        let (plan, output) = (self.plan, job.output);
        refuse_input_as_output(plan, job.source, output)?;
        let folder = AtomicFolder::create(output, job.force, MODEL_FOLDER, is_model_folder)?;
        let temporary = folder.temporary_path();
        let weights = temporary.join(MODEL_WEIGHTS);
        let file = create(&weights, output)?;
        let mut written = write_file(plan, job, &file, &weights)?;
        file.sync_all().map_err(|source| FsError::write(output, source))?;
        let mut companions = plan.companions();
        if plan.program.is_none() {
            companions.push(Companion { name: CONFIG_FILE, text: config::text(plan) });
        }
        let text_len = |companions: &[Companion]| companions.iter().map(|file| file.text.len() as u64).sum::<u64>();
        write_companions(&companions, temporary, output)?;
        written.fidelity = job.inspect(temporary)?;
        if plan.program.is_none() {
            let card = Companion { name: CARD, text: card::text(plan, &written) };
            write_companions(std::slice::from_ref(&card), temporary, output)?;
            companions.push(card);
        }
        written.bytes += text_len(&companions);
        folder.commit()?;
        Ok(written)
    }
}

/// Writes text files and reads them back.
fn write_companions(companions: &[Companion], folder: &Path, output: &Path) -> Result<()> {
    for Companion { name, text } in companions {
        let path = folder.join(name);
        let mut file = create(&path, output)?;
        file.write_all(text.as_bytes()).map_err(|source| FsError::write(output, source))?;
        file.sync_all().map_err(|source| FsError::write(output, source))?;
        if fs::read(&path).map_err(|source| FsError::write(output, source))? != text.as_bytes() {
            return Err(ConvertError::read_back(output, format!("{name} differs")));
        }
    }
    Ok(())
}

/// Creates a file that is read back later.
fn create(path: &Path, output: &Path) -> Result<File> {
    let file = File::options().read(true).write(true).create_new(true).open(path);
    Ok(file.map_err(|source| FsError::write(output, source))?)
}

/// Whether a folder holds no other files than a model folder has, and so may be replaced.
fn is_model_folder(folder: &Path) -> bool {
    let Ok(mut entries) = fs::read_dir(folder) else { return false };
    entries.all(|entry| {
        entry.is_ok_and(|entry| {
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            let is_known = |name: &str| MODEL_FOLDER_FILES.contains(&name) || name == CARD;
            is_file && entry.file_name().to_str().is_some_and(is_known)
        })
    })
}
