//! The progress of a training on standard error.

use std::io::IsTerminal;

use indicatif::ProgressBar;
use mert_cli::terminal::progress_bar;
use mert_tokens::train::TrainEvent;

/// A bar on standard error, if that is a terminal.
pub(super) fn bar(length: Option<u64>, template: &str, quiet: bool) -> ProgressBar {
    let bar = progress_bar(length, template, quiet || !std::io::stderr().is_terminal());
    bar.enable_steady_tick(std::time::Duration::from_millis(500));
    bar
}

/// The progress of k-means.
pub(super) struct Progress {
    start: ProgressBar,
    pass: ProgressBar,
}

impl Progress {
    pub(super) fn new(frames: usize, k: usize, quiet: bool) -> Self {
        let start = bar(Some(k as u64), "{bar:30} {pos}/{len} centres to start from, {eta} left", quiet);
        let pass = bar(Some(frames as u64), "{bar:30} {msg}{human_pos}/{human_len} frames, {eta} left", quiet);
        Progress { start, pass }
    }

    pub(super) fn event(&self, event: &TrainEvent<'_>) {
        match event {
            TrainEvent::Start(count) => self.start.set_position(*count as u64),
            TrainEvent::Frames(frames) => self.pass.inc(*frames as u64),
            TrainEvent::Pass(pass, _) => {
                self.start.finish_and_clear();
                if let Some(pass) = pass {
                    let mean = pass.inertia / self.pass.length().unwrap_or(1).max(1) as f64;
                    let message = format!(
                        "pass {}: mean squared distance {mean:.6}, {} frames moved; ",
                        pass.number, pass.changed
                    );
                    self.pass.set_message(message);
                }
                self.pass.reset();
            }
            TrainEvent::Batch(batch) => {
                let message = format!("batch {}: mean squared distance {:.6}; ", batch.number, batch.smoothed);
                self.pass.set_message(message);
            }
        }
    }

    pub(super) fn finish(&self) {
        self.start.finish_and_clear();
        self.pass.finish_and_clear();
    }
}
