//! Decoding files in parallel and embedding their windows in order.

use std::collections::HashMap;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use mert_audio::{AudioError, RawPcm, Source, Track, Window, Windows};

use crate::inputs::Input;
use crate::journal::{Begun, Journal};
use crate::settings::Reading;
use crate::{EmbedError, Embedder};

/// What happens during a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// A window was embedded.
    Window {
        /// Its length in seconds.
        seconds: f64,
    },
    /// A file was embedded.
    Done {
        /// The file.
        input: &'a Input,
        /// What was passed over.
        notes: Vec<String>,
    },
    /// A file could not be embedded, and is left out.
    Failed {
        /// The file.
        input: &'a Input,
        /// Why.
        error: EmbedError,
    },
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Files that were embedded in this run.
    pub done: usize,
    /// Files that an earlier run had embedded.
    pub resumed: usize,
    /// Files that could not be embedded.
    pub failed: usize,
    /// Whether `stop` ended it.
    pub stopped: bool,
}

/// What reading threads tell the thread that runs the model. The numbers are places in the inputs.
enum Message {
    Window(usize, Window),
    Done(usize, Vec<String>),
    Failed(usize, EmbedError),
}

/// Embeds `inputs` into `journal`, those left out that it has already. `jobs` threads decode, resample and cut
/// windows while the calling thread runs the model on all cores; windows wait in a queue of bounded length.
///
/// It ends early, with what was finished in the journal, when `stop` is set: by a signal, or by `observe` on
/// the first failure.
///
/// # Errors
/// [`EmbedError::Write`] if the journal cannot be written.
pub fn run(
    inputs: &[Input],
    embedder: &Embedder,
    reading: &Reading,
    jobs: NonZero<usize>,
    journal: &mut Journal,
    stop: &AtomicBool,
    mut observe: impl FnMut(Event<'_>),
) -> Result<Summary, EmbedError> {
    let todo: Vec<usize> = (0..inputs.len()).filter(|&place| !journal.has(&inputs[place])).collect();
    let mut summary = Summary { resumed: inputs.len() - todo.len(), ..Summary::default() };
    // One window for each reader to put down, and one more so that the model never waits for a hand-over.
    let (sender, receiver) = sync_channel(jobs.get() + 1);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..jobs.get().min(todo.len()) {
            let (sender, next, todo) = (sender.clone(), &next, &todo);
            scope.spawn(move || {
                while let Some(&place) = todo.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if stop.load(Ordering::Relaxed) || read(place, &inputs[place], embedder, reading, &sender).is_err()
                    {
                        return;
                    }
                }
            });
        }
        drop(sender);
        // Readers end when the receiver is gone, which is when this returns.
        embed_all(receiver, inputs, embedder, journal, stop, &mut observe, &mut summary)
    })?;
    summary.stopped = stop.load(Ordering::Relaxed);
    journal.sync()?;
    Ok(summary)
}

/// The run has ended: nobody wants more.
struct NobodyListens;

/// Reads one file and sends its windows.
fn read(
    place: usize,
    input: &Input,
    embedder: &Embedder,
    reading: &Reading,
    sender: &SyncSender<Message>,
) -> Result<(), NobodyListens> {
    let send = |message| sender.send(message).map_err(|_| NobodyListens);
    let mut sent = Ok(());
    let mut on_window = |window: Window| {
        sent = send(Message::Window(place, window));
        sent.is_ok()
    };
    let result = match input.is_stdin() {
        true => read_stdin(embedder, reading, &mut on_window),
        false => read_file(&input.path, embedder, reading, &mut on_window),
    };
    sent?;
    send(match result {
        Ok(notes) => Message::Done(place, notes),
        Err(AudioError::Open { .. }) if input.is_address() => Message::Failed(place, EmbedError::Address),
        Err(error) => Message::Failed(place, error.into()),
    })
}

