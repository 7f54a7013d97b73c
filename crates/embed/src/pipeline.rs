//! The pipeline of a run: threads decode files in parallel, and the calling thread embeds their windows.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use mert_audio::{AudioError, Window};

use crate::EmbedError;
use crate::embedder::Workspace;
use crate::encoders::Encoders;
use crate::inputs::Input;
use crate::journal::{Journal, OpenFile};
use crate::reading::{SilentWindows, read_file, read_stdin};
use crate::settings::InputOptions;

/// An event during a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// A window was embedded.
    Window {
        /// The length of the window in seconds.
        seconds: f64,
    },
    /// A file was embedded.
    Done {
        /// The file.
        input: &'a Input,
        /// Notes on what was skipped in the file and what was assumed.
        notes: Vec<String>,
    },
    /// A file could not be embedded and is left out.
    Failed {
        /// The file.
        input: &'a Input,
        /// The reason.
        error: EmbedError,
    },
}

/// The result of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// The number of files that were embedded in this run.
    pub done: usize,
    /// The number of files that an earlier run had embedded.
    pub resumed: usize,
    /// The number of files that could not be embedded.
    pub failed: usize,
    /// Whether `stop` ended the run.
    pub stopped: bool,
}

/// A message from a decoding thread to the thread that runs the model. The numbers are indices of inputs.
enum Message {
    /// A window at the rate of each encoder.
    Window(usize, Vec<Window>),
    Done(usize, Vec<String>),
    Failed(usize, EmbedError),
}

