//! A conversion whose bits are chosen by measurement: measures, chooses, converts, and checks the weights as written.

use std::path::Path;

use anyhow::bail;
use comfy_table::{Table, presets};
use indicatif::ProgressBar;
use mert_budget::{Audio, BudgetReport, Chosen, Goal, Progress, Study, Subject};
use mert_checkpoint::Source;
use mert_cli::terminal::{counted, progress_bar};
use mert_convert::PlanOptions;
use mert_convert::write::Fidelity;
use rayon::ThreadPool;

use crate::args::Args;

/// The progress of measurements.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new(quiet: bool) -> Self {
        Bar(progress_bar(Some(0), "{bar:32} {pos}/{len} {eta}  {wide_msg}", quiet))
    }

    pub(super) fn show(&self, progress: Progress<'_>) {
        match progress {
            Progress::Preparing(what) => self.0.set_message(what.to_string()),
            Progress::Measurements(count) => self.0.set_length(count as u64),
            Progress::Measured(module) => {
                self.0.set_message(format!("measuring {module}"));
                self.0.inc(1);
            }
            Progress::Assembled(number) => self.0.set_message(format!("measuring mix {number} on held-out audio")),
        }
    }

    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// A choice of bits, and the measurements that check it.
pub(super) struct MeasuredChoice<'s> {
    study: &'s Study<'s>,
    pub(super) chosen: Chosen,
}

/// The form of the output, in words; `None` for a safetensors file or a folder of this toolkit.
pub(super) fn other_form(args: &Args) -> Option<String> {
    let ending = args.output.as_ref().and_then(|output| output.extension()?.to_str()).map(str::to_ascii_lowercase);
    match (args.encoder_program(), ending.as_deref()) {
        (Some(program), _) => Some(format!("for {}", program.name())),
        (None, Some("mlpackage")) => Some("a Core ML package".into()),
        (None, Some("gguf")) => Some("a GGUF file".into()),
        _ => None,
    }
}

/// Measures the layers of a model and chooses their bits for `goal`, then runs `convert` with the choice.
pub(super) fn with_chosen_bits<R>(
    args: &Args,
    source: &Source,
    options: &PlanOptions,
    goal: Goal,
    threads: &ThreadPool,
    convert: impl FnOnce(&MeasuredChoice<'_>) -> anyhow::Result<R>,
) -> anyhow::Result<R> {
    if other_form(args).is_some() {
        bail!(
            "--budget and --size are for safetensors files and folders of this toolkit and MLX, whose layers can differ in bits"
        );
    }
    let subject = Subject::new(source, options)?;
    subject.check(goal)?;
    let audio = Audio::load(&args.quantization.budget.audio(), subject.plan())?;
    let bar = Bar::new(args.quiet);
    let study = threads.install(|| Study::new(&subject, &audio, &|progress| bar.show(progress)))?;
    let chosen = threads.install(|| study.search(goal, &|progress| bar.show(progress)));
    bar.finish();
    convert(&MeasuredChoice { study: &study, chosen: chosen? })
}

impl MeasuredChoice<'_> {
    /// Checks written weights on held-out clips.
    ///
    /// # Errors
    /// The reason to discard them.
    pub(super) fn inspect(&self, written: &Path) -> Result<Option<Fidelity>, String> {
        let found = self.study.check_file(written, &self.chosen).map_err(|error| error.to_string())?;
        let report = &self.chosen.report;
        let clips = format!("{} held-out clips of {} s", report.audio.held_out.len(), report.audio.seconds);
        Ok(Some(Fidelity { clips, hidden_states: found.hidden_states, sections: report.to_markdown() }))
    }
}

/// The choice as text: a row for each layer, what was predicted and what was measured.
pub(super) fn describe(report: &BudgetReport) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["layer", "bits", "group", "share of the error", "bytes"]);
    for layer in &report.layers {
        let bits = layer.bits.map_or(report.dtype.to_string(), |bits| bits.to_string());
        let group_size = layer.group_size.map_or(String::new(), |size| size.to_string());
        let share = format!("{:.1} %", 100.0 * layer.share);
        table.add_row([layer.module.clone(), bits, group_size, share, layer.bytes.to_string()]);
    }
    table.add_row(["everything else", report.dtype.name(), "", &format!("{:.1} %", 100.0 * report.float_share), ""]);
    let audio = &report.audio;
    let mut text = format!("{table}\n\nbudget       {}\n", report.goal);
    text += &format!("calibration  {}\n", audio.calibration.join(", "));
    text += &format!("held out     {}\n", audio.held_out.join(", "));
    for file in &audio.left_out {
        text += &format!("left out     {file}\n");
    }
    text += &format!("predicted    {}, on calibration clips\n", report.predicted);
    text += &format!("measured     {}, on calibration clips\n", report.calibration);
    text += &format!("             {}, on held-out clips, in {} mixes\n", report.held_out, report.trials.len());
    text += &format!("float        {}, on held-out clips, with every layer in {}\n", report.float, report.dtype);
    let tightest = &report.tightest;
    let (criterion, state, used) = (tightest.criterion, tightest.hidden_state, 100.0 * tightest.used);
    text += &match report.goal {
        Goal::Error(_) => format!("tightest     {criterion} of hidden state {state}, {used:.1} % of the limit\n"),
        Goal::Size(_) => format!("tightest     {criterion} of hidden state {state}\n"),
    };
    text + &format!("size         {}\n", counted(report.bytes, "byte"))
}
