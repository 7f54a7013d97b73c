//! A conversion of a MusicGen whose bits are chosen by measurement: tells the cost, measures, chooses, converts, and checks the
//! bundle as written.

use std::path::Path;
use std::sync::OnceLock;

use comfy_table::{Table, presets};
use mert_budget::{
    Divergences, MusicgenBudgetReport, MusicgenChoice, MusicgenGoal, MusicgenStudy, MusicgenSubject, Progress,
};
use mert_cli::terminal::{counted, progress_bar, say};
use mert_convert::musicgen::MusicgenConversion;
use mert_fs::{temporary_folder, temporary_folder_beside};
use rayon::ThreadPool;

use crate::args::Args;

/// A choice of bits, and the measurements that check it.
pub(super) struct MeasuredChoice<'s> {
    study: &'s MusicgenStudy<'s>,
    chosen: MusicgenChoice,
    written: OnceLock<Divergences>,
}

/// Measures the groups of a model and chooses their bits for `goal`, then runs `finish` with the conversion that has them.
/// `check_space` refuses a number of bytes of temporary files that the disk has no room for.
pub(super) fn with_chosen_bits<R>(
    args: &Args,
    subject: &MusicgenSubject<'_>,
    goal: MusicgenGoal,
    threads: &ThreadPool,
    check_space: impl FnOnce(u64) -> anyhow::Result<()>,
    finish: impl FnOnce(&MusicgenConversion, &MeasuredChoice<'_>) -> anyhow::Result<R>,
) -> anyhow::Result<R> {
    subject.check(goal)?;
    let cost = subject.cost();
    check_space(cost.disk_len)?;
    if !args.quiet {
        say(&format!("mert-convert: for {goal}, {cost}"));
    }
    let folder = match &args.output {
        Some(output) => temporary_folder_beside(output)?,
        None => temporary_folder("mert-convert-")?,
    };
    let bar = progress_bar(Some(0), "{bar:32} {pos}/{len} {eta}  {wide_msg}", args.quiet);
    let progress = |progress: Progress<'_>| match progress {
        Progress::Preparing(what) => bar.set_message(what.to_string()),
        Progress::Measurements(count) => bar.set_length(count as u64),
        Progress::Measured(group) => {
            bar.set_message(format!("measuring {group}"));
            bar.inc(1);
        }
        Progress::Assembled(number) => bar.set_message(format!("measuring mix {number} on held-out codes")),
    };
    let study = threads.install(|| MusicgenStudy::new(subject, folder, &progress))?;
    let chosen = threads.install(|| study.search(goal, &progress));
    bar.finish_and_clear();
    let chosen = chosen?;
    let conversion = subject.conversion().requantized(Some(chosen.quantize.clone()));
    finish(&conversion, &MeasuredChoice { study: &study, chosen, written: OnceLock::new() })
}

impl MeasuredChoice<'_> {
    /// Checks a written bundle on held-out codes, and returns the section of its model card.
    ///
    /// # Errors
    /// The reason to discard it.
    pub(super) fn inspect(&self, written: &Path) -> Result<String, String> {
        let found = self.study.check_written(written, &self.chosen).map_err(|error| error.to_string())?;
        // A conversion is written once.
        let _ = self.written.set(found);
        Ok(self.report().to_markdown())
    }

    /// The report, with the divergences of the bundle if it is written.
    pub(super) fn report(&self) -> MusicgenBudgetReport {
        MusicgenBudgetReport { written: self.written.get().cloned(), ..self.chosen.report.clone() }
    }
}

/// The choice as text: a row for each group, what was predicted and what was measured.
pub(super) fn describe(report: &MusicgenBudgetReport) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["weights", "bits", "group", "share of the divergence", "bytes"]);
    for group in &report.groups {
        let bits = group.bits.map_or(report.dtype.to_string(), |bits| bits.to_string());
        let group_size = group.group_size.map_or(String::new(), |size| size.to_string());
        let share = format!("{:.1} %", 100.0 * group.share);
        table.add_row([group.name.clone(), bits, group_size, share, group.bytes.to_string()]);
    }
    let mut text = format!("{table}\n\nbudget       {}\nunit         {}\n", report.goal, report.unit);
    text += &format!("reference    the model with every weight in {}\n", report.dtype);
    text += &format!("predicted    {}, on calibration codes\n", report.predicted);
    text += &format!("measured     {}, on calibration codes\n", report.calibration);
    text += &format!("             {}, on held-out codes, in {} mixes\n", report.held_out, report.trials.len());
    if let Some(written) = &report.written {
        text += &format!("             {written}, on held-out codes, of the written bundle\n");
    }
    text += &match report.goal {
        MusicgenGoal::Kl(budget) => {
            format!(
                "largest      {:.3e}, {:.1} % of the limit\n",
                report.held_out.worst(),
                100.0 * report.held_out.worst() / budget.0
            )
        }
        MusicgenGoal::Size(_) => format!("largest      {:.3e}\n", report.held_out.worst()),
    };
    text + &format!("size         {} of weights\n", counted(report.bytes, "byte"))
}
