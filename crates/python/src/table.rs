//! Tables of embeddings: the files and bytes that `mert-embed` writes.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mert_audio::{Damage, Tail, WindowPolicy};
use mert_embed::failures::Failure;
use mert_embed::inputs::{self, Inputs};
use mert_embed::{EmbedError, Encoders, Event, InputOptions, Journal, Summary, provenance, run, write_output};
use mert_table as table;
use pyo3::exceptions::PyFileExistsError;
use pyo3::prelude::*;
use pythonize::pythonize;
use serde_json::json;

use crate::arguments::parse;
use crate::encoder::{Encoder, Shared};
use crate::errors::{of_audio, of_embedding};
use crate::interrupt::stoppable;

/// The options for reading files.
pub(crate) fn input_options(window: &str, tail: &str, damaged: &str, ffmpeg: bool) -> PyResult<InputOptions> {
    let window: WindowPolicy = parse("window", window)?;
    let tail: Tail = parse("tail", tail)?;
    let damage = match parse("damaged", damaged)? {
        table::Damage::Refuse => Damage::Refuse,
        table::Damage::Keep => Damage::Keep,
    };
    let ffmpeg = ffmpeg.then(mert_audio::ffmpeg_version).transpose().map_err(|error| of_audio(&error))?;
    Ok(InputOptions { window, tail, damage, ffmpeg, input_rate: None })
}

/// The audio files that paths of files and folders stand for, as `mert-embed` finds them, and notes on what is left out.
#[pyfunction]
pub(crate) fn find_inputs(paths: Vec<PathBuf>) -> PyResult<(Vec<PathBuf>, Vec<String>)> {
    let Inputs { files, notes } = inputs::collect(&paths, None).map_err(of_embedding)?;
    Ok((files.into_iter().map(|input| input.path).collect(), notes))
}

/// A run that writes a table.
struct Run {
    shared: Arc<Shared>,
    encoders: Encoders,
    options: InputOptions,
    files: Inputs,
    output: PathBuf,
    jobs: NonZero<usize>,
    restart: bool,
}

/// The result of a run that writes a table.
struct Written {
    summary: Summary,
    failures: Vec<Failure>,
    notes: Vec<String>,
}

/// Writes the table of embeddings of files, and returns what was done, as a dictionary.
#[pyfunction]
#[pyo3(signature = (encoder, paths, output, window, tail, damaged, ffmpeg, jobs, restart, force, progress))]
#[allow(clippy::too_many_arguments)]
pub(crate) fn write_table<'py>(
    py: Python<'py>,
    encoder: &Encoder,
    paths: Vec<PathBuf>,
    output: PathBuf,
    window: &str,
    tail: &str,
    damaged: &str,
    ffmpeg: bool,
    jobs: Option<usize>,
    restart: bool,
    force: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let options = input_options(window, tail, damaged, ffmpeg)?;
    if output.exists() && !force {
        let output = output.display();
        return Err(PyFileExistsError::new_err(format!("{output} exists; give another path, or force=True")));
    }
    let shared = Arc::clone(encoder.shared());
    let encoders = Encoders::new(vec![shared.encoder.clone()], &options.window).map_err(of_embedding)?;
    let files = inputs::collect(&paths, None).map_err(of_embedding)?;
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let jobs = NonZero::new(jobs.unwrap_or(processors.min(4))).unwrap_or(NonZero::<usize>::MIN);
    let count = files.files.len();
    let run = Run { shared, encoders, options, files, output, jobs, restart };
    let raised = Mutex::new(None);
    let written = stoppable(py, |stop| run.run(stop, progress.as_ref(), &raised))?.map_err(of_embedding)?;
    // Files that are done are kept for the next call, as after an interruption.
    if let Some(error) = raised.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let Written { summary, failures, notes } = written;
    let failures: Vec<_> =
        failures.iter().map(|f| json!({ "file": f.file, "reason": f.reason, "message": f.message })).collect();
    let report = json!({
        "files": count,
        "embedded": summary.done,
        "resumed": summary.resumed,
        "failed": summary.failed,
        "failures": failures,
        "notes": notes,
    });
    Ok(pythonize(py, &report)?)
}

impl Run {
    /// Embeds the files that the journal of an earlier run does not hold, and writes the table.
    fn run(
        &self,
        stop: &AtomicBool,
        progress: Option<&Py<PyAny>>,
        raised: &Mutex<Option<PyErr>>,
    ) -> Result<Written, EmbedError> {
        let provenance = provenance(&self.encoders, &self.options);
        let mut journal = Journal::open(&self.output, &provenance, self.restart)?;
        let (mut failures, mut notes) = (Vec::new(), self.files.notes.clone());
        let report = |ended: bool, seconds: f64| {
            let Some(progress) = progress else { return };
            // An exception of the callback ends the run as a signal does.
            if let Err(error) = Python::attach(|py| progress.call1(py, (ended, seconds))) {
                raised.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                stop.store(true, Ordering::Relaxed);
            }
        };
        let on_event = |event: Event<'_>| match event {
            Event::Window { seconds } => report(false, seconds),
            Event::Done { input, notes: found } => {
                notes.extend(found.iter().map(|note| format!("{}: {note}", table::printable_path(&input.path))));
                report(true, 0.0);
            }
            Event::Failed { input, error } => {
                failures.push(Failure::new(input, &error));
                report(true, 0.0);
            }
        };
        let files = &self.files.files;
        let summary = self
            .shared
            .install(|| run(files, &self.encoders, &self.options, self.jobs, &mut journal, stop, on_event))?;
        if summary.stopped {
            // The journal keeps the finished files, from which the same call goes on.
            return Ok(Written { summary, failures, notes });
        }
        match write_output(&self.output, &provenance, files, &mut journal) {
            Ok(()) | Err(EmbedError::NothingEmbedded) => journal.remove()?,
            Err(error) => return Err(error),
        }
        Ok(Written { summary, failures, notes })
    }
}
