//! Escaping and deduplication of names and messages for all report formats. They come from files and other programs,
//! and may hold any characters.

use std::collections::HashMap;

/// Whether a character must be escaped in every report: controls, which terminals interpret and XML forbids, and the
/// last two code points of the plane, which XML forbids too.
fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// Escapes unprintable characters in Rust's notation; line breaks stay.
pub(super) fn printable(text: &str) -> String {
    let escape = |c: char| if is_unprintable(c) && c != '\n' { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

/// Like [`printable`], but also escapes line breaks.
pub(super) fn one_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

/// Makes texts unique by appending a number to repeated ones.
#[derive(Default)]
pub(super) struct Unique {
    uses: HashMap<String, usize>,
}

impl Unique {
    /// Returns the text or, if it is in use, the text with the first number that makes it unique.
    pub(super) fn name(&mut self, text: String) -> String {
        let mut n = self.uses.get(&text).copied().unwrap_or(0) + 1;
        let mut name = if n == 1 { text.clone() } else { format!("{text} ({n})") };
        while n > 1 && self.uses.contains_key(&name) {
            n += 1;
            name = format!("{text} ({n})");
        }
        self.uses.insert(text, n);
        self.uses.entry(name.clone()).or_insert(1);
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_report_can_hold_is_escaped() {
        assert_eq!(printable("a\u{1b}[31m\u{0}\u{9b}\u{ffff}\n音 é"), "a\\u{1b}[31m\\u{0}\\u{9b}\\u{ffff}\n音 é");
        assert_eq!(one_line("a\nb\tc"), "a\\nb\\tc");
    }

    #[test]
    fn no_name_is_given_twice() {
        let mut unique = Unique::default();
        let names = ["a", "a (2)", "a", "a", "b", "a (2)"].map(|name| unique.name(name.into()));
        assert_eq!(names, ["a", "a (2)", "a (3)", "a (4)", "b", "a (2) (2)"]);
    }
}
