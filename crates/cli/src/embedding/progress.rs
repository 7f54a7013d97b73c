//! The progress bar of a run over many files, on standard error.

use std::time::Duration;

use crate::terminal::{progress_bar, say};
use indicatif::ProgressBar;

/// A bar over the files, with the speed as a multiple of real time and the time that is left.
pub(super) struct Progress {
    bar: ProgressBar,
    /// Seconds of sound that were embedded.
    seconds: f64,
}

impl Progress {
    /// A bar over `files` files, of which `resumed` are done already.
    pub(super) fn new(files: usize, resumed: usize, hidden: bool) -> Self {
        let template = "{bar:30} {pos}/{len} files, {per_sec:.2}, {msg}, {eta} left";
        let bar = progress_bar(Some(files as u64), template, hidden);
        bar.set_position(resumed as u64);
        // The rate and the time left count only this run.
        bar.reset_eta();
        bar.enable_steady_tick(Duration::from_millis(500));
        Progress { bar, seconds: 0.0 }
    }

    /// Counts an embedded window of `seconds` seconds.
    pub(super) fn window(&mut self, seconds: f64) {
        self.seconds += seconds;
        let factor = self.seconds / self.bar.elapsed().as_secs_f64().max(1e-3);
        self.bar.set_message(format!("{factor:.1} x real time"));
    }

    /// Counts a file that was embedded or has failed.
    pub(super) fn file(&mut self) {
        self.bar.inc(1);
    }

    /// Prints a line above the bar.
    pub(super) fn say(&self, text: &str) {
        self.bar.suspend(|| say(text));
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
