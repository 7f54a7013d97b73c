use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressStyle};
use mert_convert::hub::HubEvent;

use crate::cli::printable;

/// Tells what becomes of a download, on standard error.
pub(crate) struct HubProgress {
    bar: ProgressBar,
    notes: bool,
}

impl HubProgress {
    pub(crate) fn new(notes: bool, bar: bool) -> Self {
        // indicatif draws on standard error, and only if that is a terminal.
        let bar = if bar { ProgressBar::no_length() } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("{bar:32} {bytes}/{total_bytes}  {bytes_per_sec}  {wide_msg}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        HubProgress { bar, notes }
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
            HubEvent::Note(note) if self.notes => self.bar.suspend(|| {
                let _ = writeln!(io::stderr(), "mert-convert: {}", printable(note));
            }),
            _ => {}
        }
    }
}
