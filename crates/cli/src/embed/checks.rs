//! Checks before anything is read or written: outputs that exist, that are inputs, or that would be written twice, and
//! options that do not fit standard input.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;

use anyhow::bail;
use mert_audio::WindowPolicy;
use mert_embed::inputs::Input;
use mert_embed::{EmbedError, InputOptions, Journal, failures};
use mert_fs::{parent_folder, resolved};

use crate::args::Args;

/// The files that will be written: the output, and the report of failures. Each is new or may be replaced.
pub(super) fn written_files(args: &Args) -> Result<Vec<PathBuf>, EmbedError> {
    let mut written = args.output.as_deref().map(mert_table::files_of).transpose()?.unwrap_or_default();
    let replaces = args.force || args.update || args.dry_run;
    for path in &written {
        if path.is_dir() {
            return Err(EmbedError::write(path, io::ErrorKind::IsADirectory.into()));
        }
        if path.exists() && !replaces {
            return Err(EmbedError::OutputExists { path: path.clone() });
        }
    }
    if let Some(report) = &args.report {
        // A repeated run replaces its own report.
        if report.exists() && !args.force && !failures::is_report(report) {
            return Err(EmbedError::ReportExists { path: report.clone() });
        }
        if !parent_folder(report).is_dir() {
            return Err(EmbedError::write(report, io::ErrorKind::NotFound.into()));
        }
        written.push(report.clone());
    }
    Ok(written)
}

/// Refuses an output that would replace an input: it is a mistake on the command line.
pub(super) fn refuse_overwriting<'a>(
    written: &[PathBuf],
    mut inputs: impl Iterator<Item = &'a PathBuf>,
) -> anyhow::Result<()> {
    // Outputs are resolved once, because there can be many inputs.
    let written: Vec<PathBuf> = written.iter().filter_map(|path| path.canonicalize().ok()).collect();
    match inputs.find(|input| !written.is_empty() && input.canonicalize().is_ok_and(|input| written.contains(&input))) {
        Some(path) => bail!("{} is an input: give the output another name", path.display()),
        None => Ok(()),
    }
}

/// Refuses an output, its rows, its journal or the report in the place of another.
pub(super) fn refuse_duplicates(args: &Args, written: &[PathBuf]) -> anyhow::Result<()> {
    let mut seen = HashSet::new();
    let journal = args.output.as_deref().map(Journal::path_for);
    match written.iter().chain(&journal).find(|path| !seen.insert(resolved(path))) {
        Some(path) => {
            bail!("{} would be written twice: give the output and the report different names", path.display())
        }
        None => Ok(()),
    }
}

/// Checks the options that belong to samples on standard input.
pub(super) fn check_stdin(inputs: &[Input], options: &InputOptions) -> anyhow::Result<()> {
    let has_stdin = inputs.iter().any(Input::is_stdin);
    match options.input_rate {
        None if has_stdin => {
            bail!("samples on standard input do not state their rate: give --input-rate, such as 44100")
        }
        Some(_) if !has_stdin => bail!("--input-rate is for samples on standard input (-): files state their own rate"),
        _ => {}
    }
    if has_stdin && matches!(options.window, WindowPolicy::Middle(_)) {
        bail!("the middle of a stream is not known before its end: give --window whole or --window sliding:30s/30s");
    }
    Ok(())
}
