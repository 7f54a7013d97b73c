//! The run of the command: options to libraries, from the checks to the exit status.

use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

use anyhow::anyhow;
use mert_cli::embedding::interrupt::while_writing;
use mert_cli::embedding::{EmbedFiles, report_left_out};
use mert_cli::terminal::{Exit, say};
use mert_embed::failures::{self, Failure};
use mert_embed::inputs::{self, Input};
use mert_embed::{
    EmbedError, Encoders, InputOptions, Journal, Summary, Update, files_in_folder, other_files, provenance,
    write_output, write_output_folder,
};
use mert_table::{Provenance, printable_path};

use crate::args::Args;
use crate::checks::{check_stdin, check_writable, refuse_duplicates, refuse_overwriting, written_files};
use crate::dry_run;
use crate::model::chosen_encoders;
use crate::summary::{Notes, audio_inputs, missing, update_text, vectors};

/// Runs the command and returns its exit status.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let (chosen, paths) = chosen_encoders(args, args.config.as_deref())?;
    let options = InputOptions {
        window: args.window,
        tail: args.tail,
        damage: args.damaged.into(),
        ffmpeg: args.ffmpeg.then(mert_audio::ffmpeg_version).transpose()?,
        input_rate: args.input_rate,
    };
    let inputs::Inputs { files: mut inputs, notes: input_notes } = inputs::collect(&paths, args.list.as_deref())?;
    let models = chosen.iter().map(|encoder| &encoder.model);
    let read = inputs.iter().map(|input| &input.path).chain(models).chain(&args.list).chain(&args.config);
    let written = written_files(args, &inputs)?;
    refuse_overwriting(&written, read)?;
    refuse_duplicates(args, &written)?;
    check_stdin(&inputs, &options)?;
    check_writable(args, &written)?;
    // A model of the hub can take minutes to download and convert: all that it is not needed for is checked before.
    let mut files = Vec::with_capacity(chosen.len());
    for encoder in &chosen {
        files.push(encoder.converted_file(args)?);
    }
    refuse_overwriting(&written, files.iter())?;

    let notes = Notes { quiet: args.run.quiet };
    let mut encoders = Vec::with_capacity(chosen.len());
    for (chosen, file) in chosen.iter().zip(&files) {
        let (encoder, remarks) = chosen.open(file, args)?;
        remarks.iter().for_each(|note| notes.note(note));
        encoders.push(encoder);
    }
    let encoders = Encoders::new(encoders, &options.window)?;
    let provenance = provenance(&encoders, &options);
    input_notes.iter().for_each(|note| notes.note(note));
    if args.dry_run || provenance.hybrid.is_some() {
        audio_inputs(&provenance).iter().for_each(|line| notes.note(line));
    }

    if args.dry_run {
        let update = match args.output.as_deref().filter(|output| args.update && output.exists()) {
            Some(output) => Update::plan(output, &provenance, &mut inputs)?,
            None => Update::default(),
        };
        let unchanged: HashSet<&Input> = update.unchanged.iter().collect();
        let (status, failures) =
            dry_run::list(&inputs, provenance.sample_rate, &options, |input| unchanged.contains(input));
        write_report(args, &failures)?;
        return Ok(status);
    }
    let output = args.output.as_deref().ok_or_else(|| anyhow!("name the output: -o FILE"))?;
    let run = Run { args, output, provenance: &provenance, encoders: &encoders, options: &options, notes: &notes };
    run.run(inputs)
}

fn write_report(args: &Args, failures: &[Failure]) -> Result<(), EmbedError> {
    args.run.report.as_ref().map_or(Ok(()), |path| failures::write_report(path, failures))
}

/// A run with its settings.
struct Run<'a> {
    args: &'a Args,
    output: &'a Path,
    provenance: &'a Provenance,
    encoders: &'a Encoders,
    options: &'a InputOptions,
    notes: &'a Notes,
}

