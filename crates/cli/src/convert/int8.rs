//! A conversion that records which modules keep floats where the model is computed in 8-bit integers: converts to a temporary file,
//! measures it, chooses, and checks the file as written.

use std::path::Path;

use anyhow::bail;
use comfy_table::{Table, presets};
use mert_arch::ComputeType;
use mert_budget::{Audio, Budget, Int8Choice, Int8Report, Int8Study};
use mert_checkpoint::Source;
use mert_convert::write::{SafetensorsFile, Target, WriteJob, no_inspection};
use mert_convert::{Plan, PlanOptions};
use mert_fs::{TemporaryFolder, temporary_folder, temporary_folder_beside};
use mert_runtime::ConvertedFile;
use rayon::ThreadPool;

use crate::args::Args;
use crate::budget::{Bar, other_form};

/// A choice of modules, and the measurements that check it.
pub(super) struct MeasuredInt8<'s> {
    study: &'s Int8Study<'s>,
    pub(super) chosen: Int8Choice,
}

/// Converts to a temporary file, measures its modules in 8-bit integers and chooses those that keep floats for `budget`, then runs
/// `convert` with the choice.
pub(super) fn with_chosen_modules<R>(
    args: &Args,
    source: &Source,
    options: &PlanOptions,
    budget: Budget,
    threads: &ThreadPool,
    convert: impl FnOnce(&MeasuredInt8<'_>) -> anyhow::Result<R>,
) -> anyhow::Result<R> {
    if let Some(form) = other_form(args) {
        bail!(
            "--int8-budget writes its choice to the metadata of this toolkit's safetensors files and folders, and the output is {form}; \
             leave it out, or give an output NAME.safetensors"
        );
    }
    let folder = folder(args)?;
    let path = folder.path().join("model.safetensors");
    let plan = SafetensorsFile.refine(Plan::new(source, options)?)?;
    let prepared = SafetensorsFile.prepare(&plan)?;
    let job = WriteJob { source, output: &path, force: false, on_step: &|_| (), inspect: &no_inspection };
    threads.install(|| prepared.write(&job))?;
    let file = ConvertedFile::open(&path)?;
    let audio = Audio::load_for_file(&args.quantization.budget.audio(), &file)?;
    let bar = Bar::new(args.quiet);
    let study = threads.install(|| Int8Study::new(&file, &audio))?;
    let chosen = threads.install(|| study.search(budget, &|progress| bar.show(progress)));
    bar.finish();
    convert(&MeasuredInt8 { study: &study, chosen: chosen? })
}

/// A folder for the file that is measured: beside the output, where there is room for it.
fn folder(args: &Args) -> anyhow::Result<TemporaryFolder> {
    Ok(match &args.output {
        Some(output) => temporary_folder_beside(output)?,
        None => temporary_folder("mert-int8-")?,
    })
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

/// The choice as text: a row for each module that keeps floats, what was predicted and what was measured.
pub(super) fn describe(report: &Int8Report) -> String {
    let floats: Vec<_> = report.modules.iter().filter(|module| module.compute != ComputeType::Int8).collect();
    let mut text = String::new();
    if !floats.is_empty() {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(["keeps floats", "type", "multiply-adds", "share of the error"]);
        for module in &floats {
            let [multiply_adds, share] =
                [module.multiply_adds, module.share].map(|part| format!("{:.1} %", 100.0 * part));
            table.add_row([module.module.clone(), module.compute.to_string(), multiply_adds, share]);
        }
        text += &format!("{table}\n\n");
    }
    let (count, all) = (report.modules.len() - floats.len(), report.modules.len());
    text += &format!(
        "int8         {count} of {all} modules, {:.1} % of the multiply-adds with weights\n",
        100.0 * report.int8_multiply_adds
    );
    text += &format!("int8 budget  {}\n", report.budget);
    text += &format!("instructions {}; others may lead to another choice\n", report.instructions);
    text += &format!("calibration  {}\n", report.audio.calibration.join(", "));
    text += &format!("held out     {}\n", report.audio.held_out.join(", "));
    for file in &report.audio.left_out {
        text += &format!("left out     {file}\n");
    }
    text += &format!("predicted    {}, on calibration clips\n", report.predicted);
    text += &format!("measured     {}, on held-out clips, in {} choices\n", report.held_out, report.trials);
    text += &format!("all in int8  {}, on held-out clips\n", report.all_int8);
    text += &format!("all in f32   {}, on held-out clips, with attention in bf16\n", report.float);
    let tightest = &report.tightest;
    let (criterion, state, used) = (tightest.criterion, tightest.hidden_state, 100.0 * tightest.used);
    text + &format!("tightest     {criterion} of hidden state {state}, {used:.1} % of the limit\n\n")
}