/// Embeds the `inputs` that `journal` does not hold yet. `jobs` threads decode, resample and cut windows while the
/// calling thread runs the model on all cores; windows wait in a queue of bounded length.
///
/// It ends early, with the finished files in the journal, when `stop` is set: by a signal, or by `on_event` on the
/// first failure.
///
/// # Errors
/// [`EmbedError::Write`] if the journal cannot be written.
pub fn run(
    inputs: &[Input],
    encoders: &Encoders,
    options: &InputOptions,
    jobs: NonZero<usize>,
    journal: &mut Journal,
    stop: &AtomicBool,
    mut on_event: impl FnMut(Event<'_>),
) -> Result<Summary, EmbedError> {
    let pending: Vec<usize> = (0..inputs.len()).filter(|&index| !journal.has(&inputs[index])).collect();
    let mut summary = Summary { resumed: inputs.len() - pending.len(), ..Summary::default() };
    // One window for each decoding thread, and one more so that the model never waits for a hand-over.
    let (sender, receiver) = sync_channel(jobs.get() + 1);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..jobs.get().min(pending.len()) {
            let (sender, next, pending) = (sender.clone(), &next, &pending);
            scope.spawn(move || {
                while let Some(&index) = pending.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let stopped = stop.load(Ordering::Relaxed);
                    if stopped || read(index, &inputs[index], encoders, options, &sender).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        // The threads end when the receiver is dropped, which is when this returns.
        let mut consumer = Consumer::new(inputs, encoders, journal, &mut on_event, &mut summary);
        receiver
            .into_iter()
            .take_while(|_| !stop.load(Ordering::Relaxed))
            .try_for_each(|message| consumer.on_message(message))
    })?;
    summary.stopped = stop.load(Ordering::Relaxed);
    journal.sync()?;
    Ok(summary)
}

/// The error of sending to a run that has ended.
struct Disconnected;

/// Decodes one input and sends its windows.
fn read(
    index: usize,
    input: &Input,
    encoders: &Encoders,
    options: &InputOptions,
    sender: &SyncSender<Message>,
) -> Result<(), Disconnected> {
    let send = |message| sender.send(message).map_err(|_| Disconnected);
    let mut sent = Ok(());
    let mut on_window = |windows: Vec<Window>| {
        sent = send(Message::Window(index, windows));
        sent.is_ok()
    };
    let result = match input.is_stdin() {
        true => read_stdin(encoders, options, &mut on_window),
        false => read_file(&input.path, encoders, options, &mut on_window),
    };
    sent?;
    send(match result {
        Ok(notes) => Message::Done(index, notes),
        Err(AudioError::Open { .. }) if input.is_address() => Message::Failed(index, EmbedError::Address),
        Err(error) => Message::Failed(index, error.into()),
    })
}

/// A file some of whose windows were embedded.
struct PartialFile {
    file: OpenFile,
    silent: SilentWindows,
    failure: Option<EmbedError>,
}

/// The side of a run that embeds windows and keeps them in the journal.
struct Consumer<'a, F> {
    inputs: &'a [Input],
    encoders: &'a Encoders,
    workspaces: Vec<Workspace>,
    journal: &'a mut Journal,
    on_event: &'a mut F,
    summary: &'a mut Summary,
    /// Files whose end has not come yet, by the index of their input.
    partial: HashMap<usize, PartialFile>,
}

impl<'a, F: FnMut(Event<'_>)> Consumer<'a, F> {
    fn new(
        inputs: &'a [Input],
        encoders: &'a Encoders,
        journal: &'a mut Journal,
        on_event: &'a mut F,
        summary: &'a mut Summary,
    ) -> Self {
        let (workspaces, partial) = (encoders.workspaces(), HashMap::new());
        Consumer { inputs, encoders, workspaces, journal, on_event, summary, partial }
    }

    /// Handles a message. An error is one of the journal and ends the run.
    fn on_message(&mut self, message: Message) -> Result<(), EmbedError> {
        match message {
            Message::Window(index, windows) => self.on_window(index, windows),
            Message::Done(index, notes) => self.on_end(index, Ok(notes)),
            Message::Failed(index, error) => self.on_end(index, Err(error)),
        }
    }

    /// Embeds a window, which `windows` has at the rate of each encoder, unless a model has failed on the file already.
    fn on_window(&mut self, index: usize, mut windows: Vec<Window>) -> Result<(), EmbedError> {
        let Consumer { encoders, journal, .. } = self;
        let Some(window) = windows.first() else { return Ok(()) };
        let rate = encoders.first().embedder.sample_rate();
        let partial = self.partial.entry(index).or_insert_with(|| PartialFile {
            file: journal.start_file(),
            silent: SilentWindows::default(),
            failure: None,
        });
        if partial.failure.is_some() {
            return Ok(());
        }
        let (number, start, samples) = (window.index as u32, window.start, window.samples.len() as u64);
        match encoders.embed(&mut self.workspaces, &mut windows) {
            Ok(embedding) => {
                journal.add(&mut partial.file, (number, start, samples), &embedding)?;
                (self.on_event)(Event::Window { seconds: samples as f64 / f64::from(rate) });
            }
            Err(EmbedError::Audio(AudioError::Silent { value })) => {
                partial.silent.add(start as f64 / f64::from(rate), value);
            }
            Err(error) => partial.failure = Some(error),
        }
        Ok(())
    }

    /// Handles the end of a file, which was decoded with these notes or this error.
    fn on_end(&mut self, index: usize, decoded: Result<Vec<String>, EmbedError>) -> Result<(), EmbedError> {
        let (input, partial) = (&self.inputs[index], self.partial.remove(&index));
        match decoded.and_then(|notes| self.embedded(partial, notes)) {
            Ok((file, notes)) => {
                self.journal.finish(input, file)?;
                self.summary.done += 1;
                (self.on_event)(Event::Done { input, notes });
            }
            Err(error) => {
                self.summary.failed += 1;
                (self.on_event)(Event::Failed { input, error });
            }
        }
        Ok(())
    }

    /// The windows of a file that was decoded to its end, and its notes; an error if it has none.
    fn embedded(
        &self,
        partial: Option<PartialFile>,
        mut notes: Vec<String>,
    ) -> Result<(OpenFile, Vec<String>), EmbedError> {
        let Some(PartialFile { file, silent, failure }) = partial else {
            return Err(
                AudioError::TooShort { samples: 0, needed: self.encoders.first().embedder.min_samples() }.into()
            );
        };
        if let Some(error) = failure {
            return Err(error);
        }
        notes.extend(silent.note(!file.is_empty())?);
        Ok((file, notes))
    }
}
