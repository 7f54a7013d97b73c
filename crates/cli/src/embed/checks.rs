//! Checks before anything is read or written: outputs that exist, that are inputs, or that would be written twice, and
//! options that do not fit standard input.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::bail;
use mert_audio::WindowPolicy;
use mert_embed::inputs::Input;
use mert_embed::{EmbedError, InputOptions, Journal, failures, files_in_folder, provenance_file};
use mert_fs::{AtomicFile, FsError, resolved};
use mert_table::printable_path;

use crate::args::Args;

/// The files that will be written: the output, or with `--per-file` an array for each of `inputs` with their settings, and
/// the report of failures. Each is new or may be replaced.
pub(super) fn written_files(args: &Args, inputs: &[Input]) -> Result<Vec<PathBuf>, EmbedError> {
    let mut written = match &args.output {
        Some(folder) if args.per_file => {
            if folder.exists() && !folder.is_dir() {
                let reason = "it is a file: with --per-file the output is a folder".into();
                return Err(EmbedError::Input { path: folder.clone(), reason });
            }
            let mut files = files_in_folder(folder, inputs)?;
            files.push(provenance_file(folder));
            files
        }
        Some(table) => mert_table::files_of(table)?,
        None => Vec::new(),
    };
    let replaces = args.force || args.update || args.dry_run;
    for path in &written {
        refuse_folder(path)?;
        if path.exists() && !replaces {
            return Err(EmbedError::OutputExists { path: path.clone() });
        }
    }
    if let Some(report) = &args.run.report {
        refuse_folder(report)?;
        // A repeated run replaces its own report.
        if report.exists() && !args.force && !failures::is_report(report) {
            return Err(EmbedError::ReportExists { path: report.clone() });
        }
        written.push(report.clone());
    }
    Ok(written)
}

/// Refuses an output in the place of a folder, with the words for other places that cannot be replaced.
fn refuse_folder(path: &Path) -> Result<(), FsError> {
    if path.is_dir() { Err(FsError::OutputNotAFile { path: path.to_path_buf() }) } else { Ok(()) }
}

/// Checks that each of the files `written` can be made in its folder, by a temporary file that is removed at once.
pub(super) fn check_writable(args: &Args, written: &[PathBuf]) -> Result<(), FsError> {
    // A listing writes nothing but the report.
    let is_written = |path: &&PathBuf| !args.dry_run || args.run.report.as_ref() == Some(*path);
    // A pipe or a device is written in place.
    let is_replaced = |path: &&PathBuf| path.metadata().map_or(true, |existing| existing.is_file());
    // The folder of --per-file is made when its files are written; its settings are beside it.
    let is_in_folder = |path: &&PathBuf| args.per_file && path.parent() == args.output.as_deref();
    let written = || written.iter().filter(|path| !is_in_folder(path));
    let mut files = written().filter(is_written).filter(is_replaced);
    files.try_for_each(|path| AtomicFile::create(path, true).map(drop))
}

/// Refuses an output that would replace an input: it is a mistake on the command line.
pub(super) fn refuse_overwriting<'a>(
    written: &[PathBuf],
    mut inputs: impl Iterator<Item = &'a PathBuf>,
) -> anyhow::Result<()> {
    // Outputs are resolved once, because there can be many inputs.
    let written: Vec<PathBuf> = written.iter().filter_map(|path| path.canonicalize().ok()).collect();
    match inputs.find(|input| !written.is_empty() && input.canonicalize().is_ok_and(|input| written.contains(&input))) {
        Some(path) => bail!("{} is an input; give another output", printable_path(path)),
        None => Ok(()),
    }
}

/// Refuses an output, its rows, its journal or the report in the place of another.
pub(super) fn refuse_duplicates(args: &Args, written: &[PathBuf]) -> anyhow::Result<()> {
    let mut seen = HashSet::new();
    let journal = args.output.as_deref().map(Journal::path_for);
    match written.iter().chain(&journal).find(|path| !seen.insert(resolved(path))) {
        Some(path) => {
            bail!("{} would be written twice: give the output and the report different names", printable_path(path))
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
