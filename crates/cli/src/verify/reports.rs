//! The report files of a run. Each is written however the run ends, and none replaces an input.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use mert_verify::gate::Verdict;
use mert_verify::report;

use crate::options::ReportArgs;
use crate::output::{check_writable, is_an_input, same_file};

type Render = fn(&Verdict) -> String;

/// The requested report files.
pub(super) struct Reports<'a> {
    files: Vec<(&'a Path, Render)>,
}

impl<'a> Reports<'a> {
    pub(super) fn new(args: &'a ReportArgs) -> Self {
        let requested: [(&Option<PathBuf>, Render); 4] = [
            (&args.json, report::to_json),
            (&args.junit, report::to_junit),
            (&args.markdown, report::to_markdown),
            (&args.html, report::to_html),
        ];
        let files = requested.into_iter().filter_map(|(path, render)| Some((path.as_deref()?, render)));
        Reports { files: files.collect() }
    }

    /// Drops the reports that would replace an input or another report.
    ///
    /// # Errors
    /// The first of these: it is a mistake on the command line.
    pub(super) fn drop_inputs(&mut self, inputs: &[PathBuf]) -> anyhow::Result<()> {
        let (mut kept, mut mistake): (Vec<(&Path, Render)>, _) = (Vec::new(), None);
        for &(path, render) in &self.files {
            if inputs.iter().any(|input| same_file(path, input)) {
                mistake.get_or_insert(is_an_input(path));
            } else if kept.iter().any(|(other, _)| *other == path || same_file(other, path)) {
                let path = path.display();
                mistake.get_or_insert(anyhow!("two reports are to be written to {path}; give each a name of its own"));
            } else {
                kept.push((path, render));
            }
        }
        self.files = kept;
        mistake.map_or(Ok(()), Err)
    }

    /// Drops the reports that cannot be written.
    ///
    /// # Errors
    /// The first reason.
    pub(super) fn drop_unwritable(&mut self) -> anyhow::Result<()> {
        let mut first = Ok(());
        self.files.retain(|(path, _)| {
            let checked = check_writable(path);
            let keep = checked.is_ok();
            if first.is_ok() {
                first = checked;
            }
            keep
        });
        Ok(first?)
    }

    /// Drops the reports that may replace an input, for a run that ends before its inputs are known: an existing file
    /// that the gate's configuration names, or one that is not text.
    pub(super) fn drop_possible_inputs(&mut self, config: Option<&Path>) {
        let text = config.and_then(|config| std::fs::read(config).ok()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let named = |path: &Path| path.file_name().is_some_and(|name| text.contains(&*name.to_string_lossy()));
        self.files.retain(|(path, _)| !path.is_file() || !(named(path) || is_binary(path)));
    }

    /// Removes the reports of an earlier run. A failure is reported later, by [`Reports::write`].
    pub(super) fn remove_stale(&self) {
        for (path, _) in &self.files {
            if std::fs::symlink_metadata(path).is_ok_and(|existing| existing.is_file()) {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    /// Writes each report, even if another fails.
    pub(super) fn write(&self, verdict: &Verdict) -> Vec<anyhow::Result<()>> {
        self.files.iter().map(|(path, render)| Ok(report::write(path, &render(verdict))?)).collect()
    }
}

/// Writes a usage error to the reports that the command line requests. `arguments` excludes the program's name. No
/// other file named on the command line is replaced.
pub(crate) fn report_usage_error(arguments: &[OsString], error: &str) {
    // clap stops at the first error, so that the options after it are found here.
    let value_of = |option: &str| {
        let at = arguments
            .iter()
            .position(|argument| argument.to_str().is_some_and(|text| text.split('=').next() == Some(option)))?;
        match arguments[at].to_str()?.split_once('=') {
            Some((_, value)) => Some(PathBuf::from(value)).filter(|path| path != Path::new("-")),
            None => arguments.get(at + 1).filter(|next| !next.to_string_lossy().starts_with('-')).map(PathBuf::from),
        }
    };
    let [json, junit, markdown, html] = ["--json", "--junit", "--markdown", "--html"].map(value_of);
    let requested = ReportArgs { json, junit, markdown, html };
    let mut reports = Reports::new(&requested);
    let uses = |path: &Path| arguments.iter().filter(|argument| same_file(path, Path::new(argument))).count();
    reports.files.retain(|(path, _)| uses(path) < 2);
    reports.drop_possible_inputs(value_of("--config").as_deref());
    // A write error would hide the usage error.
    reports.write(&Verdict::not_started("the command line".into(), error.to_string()));
}

/// Whether a file has a zero byte near its start, as arrays, models and audio files have and reports do not.
fn is_binary(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(4096).read_to_end(&mut start));
    read.is_ok() && start.contains(&0)
}
