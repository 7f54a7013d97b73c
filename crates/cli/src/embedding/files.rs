//! The embedding of many files into a journal, with a progress bar and a line for each file that failed.

use std::io::IsTerminal;
use std::num::NonZero;
use std::sync::atomic::Ordering;

use mert_embed::failures::Failure;
use mert_embed::inputs::Input;
use mert_embed::{EmbedError, Encoders, Event, InputOptions, Journal, Summary, run};

use super::interrupt::{STOP, while_embedding};
use super::messages::file_line;
use super::progress::Progress;

/// The settings of embedding many files.
#[derive(Debug, Clone, Copy)]
pub struct EmbedFiles<'a> {
    /// The models.
    pub encoders: &'a Encoders,
    /// The options for decoding inputs and cutting them into windows.
    pub options: &'a InputOptions,
    /// The number of decoding threads; `None` for one per processor, at most 4.
    pub jobs: Option<u16>,
    /// End the run at the first file that fails.
    pub strict: bool,
    /// Print failures only.
    pub quiet: bool,
}

impl EmbedFiles<'_> {
    /// Embeds those of `inputs` that `journal` does not hold yet.
    ///
    /// # Errors
    /// [`EmbedError::Write`] if the journal cannot be written. Files that cannot be embedded are in the result.
    pub fn run(&self, inputs: &[Input], journal: &mut Journal) -> Result<(Summary, Vec<Failure>), EmbedError> {
        let EmbedFiles { encoders, options, jobs, strict, quiet } = *self;
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        let jobs = jobs.map_or(processors.min(4), usize::from);
        let jobs = NonZero::new(jobs).unwrap_or(NonZero::<usize>::MIN);
        let resumed = inputs.iter().filter(|input| journal.has(input)).count();
        let mut progress = Progress::new(inputs.len(), resumed, quiet || !std::io::stderr().is_terminal());
        let mut failures = Vec::new();
        let on_event = |event: Event<'_>| match event {
            Event::Window { seconds } => progress.window(seconds),
            Event::Done { input, notes } => {
                progress.file();
                if !quiet {
                    notes.iter().for_each(|note| progress.say(&file_line(input, note)));
                }
            }
            Event::Failed { input, error } => {
                progress.file();
                progress.say(&file_line(input, &error));
                failures.push(Failure::new(input, &error));
                if strict {
                    STOP.store(true, Ordering::Relaxed);
                }
            }
        };
        let summary = while_embedding(|| run(inputs, encoders, options, jobs, journal, &STOP, on_event));
        progress.finish();
        Ok((summary?, failures))
    }
}
