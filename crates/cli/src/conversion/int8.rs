//! Modules that keep floats where the model is computed in 8-bit integers, chosen by measurement: converts to a temporary file,
//! measures it, chooses, and checks the file as written.

use std::path::Path;

use anyhow::bail;
use mert_budget::{Audio, Budget, Int8Choice, Int8Study};
use mert_convert::write::{SafetensorsFile, Target, WriteJob, no_inspection};
use mert_convert::{Plan, PlanOptions};
use mert_fs::{temporary_folder, temporary_folder_beside};
use mert_runtime::ConvertedFile;

use super::{Conversion, Listener};

/// A choice of modules, and the measurements that check it.
pub(super) struct MeasuredInt8<'s> {
    study: &'s Int8Study<'s>,
    pub(super) chosen: Int8Choice,
}

/// Converts to a temporary file, measures its modules in 8-bit integers and chooses those that keep floats for `budget`, then runs
/// `convert` with the choice.
pub(super) fn with_chosen_modules<R>(
    conversion: &Conversion<'_>,
    options: &PlanOptions,
    budget: Budget,
    listener: &dyn Listener,
    convert: impl FnOnce(&MeasuredInt8<'_>) -> anyhow::Result<R>,
) -> anyhow::Result<R> {
    if let Some(form) = conversion.other_form() {
        bail!(
            "--int8-budget writes its choice to the metadata of this toolkit's safetensors files and folders, and the output is {form}; \
             leave it out, or give an output NAME.safetensors"
        );
    }
    // Beside the output there is room for a file of its size.
    let folder = match conversion.output {
        Some(output) => temporary_folder_beside(output)?,
        None => temporary_folder("mert-int8-")?,
    };
    let (source, threads) = (conversion.source, conversion.threads);
    let path = folder.path().join("model.safetensors");
    let plan = SafetensorsFile.refine(Plan::new(source, options)?)?;
    let prepared = SafetensorsFile.prepare(&plan)?;
    let job = WriteJob { source, output: &path, force: false, on_step: &|_| (), inspect: &no_inspection };
    threads.install(|| prepared.write(&job))?;
    let file = ConvertedFile::open(&path)?;
    let audio = Audio::load_for_file(&conversion.audio, &file)?;
    let study = threads.install(|| Int8Study::new(&file, &audio))?;
    let chosen = threads.install(|| study.search(budget, &|progress| listener.on_measurement(progress)));
    listener.on_choice();
    convert(&MeasuredInt8 { study: &study, chosen: chosen? })
}

impl MeasuredInt8<'_> {
    /// Checks a written model on held-out clips.
    ///
    /// # Errors
    /// The reason to discard it.
    pub(super) fn inspect(&self, written: &Path) -> Result<(), String> {
        self.study.check_file(written, &self.chosen).map_err(|error| error.to_string())
    }
}
