//! The frames of many files: decoded on threads of their own, encoded on the calling thread, in the order in which the files
//! are given.

use std::num::NonZero;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use mert_audio::{AudioError, AudioFile, ReadOptions, Resampler, Source};
use mert_runtime::Workspace;

use super::cutter::{CutWindow, WindowCutter};
use super::encoder::{FrameEncoder, KeptFrames};
use super::framing::Framing;
use super::grid::FrameGrid;
use crate::TokensError;

/// A window of a file, or its end.
#[derive(Debug)]
pub enum FileWindow {
    /// A window that is to be encoded.
    Window(CutWindow),
    /// The end of a file of which the windows were all passed.
    End(FileFrames),
}

/// The length and the notes of a file once it is decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct FileFrames {
    /// The samples at the model's rate.
    pub samples: u64,
    /// The frames of the whole file.
    pub frames: u64,
    /// Notes on what was skipped or assumed while it was decoded.
    pub notes: Vec<String>,
}

/// An event of [`encode_files`].
#[derive(Debug)]
pub enum FileEvent {
    /// The kept frames of a window.
    Frames(KeptFrames),
    /// The file is done.
    Done(FileFrames),
    /// The file cannot be encoded, or not to its end.
    Failed(TokensError),
}

/// Windows of a file that may wait for the model.
const QUEUE: usize = 4;

/// Decodes the file at `path`, and passes its windows to `on_window` until that returns `false`. Windows that `select`
/// refuses, by their number from 0, are not passed.
///
/// # Errors
/// [`TokensError::Audio`] if it cannot be decoded, or is shorter than a frame.
pub fn read_file(
    path: &Path,
    grid: FrameGrid,
    framing: Framing,
    options: ReadOptions,
    select: &dyn Fn(u64) -> bool,
    on_window: &mut dyn FnMut(CutWindow) -> bool,
) -> Result<FileFrames, TokensError> {
    let mut file = AudioFile::open(path, options)?;
    let mut resampler = Resampler::new(file.sample_rate(), grid.rate)?;
    let mut cutter = WindowCutter::new(grid, framing);
    let (mut number, mut wanted) = (0, true);
    let mut pass = |window: CutWindow| {
        wanted = wanted && (!select(number) || on_window(window));
        number += 1;
        wanted
    };
    let mut running = true;
    while running && let Some(block) = file.next_block()? {
        resampler.push(block, |samples| cutter.push(samples, |window| running = pass(window)));
    }
    if running {
        resampler.finish(|samples| cutter.push(samples, |window| running = pass(window)));
    }
    let samples = cutter.received();
    if running && let Some(window) = cutter.finish() {
        pass(window);
    }
    if file.channels_cancel() {
        return Err(AudioError::ChannelsCancel.into());
    }
    if samples < grid.length as u64 {
        return Err(AudioError::TooShort { samples, needed: grid.length }.into());
    }
    Ok(FileFrames { samples, frames: grid.frames(samples), notes: file.notes().to_vec() })
}

/// Encodes the files at `paths`, and passes their events to `on_event` in the order of the files, with the index of the
/// file. `jobs` threads decode; windows wait in queues of bounded length. `select` chooses windows by file and number. It
/// ends early when `stop` is set, or `on_event` returns an error.
///
/// # Errors
/// Those of `on_event`.
#[allow(clippy::too_many_arguments)]
pub fn encode_files<P: AsRef<Path> + Sync, E>(
    paths: &[P],
    encoder: &FrameEncoder,
    options: ReadOptions,
    jobs: NonZero<usize>,
    select: &(dyn Fn(usize, u64) -> bool + Sync),
    stop: &AtomicBool,
    mut on_event: impl FnMut(usize, FileEvent) -> Result<(), E>,
) -> Result<(), E> {
    let (grid, framing) = (encoder.grid(), encoder.framing());
    let (senders, receivers): (Vec<_>, Vec<_>) = paths.iter().map(|_| channel()).unzip();
    // A thread that takes a file takes its sender too, so that the receiver sees the end of a file that was given up.
    let (senders, next) = (Mutex::new(senders), AtomicUsize::new(0));
    thread::scope(|scope| {
        // The threads end when their receivers are dropped, which is when this returns.
        let receivers = receivers;
        for _ in 0..jobs.get().min(paths.len()) {
            let (senders, next) = (&senders, &next);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let (Some(path), false) = (paths.get(index), stop.load(Ordering::Relaxed)) else { return };
                    let sender = senders.lock().ok().and_then(|mut senders| senders[index].take());
                    let Some(sender) = sender else { return };
                    let mut on_window = |window| sender.send(Ok(FileWindow::Window(window))).is_ok();
                    let select = |number| select(index, number);
                    let end = read_file(path.as_ref(), grid, framing, options, &select, &mut on_window);
                    if sender.send(end.map(FileWindow::End)).is_err() {
                        return;
                    }
                }
            });
        }
        let mut workspace = Workspace::default();
        for (index, receiver) in receivers.into_iter().enumerate() {
            for message in receiver {
                if stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                match message.and_then(|message| match message {
                    FileWindow::Window(window) => encoder.encode(&mut workspace, window).map(FileEvent::Frames),
                    FileWindow::End(end) => Ok(FileEvent::Done(end)),
                }) {
                    Ok(event) => on_event(index, event)?,
                    Err(error) => {
                        on_event(index, FileEvent::Failed(error))?;
                        break;
                    }
                }
            }
        }
        Ok(())
    })
}

type Message = Result<FileWindow, TokensError>;

fn channel() -> (Option<SyncSender<Message>>, Receiver<Message>) {
    let (sender, receiver) = sync_channel(QUEUE);
    (Some(sender), receiver)
}
