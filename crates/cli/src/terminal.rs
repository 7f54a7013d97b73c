//! The terminal as all commands use it: standard output for results, standard error for messages, exit statuses,
//! signals, and the progress bar. All text is escaped, because tensor and file names may hold characters that a terminal interprets.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mert_arch::printable;
use mert_fs::remove_temporaries;

/// The exit status of a command, with ripgrep's meanings of 0, 1 and 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, or the gate passed.
    Success,
    /// 1: the gate failed, or some inputs were left out.
    Failure,
    /// 2: the command could not be done, or the models could not be checked.
    Error,
    /// 130: what shells report for a program that was interrupted.
    Interrupted,
}

impl Exit {
    /// The number that the process returns.
    pub fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Error => 2,
            Exit::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Makes interrupt and termination signals end the process with status 130, after its temporary files are removed. For
/// commands that have nothing else to finish.
pub fn exit_on_signal() {
    // Without a handler the only loss is that an interrupted command leaves its temporary files.
    let _ = ctrlc::set_handler(|| {
        remove_temporaries(|| std::process::exit(Exit::Interrupted.code().into()));
    });
}

/// Prints to standard output. A reader that has closed the pipe (`… | head`) is not an error.
///
/// # Errors
/// The operating system's, such as a full disk.
pub fn print(text: &str) -> io::Result<()> {
    match io::stdout().write_all(printable(text).as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(io::Error::new(error.kind(), format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a line to standard error. A closed standard error is ignored: there is nowhere left to report it.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", printable(text));
}

/// An error with its causes. Many errors name their cause themselves, which is not repeated.
pub fn error_text(error: &anyhow::Error) -> String {
    error
        .chain()
        .skip(1)
        .map(ToString::to_string)
        .fold(error.to_string(), |text, cause| if text.contains(&cause) { text } else { format!("{text}: {cause}") })
}

/// A number with what is counted: `1 file`, `3 files`.
pub fn counted<N: Display + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// A progress bar on standard error in indicatif's template; invisible if `hidden`, or if standard error is not a
/// terminal.
pub fn progress_bar(length: Option<u64>, template: &str, hidden: bool) -> ProgressBar {
    let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(length, target);
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_plural() {
        assert_eq!([counted(0, "file"), counted(1, "file"), counted(2, "file")], ["0 files", "1 file", "2 files"]);
    }

    #[test]
    fn exit_statuses_are_those_that_the_help_texts_promise() {
        let codes = [Exit::Success, Exit::Failure, Exit::Error, Exit::Interrupted].map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 130]);
    }
}
