//! Escaping of names and messages that come from files and other programs and may hold any character. Errors, reports
//! and terminals all use this one rule.

/// Whether a character must be escaped before it is shown: controls, which terminals interpret and XML forbids; the last
/// two code points of the plane, which XML forbids too; and Unicode's format characters and separators of lines, with
/// which a name can look like another or reverse the text after it. Joiners (U+200C, U+200D) belong to the spelling of
/// words and emoji and stay.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{fffe}' | '\u{ffff}')
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{ad}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{206a}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A text with control and format characters in Rust's notation (`\u{1b}`), safe for a terminal; line breaks stay.
pub fn printable(text: &str) -> String {
    let escape = |c: char| if is_unprintable(c) && c != '\n' { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

/// A name with all that [`printable`] escapes and line breaks in Rust's notation, so that it cannot forge a line.
pub fn printable_line(text: &str) -> String {
    printable(text).replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_report_can_hold_is_escaped() {
        assert_eq!(printable("a\u{1b}[31m\u{0}\u{9b}\u{ffff}\n音 é"), "a\\u{1b}[31m\\u{0}\\u{9b}\\u{ffff}\n音 é");
        assert_eq!(printable_line("a\nb\tc"), "a\\nb\\tc");
        assert_eq!(printable("a\u{202e}zpn.\u{2066}b\u{feff}"), "a\\u{202e}zpn.\\u{2066}b\\u{feff}");
        assert_eq!(
            printable("\u{645}\u{6cc}\u{200c} \u{1f469}\u{200d}\u{1f3a4}"),
            "\u{645}\u{6cc}\u{200c} \u{1f469}\u{200d}\u{1f3a4}"
        );
    }
}