fn read_file(
    path: &Path,
    embedder: &Embedder,
    reading: &Reading,
    on_window: &mut impl FnMut(Window) -> bool,
) -> Result<Vec<String>, AudioError> {
    let track = Track::open(path, embedder.sample_rate(), reading.options())?;
    let mut windows = track.windows(&reading.window, reading.tail, embedder.min_samples())?;
    read_windows(&mut windows, on_window)?;
    match windows.source().channels_cancel() {
        true => Err(AudioError::ChannelsCancel),
        false => Ok(windows.source().notes().to_vec()),
    }
}

fn read_stdin(
    embedder: &Embedder,
    reading: &Reading,
    on_window: &mut impl FnMut(Window) -> bool,
) -> Result<Vec<String>, AudioError> {
    let rate = reading.input_rate.unwrap_or(0);
    let source = RawPcm::new(std::io::stdin().lock(), rate)?;
    let (Reading { window, tail, .. }, min_samples) = (reading, embedder.min_samples());
    let mut windows = Windows::new(source, embedder.sample_rate(), window, *tail, min_samples, None)?;
    read_windows(&mut windows, on_window)?;
    Ok(Vec::new())
}

fn read_windows<S: Source>(
    windows: &mut Windows<S>,
    on_window: &mut impl FnMut(Window) -> bool,
) -> Result<(), AudioError> {
    while let Some(window) = windows.next_window()? {
        if !on_window(window) {
            break;
        }
    }
    Ok(())
}

/// A file some of whose windows were embedded.
struct Running {
    begun: Begun,
    /// What was left out: seconds from the start, and the value of all samples.
    silent: Vec<(f64, f32)>,
    failure: Option<EmbedError>,
}

fn embed_all(
    receiver: Receiver<Message>,
    inputs: &[Input],
    embedder: &Embedder,
    journal: &mut Journal,
    stop: &AtomicBool,
    observe: &mut impl FnMut(Event<'_>),
    summary: &mut Summary,
) -> Result<(), EmbedError> {
    let rate = f64::from(embedder.sample_rate());
    let mut running: HashMap<usize, Running> = HashMap::new();
    let mut workspace = embedder.workspace();
    for message in receiver {
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (place, result) = match message {
            Message::Window(place, mut window) => {
                let file = running.entry(place).or_insert_with(|| Running {
                    begun: journal.begin(),
                    silent: Vec::new(),
                    failure: None,
                });
                if file.failure.is_some() {
                    continue;
                }
                let (start, samples) = (window.start, window.samples.len() as u64);
                match embedder.embed(&mut workspace, &mut window.samples, embedder.sample_rate()) {
                    Ok(embedding) => {
                        journal.add(&mut file.begun, (window.index as u32, start, samples), &embedding)?;
                        observe(Event::Window { seconds: samples as f64 / rate });
                    }
                    Err(EmbedError::Audio(AudioError::Silent { value })) => {
                        file.silent.push((start as f64 / rate, value));
                    }
                    Err(error) => file.failure = Some(error),
                }
                continue;
            }
            Message::Done(place, notes) => (place, Ok(notes)),
            Message::Failed(place, error) => (place, Err(error)),
        };
        let input = &inputs[place];
        let outcome = result.and_then(|notes| match running.remove(&place) {
            Some(Running { failure: Some(error), .. }) => Err(error),
            Some(Running { begun, silent, .. }) if begun.windows() > 0 => Ok((begun, notes, silent)),
            Some(Running { silent, .. }) => {
                let value = silent.first().map_or(0.0, |&(_, value)| value);
                Err(AudioError::Silent { value }.into())
            }
            None => Err(AudioError::TooShort { samples: 0, needed: embedder.min_samples() }.into()),
        });
        match outcome {
            Ok((begun, mut notes, silent)) => {
                journal.finish(input, begun)?;
                summary.done += 1;
                if let Some((first, _)) = silent.first() {
                    let count = silent.len();
                    notes.push(format!("{count} silent window(s) left out, the first at {first:.2} s"));
                }
                observe(Event::Done { input, notes });
            }
            Err(error) => {
                running.remove(&place);
                summary.failed += 1;
                observe(Event::Failed { input, error });
            }
        }
    }
    Ok(())
}
