//! The progress of a generation on standard error, and its audio into the output.

use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::ProgressBar;
use mert_cli::terminal::progress_bar;
use mert_musicgen::generate::{Listener, Progress};

use crate::STOP;
use crate::wav::WavOutput;

/// A bar over the steps, and the output.
pub(crate) struct ToOutput {
    pub(crate) output: WavOutput,
    bar: ProgressBar,
    /// The real-time factor of all steps up to now.
    pub(crate) rtf: f64,
    /// The time of all steps up to now.
    pub(crate) elapsed: Duration,
}

impl ToOutput {
    pub(crate) fn new(output: WavOutput, hidden: bool) -> Self {
        let bar = progress_bar(None, "{bar:30} {pos}/{len} steps{msg}, {eta} left", hidden);
        ToOutput { output, bar, rtf: f64::NAN, elapsed: Duration::ZERO }
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Listener for ToOutput {
    fn progress(&mut self, progress: &Progress) -> ControlFlow<()> {
        (self.rtf, self.elapsed) = (progress.rtf(), progress.elapsed);
        self.bar.set_length(progress.all_steps as u64);
        self.bar.set_position(progress.steps as u64);
        let window = match progress.windows {
            1 => String::new(),
            windows => format!(", window {} of {windows}", progress.window + 1),
        };
        self.bar.set_message(format!("{window}, RTF {:.2}", self.rtf));
        if STOP.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn audio(&mut self, channels: &[Vec<f32>]) -> io::Result<()> {
        self.output.write(channels)
    }
}