impl Run<'_> {
    /// Embeds `inputs` and writes the output and the report.
    fn run(&self, mut inputs: Vec<Input>) -> anyhow::Result<Exit> {
        let Run { args, output, provenance, .. } = *self;
        // The journal's lock comes first: what an update finds in the output must not change before it is written.
        let mut journal = Journal::open(output, provenance, args.run.restart)?;
        let update = match args.update && output.exists() {
            true => match Update::plan(output, provenance, &mut inputs) {
                Ok(update) => Some(update),
                Err(error) => {
                    journal.remove_if_empty()?;
                    return Err(error.into());
                }
            },
            false => None,
        };
        if let Some(update) = &update {
            self.notes.note(&update_text(output, update));
            if update.is_up_to_date() && journal.is_empty() {
                journal.remove()?;
                let failures = missing(update);
                write_report(args, &failures)?;
                return Ok(report_left_out(&failures, inputs.len()));
            }
        }
        let kept: HashSet<&Input> =
            update.iter().flat_map(|update| update.unchanged.iter().chain(&update.missing)).collect();
        let pending: Vec<Input> = inputs.iter().filter(|input| !kept.contains(input)).cloned().collect();
        let Run { encoders, options, .. } = *self;
        let files =
            EmbedFiles { encoders, options, jobs: args.run.jobs, strict: args.run.strict, quiet: args.run.quiet };
        let (summary, mut failures) = files.run(&pending, &mut journal)?;
        failures.extend(update.iter().flat_map(missing));
        let result = self.finish(inputs, update, journal, summary, &failures);
        write_report(args, &failures)?;
        result
    }

    /// Writes the output, unless the run was stopped, and prints a summary.
    fn finish(
        &self,
        mut inputs: Vec<Input>,
        update: Option<Update>,
        mut journal: Journal,
        summary: Summary,
        failures: &[Failure],
    ) -> anyhow::Result<Exit> {
        let files = inputs.len();
        if summary.stopped {
            let kept = inputs.iter().filter(|input| journal.has(input)).count();
            return self.stopped(kept, files, summary, journal);
        }
        let unchanged = update.as_ref().map_or(0, |update| update.unchanged.len());
        let started = Instant::now();
        if let Some(update) = update {
            if update.changed == 0 && summary.done + summary.resumed == 0 {
                journal.remove()?;
                self.notes.note(&format!("{}: nothing to add; it is unchanged", printable_path(self.output)));
                return Ok(report_left_out(failures, files));
            }
            update.import(self.output, self.provenance, &mut journal)?;
            inputs.extend(update.others);
        }
        let written = while_writing(|| match self.args.per_file {
            true => write_output_folder(self.output, self.provenance, &inputs, &mut journal).map(drop),
            false => write_output(self.output, self.provenance, &inputs, &mut journal),
        });
        match written {
            Ok(()) if self.args.per_file => {
                let others = other_files(self.output, &files_in_folder(self.output, &inputs)?);
                if others > 0 {
                    say(&format!(
                        "mert-embed: {others} other files in {} are not of this run; programs that load the whole folder load \
                         them too",
                        printable_path(self.output)
                    ));
                }
            }
            Ok(()) => {}
            Err(EmbedError::NothingEmbedded) => {
                journal.remove()?;
                report_left_out(failures, files);
                return Err(EmbedError::NothingEmbedded.into());
            }
            Err(error) => return Err(error.into()),
        }
        journal.remove()?;
        self.notes.note(&format!(
            "{}: {} of {files} files, {}; written in {:.2} s",
            printable_path(self.output),
            unchanged + summary.done + summary.resumed,
            vectors(self.provenance),
            started.elapsed().as_secs_f64()
        ));
        Ok(report_left_out(failures, files))
    }

    /// Prints what a stopped run keeps in its journal: `kept` of `files` files.
    fn stopped(&self, kept: usize, files: usize, summary: Summary, journal: Journal) -> anyhow::Result<Exit> {
        let is_strict_failure = self.args.run.strict && summary.failed > 0;
        let what = if is_strict_failure { "stopped" } else { "interrupted" };
        if kept == 0 {
            journal.remove()?;
            say(&format!("{what}: nothing is written"));
        } else {
            let path = printable_path(&Journal::path_for(self.output));
            say(&format!("{what}: {kept} of {files} files are kept in {path}; the same command continues from there"));
        }
        Ok(if is_strict_failure { Exit::Error } else { Exit::Interrupted })
    }
}
