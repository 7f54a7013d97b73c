//! Messages about single files of a run, and the count of those that were left out.

use mert_arch::printable_line;
use mert_embed::failures::{Failure, count_by_reason};
use mert_embed::inputs::Input;

use crate::terminal::{Exit, say};

/// The message `text` about `input`, on one line whatever the file's name and the text hold.
pub fn file_line(input: &Input, text: impl std::fmt::Display) -> String {
    printable_line(&format!("{}: {text}", input.path.display()))
}

/// Prints how many of `files` files were left out and why, and returns the exit status.
pub fn report_left_out(failures: &[Failure], files: usize) -> Exit {
    if failures.is_empty() {
        return Exit::Success;
    }
    let noun = if files == 1 { "file" } else { "files" };
    let verb = if failures.len() == 1 { "was" } else { "were" };
    say(&format!("{} of {files} {noun} {verb} left out: {}", failures.len(), count_by_reason(failures)));
    Exit::Failure
}
