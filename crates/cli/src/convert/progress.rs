//! The progress of a conversion as bars.

use std::sync::{Mutex, PoisonError};

use indicatif::ProgressBar;
use mert_budget::Progress;
use mert_cli::conversion::Listener;
use mert_cli::terminal::progress_bar;
use mert_convert::Step;

/// The bar of what goes on: of measurements, or of the tensors that are written.
pub(super) struct Bars {
    quiet: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl Bars {
    pub(super) fn new(quiet: bool) -> Self {
        Bars { quiet, bar: Mutex::new(None) }
    }

    /// Calls `show` with the bar, which `make` makes if there is none.
    fn with(&self, make: impl FnOnce() -> ProgressBar, show: impl FnOnce(&ProgressBar)) {
        show(self.bar.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(make));
    }

    fn finish(&self) {
        if let Some(bar) = self.bar.lock().unwrap_or_else(PoisonError::into_inner).take() {
            bar.finish_and_clear();
        }
    }

    fn of_bytes(&self, bytes: usize) -> ProgressBar {
        progress_bar(Some(bytes as u64), "{bar:32} {bytes}/{total_bytes}  {wide_msg}", self.quiet)
    }
}

impl Listener for Bars {
    fn on_measurement(&self, progress: Progress<'_>) {
        let make = || progress_bar(Some(0), "{bar:32} {pos}/{len} {eta}  {wide_msg}", self.quiet);
        self.with(make, |bar| match progress {
            Progress::Preparing(what) => bar.set_message(what.to_string()),
            Progress::Measurements(count) => bar.set_length(count as u64),
            Progress::Measured(module) => {
                bar.set_message(format!("measuring {module}"));
                bar.inc(1);
            }
            Progress::Assembled(number) => bar.set_message(format!("measuring mix {number} on held-out audio")),
        });
    }

    fn on_choice(&self) {
        self.finish();
    }

    fn on_writing(&self, bytes: usize) {
        self.with(|| self.of_bytes(bytes), |_| ());
    }

    fn on_step(&self, step: &Step) {
        self.with(
            || self.of_bytes(0),
            |bar| {
                bar.set_message(step.name.clone());
                bar.inc(step.byte_len() as u64);
            },
        );
    }

    fn on_written(&self) {
        self.finish();
    }
}
