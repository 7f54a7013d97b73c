//! The status line of a session and its summary.

use indicatif::ProgressBar;
use mert_cli::terminal::{counted, progress_bar, say};
use mert_live::{Ending, Pace, Status, Summary, TokenUse};

/// The line on a terminal that shows that a session is alive.
pub(super) struct StatusLine {
    bar: ProgressBar,
    training: Option<TokenUse>,
    has_warned: bool,
    is_hidden: bool,
}

impl StatusLine {
    /// A line, hidden where nobody watches it. `training` is the use of tokens in the training, if it is known.
    pub(super) fn new(is_hidden: bool, training: Option<TokenUse>) -> Self {
        StatusLine { bar: progress_bar(None, "{msg}", is_hidden), training, has_warned: false, is_hidden }
    }

    /// Shows a state.
    pub(super) fn show(&mut self, status: &Status, dropped: u64) {
        if self.is_hidden {
            return;
        }
        let training = self.training.map(|training| format!(" of {:.1}", training.entropy)).unwrap_or_default();
        let counts = status.counts;
        let mut line = format!(
            "{:6.1} s  {}  {} tokens, entropy {:.1}{training}  {} onsets  {} notes  {dropped} blocks dropped",
            status.seconds,
            meter(status.level.rms, status.level.peak),
            status.recent.used,
            status.recent.entropy,
            counts.onsets,
            counts.notes
        );
        if status.level.clipped > 0 {
            line.push_str("  CLIPPED");
        }
        if counts.skipped_windows > 0 {
            line.push_str(&format!("  {} windows left out", counts.skipped_windows));
        }
        if let Some(mode) = &status.mode {
            line.push_str(&format!("  mode {mode}"));
        }
        self.bar.set_message(line);
        self.bar.tick();
        if let Some(training) = self.training.filter(|training| status.has_collapsed(training) && !self.has_warned) {
            self.has_warned = true;
            self.bar.suspend(|| say(&few_tokens(status, &training)));
        }
    }

    /// Shows a sentence.
    pub(super) fn notice(&self, text: &str, quiet: bool) {
        if !quiet {
            self.bar.suspend(|| say(text));
        }
    }

    /// Removes the line.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn few_tokens(status: &Status, training: &TokenUse) -> String {
    format!(
        "few tokens: {} in the last {} frames with sound, entropy {:.2} bits; the training used {}, {:.2} bits. A held note does \
         this; otherwise the sound differs much from the training's, or the level is wrong",
        status.recent.used, status.recent.frames, status.recent.entropy, training.used, training.entropy
    )
}

/// A meter of 20 signs from −60 to 0 dBFS.
fn meter(rms: f64, peak: f64) -> String {
    let cells = (((rms + 60.0) / 3.0).clamp(0.0, 20.0)) as usize;
    match peak.is_finite() {
        true => format!("[{}{}] {rms:5.1} dBFS", "#".repeat(cells), " ".repeat(20 - cells)),
        false => format!("[{}]  silent   ", " ".repeat(20)),
    }
}

/// The sentences at the end of a session.
pub(super) fn summary(summary: &Summary, training: Option<&TokenUse>, pace: Pace) -> Vec<String> {
    let Summary { status, latencies, dropped_blocks, ending } = summary;
    let counts = status.counts;
    let how = match ending {
        Ending::Input => "the input ended",
        Ending::Quit => "quit",
        Ending::Stopped => "interrupted",
    };
    let mut lines = vec![format!(
        "{:.1} s, {how}: {} ({} too soon after another), {} with {}",
        status.seconds,
        counted(counts.onsets, "onset"),
        counts.merged,
        counted(counts.answers, "answer"),
        counted(counts.notes, "note")
    )];
    let trained = training
        .map(|training| format!("; the training used {}, {:.2} bits", training.used, training.entropy))
        .unwrap_or_default();
    lines.push(format!(
        "{} in {}, entropy {:.2} bits{trained}",
        counted(status.total.used, "token"),
        counted(status.total.frames, "frame"),
        status.total.entropy
    ));
    if let Some(training) = training.filter(|training| status.has_collapsed(training)) {
        lines.push(few_tokens(status, training));
    }
    if let Some([median, most, worst]) = latencies.summary() {
        let from = match pace {
            Pace::Clock => "from the arrival of an onset's sample to the send",
            Pace::Samples { .. } => {
                "from an onset's sample to its detection, in the time of the samples, without computing"
            }
        };
        lines.push(format!(
            "latency of {}: median {:.1} ms, 95% {:.1} ms, worst {:.1} ms ({from})",
            counted(latencies.count(), "answer"),
            median * 1e3,
            most * 1e3,
            worst * 1e3
        ));
    }
    if counts.windows > 0 && status.seconds > 0.0 {
        lines.push(format!(
            "forward passes: {}, {:.1} ms each, {:.1} ms per second of sound",
            counts.windows,
            counts.encoding / counts.windows as f64 * 1e3,
            counts.encoding / status.seconds * 1e3
        ));
    }
    for (count, noun, what) in [
        (*dropped_blocks, "block", "dropped: the computer cannot keep up"),
        (counts.lost_samples, "sample", "never arrived: taken as silence"),
        (counts.invalid_samples, "sample", "not a finite number: taken as silence"),
        (counts.skipped_windows, "window", "left out: the forward pass takes longer than a hop"),
        (counts.silent_answers, "answer", "silent: no event with notes was found near"),
    ] {
        if count > 0 {
            lines.push(format!("{} {what}", counted(count, noun)));
        }
    }
    lines
}
