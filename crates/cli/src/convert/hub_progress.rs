//! The progress of a download from the hub, on standard error.

use indicatif::ProgressBar;
use mert_cli::terminal::{progress_bar, say};
use mert_hub::HubEvent;

/// A bar over the bytes of a download, and the notes about it.
pub(crate) struct HubProgress {
    bar: ProgressBar,
    notes: bool,
}

impl HubProgress {
    pub(crate) fn new(notes: bool, bar: bool) -> Self {
        let template = "{bar:32} {bytes}/{total_bytes}  {bytes_per_sec}  {wide_msg}";
        HubProgress { bar: progress_bar(None, template, !bar), notes }
    }

    pub(crate) fn show(&self, event: &HubEvent<'_>) {
        match event {
            HubEvent::Begin { file, size, have } => {
                if let Some(size) = size {
                    self.bar.set_length(*size);
                }
                // The speed is that of what arrives now.
                self.bar.reset();
                self.bar.set_position(*have);
                self.bar.reset_eta();
                self.bar.set_message(file.to_string());
            }
            HubEvent::Received { bytes } => self.bar.inc(*bytes),
            HubEvent::End => self.bar.finish_and_clear(),
            HubEvent::Note(note) if self.notes => self.bar.suspend(|| say(&format!("mert-convert: {note}"))),
            _ => {}
        }
    }
}
