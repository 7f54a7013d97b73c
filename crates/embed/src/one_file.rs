//! One file, or a passage of one, embedded on the calling thread with the windows and notes that a run gives it.

use std::path::Path;

use mert_audio::{AudioError, SharedSource, Tail, Window, WindowPolicy, Windows};

use crate::EmbedError;
use crate::embedder::{Embedding, Workspace};
use crate::encoders::Encoders;
use crate::passage::Passage;
use crate::reading::{SilentWindows, read_file, read_windows};
use crate::settings::InputOptions;

/// A window of a file with its embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddedWindow {
    /// The start, in seconds from the start of the file.
    pub start: f64,
    /// The end, in seconds from the start of the file.
    pub end: f64,
    /// The number of samples, at the rate of the first encoder.
    pub samples: u64,
    /// The vectors.
    pub embedding: Embedding,
}

/// A file's windows with their embeddings.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddedFile {
    /// The windows in the order of time, without silent ones.
    pub windows: Vec<EmbeddedWindow>,
    /// Notes on what was skipped in the file and what was assumed.
    pub notes: Vec<String>,
}

impl Encoders {
    /// Embeds the windows of the file at `path`. `on_window` gets the end of each in seconds, that of silent ones too.
    ///
    /// # Errors
    /// [`EmbedError::Audio`] if the file cannot be decoded, is silent or too short; otherwise those of
    /// [`Embedder::embed`](crate::Embedder::embed).
    pub fn embed_file(
        &self,
        workspaces: &mut [Workspace],
        path: &Path,
        options: &InputOptions,
        on_window: &mut dyn FnMut(f64),
    ) -> Result<EmbeddedFile, EmbedError> {
        let mut windows = WindowEmbedder::new(self, workspaces, 0.0, on_window);
        let notes = read_file(path, self, options, &mut |window| windows.add(window));
        windows.finish(notes)
    }

    /// Embeds the passage of the file at `path` between two times in seconds. A passage that is shorter than a window is a window
    /// itself, its remainder is never dropped, and all of it is embedded where of a file only the middle would be.
    ///
    /// # Errors
    /// [`EmbedError::Passage`] if `start` is not before `end`, or the file ends before it; otherwise those of
    /// [`Encoders::embed_file`].
    pub fn embed_passage(
        &self,
        workspaces: &mut [Workspace],
        path: &Path,
        (start, end): (f64, f64),
        options: &InputOptions,
        on_window: &mut dyn FnMut(f64),
    ) -> Result<EmbeddedFile, EmbedError> {
        let passage = Passage::open(path, options.read_options(), start, end)?;
        let policy = match options.window {
            WindowPolicy::Middle(_) => WindowPolicy::Whole,
            policy => policy,
        };
        let inputs = self.inputs();
        let sources = SharedSource::split(passage, inputs.len());
        let windows = inputs
            .iter()
            .zip(sources)
            .map(|(&(rate, shortest), source)| Windows::new(source, rate, &policy, Tail::Align, shortest, None));
        let mut read: Vec<_> = windows.collect::<Result<_, _>>()?;
        let mut windows = WindowEmbedder::new(self, workspaces, start, on_window);
        let note = read_windows(self, &mut read, &mut |window| windows.add(window));
        windows.finish(note.map(|note| note.into_iter().collect()))
    }
}

/// The windows of a file as they come.
struct WindowEmbedder<'a> {
    encoders: &'a Encoders,
    workspaces: &'a mut [Workspace],
    /// The time in the file at which the windows begin, in seconds.
    offset: f64,
    on_window: &'a mut dyn FnMut(f64),
    windows: Vec<EmbeddedWindow>,
    silent: SilentWindows,
    failure: Option<EmbedError>,
}

impl<'a> WindowEmbedder<'a> {
    fn new(
        encoders: &'a Encoders,
        workspaces: &'a mut [Workspace],
        offset: f64,
        on_window: &'a mut dyn FnMut(f64),
    ) -> Self {
        let (windows, silent) = (Vec::new(), SilentWindows::default());
        WindowEmbedder { encoders, workspaces, offset, on_window, windows, silent, failure: None }
    }

    /// Embeds a window, which `windows` has at the rate of each encoder. Returns false if a model failed on it.
    fn add(&mut self, mut windows: Vec<Window>) -> bool {
        let Some(window) = windows.first() else { return true };
        let rate = f64::from(self.encoders.first().embedder.sample_rate());
        let samples = window.samples.len() as u64;
        let [start, end] = [window.start, window.start + samples].map(|position| self.offset + position as f64 / rate);
        match self.encoders.embed(self.workspaces, &mut windows) {
            Ok(embedding) => self.windows.push(EmbeddedWindow { start, end, samples, embedding }),
            Err(EmbedError::Audio(AudioError::Silent { value })) => self.silent.add(start, value),
            Err(error) => self.failure = Some(error),
        }
        (self.on_window)(end);
        self.failure.is_none()
    }

    /// The windows of a file whose decoding ended with these notes.
    fn finish(self, notes: Result<Vec<String>, AudioError>) -> Result<EmbeddedFile, EmbedError> {
        if let Some(error) = self.failure {
            return Err(error);
        }
        let mut notes = notes?;
        notes.extend(self.silent.note(!self.windows.is_empty())?);
        Ok(EmbeddedFile { windows: self.windows, notes })
    }
}
