//! Messages on standard error. Standard output stays free for programs.

use std::io::Write;

/// Prints a line to standard error.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", printable(text));
}

/// Escapes control characters: file names may hold any, and terminals interpret them.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() }).collect()
}

/// Prints notes unless --quiet.
pub(super) struct Notes {
    pub(super) quiet: bool,
}

impl Notes {
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            say(text);
        }
    }
}
