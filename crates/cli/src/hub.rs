//! Models and files of the hub for all commands: fetched with a progress bar and notes on standard error.

use std::path::PathBuf;

use indicatif::ProgressBar;
use mert_checkpoint::{AdapterOptions, CheckpointError, Source};
use mert_fs::combine_sha256;
use mert_hub::{
    HubError, HubEvent, HubFile, HubFiles, HubModel, HubName, HubSettings, fetch_file, fetch_model, with_files,
};

use crate::terminal::{progress_bar, say};

/// The hub with the settings of the environment, and the messages that its downloads print.
pub struct Hub {
    settings: HubSettings,
    messages: Messages,
}

/// The messages of one command about its downloads.
#[derive(Debug, Clone, Copy)]
pub struct Messages {
    /// The name of the command, which precedes each note.
    pub command: &'static str,
    /// Whether notes are printed.
    pub notes: bool,
    /// Whether a progress bar is drawn, if standard error is a terminal.
    pub bar: bool,
}

impl Messages {
    /// The notes and the progress bar of a command, or neither if it is `quiet`.
    pub fn of(command: &'static str, quiet: bool) -> Messages {
        Messages { command, notes: !quiet, bar: !quiet }
    }
}

impl Hub {
    /// Reads the settings from the environment.
    ///
    /// # Errors
    /// [`HubError::Setting`] naming the variable that cannot be used.
    pub fn from_env(messages: Messages) -> Result<Hub, HubError> {
        Ok(Hub { settings: HubSettings::from_env()?, messages })
    }

    /// Finds a model in the cache, or downloads it there.
    ///
    /// # Errors
    /// The errors of [`fetch_model`].
    pub fn model(&self, name: &HubName) -> Result<HubModel, HubError> {
        let progress = Progress::new(self.messages);
        fetch_model(name, &self.settings, &|event| progress.show(&event))
    }

    /// Finds files of a model in the cache, or downloads them there, as `find` asks for them.
    ///
    /// # Errors
    /// The errors of [`with_files`].
    pub fn with_files<T>(
        &self,
        name: &HubName,
        find: impl Fn(&HubFiles<'_>) -> Result<T, HubError>,
    ) -> Result<T, HubError> {
        let progress = Progress::new(self.messages);
        with_files(name, &self.settings, &|event| progress.show(&event), find)
    }

    /// Prints a note about downloads, unless notes are off.
    pub fn note(&self, text: &str) {
        if self.messages.notes {
            say(&format!("{}: {text}", self.messages.command));
        }
    }

    /// Finds a file of a model in the cache, or downloads it there.
    ///
    /// # Errors
    /// The errors of [`fetch_file`].
    pub fn file(&self, file: &HubFile) -> Result<PathBuf, HubError> {
        let progress = Progress::new(self.messages);
        fetch_file(file, &self.settings, &|event| progress.show(&event))
    }
}

/// A bar over the bytes of a download, and the notes about it.
struct Progress {
    bar: ProgressBar,
    messages: Messages,
}

impl Progress {
    fn new(messages: Messages) -> Self {
        let template = "{bar:32} {bytes}/{total_bytes}  {bytes_per_sec}  {wide_msg}";
        Progress { bar: progress_bar(None, template, !messages.bar), messages }
    }

    fn show(&self, event: &HubEvent<'_>) {
        match event {
            HubEvent::Started { file, size, resumed_at } => {
                if let Some(size) = size {
                    self.bar.set_length(*size);
                }
                // The speed shown is that of the bytes that arrive in this run.
                self.bar.reset();
                self.bar.set_position(*resumed_at);
                self.bar.reset_eta();
                self.bar.set_message(file.to_string());
            }
            HubEvent::Received { bytes } => self.bar.inc(*bytes),
            HubEvent::Finished => self.bar.finish_and_clear(),
            HubEvent::Note(note) if self.messages.notes => {
                self.bar.suspend(|| say(&format!("{}: {note}", self.messages.command)));
            }
            _ => {}
        }
    }
}

/// Opens the weights of a model of the hub for a conversion, with the SHA-256 that the download has checked. `key` names
/// the dictionary to use in a pickle that holds several models.
///
/// # Errors
/// [`CheckpointError`] if they cannot be read.
pub fn open_source(model: &HubModel, key: Option<&str>, adapter: &AdapterOptions) -> Result<Source, CheckpointError> {
    let mut source = Source::open_with(&model.weights, key, adapter)?;
    if let Some(checked) = model.sha256().filter(|checked| checked.len() == source.files.len()) {
        source.trust_sha256(&combine_sha256(checked))?;
    }
    Ok(source)
}
