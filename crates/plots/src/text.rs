//! Text that comes from file names: characters that XML has, lengths that fit.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The width of a column of text in ems: digits and lower-case letters of sans-serif fonts have about 0.55.
const COLUMN: f64 = 0.56;

/// The text without characters that XML 1.0 cannot hold, line breaks, and marks that turn the direction of what follows.
pub(crate) fn clean(text: &str) -> String {
    let unfit = |c: char| {
        c.is_control()
            || matches!(c, '\u{fffe}' | '\u{ffff}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if unfit(c) { '\u{fffd}' } else { c }).collect()
}

/// An estimate of the text's width in pixels, with a font of `size` pixels.
pub(crate) fn width(text: &str, size: f64) -> f64 {
    text.width() as f64 * COLUMN * size
}

/// The text, or its start and its end around an ellipsis, in at most `columns` columns: names differ at either end.
pub(crate) fn shorten(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_string();
    }
    let room = columns.saturating_sub(1);
    let head = take(text.chars(), room - room / 3);
    let tail: Vec<char> = take(text.chars().rev(), room / 3).chars().rev().collect();
    head + "…" + &tail.into_iter().collect::<String>()
}

fn take(characters: impl Iterator<Item = char>, columns: usize) -> String {
    let mut used = 0;
    characters
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= columns
        })
        .collect()
}

/// Lines of at most `columns` columns, broken at spaces; a longer word is shortened.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let word = shorten(word, columns);
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= columns => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

/// A whole number with commas between groups of three digits.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with its noun, such as "1 event" and "2,000 events".
pub(crate) fn counted(number: usize, singular: &str, plural: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { singular } else { plural })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_xml_cannot_hold_is_replaced() {
        assert_eq!(clean("a\u{1}b\nc\u{fffe}\u{202e}d<&>é"), "a\u{fffd}b\u{fffd}c\u{fffd}\u{fffd}d<&>é");
    }

    #[test]
    fn long_text_keeps_its_ends() {
        assert_eq!(shorten("abcdefghij", 10), "abcdefghij");
        assert_eq!(shorten("abcdefghijk", 10), "abcdef…ijk");
        assert_eq!(shorten("曲曲曲曲曲曲", 7), "曲曲…曲");
        assert_eq!(shorten("abc", 0), "…");
    }

    #[test]
    fn captions_are_broken_at_spaces() {
        assert_eq!(wrap("one two three", 8), ["one two", "three"]);
        assert_eq!(wrap("abcdefghijkl x", 6), ["abcd…l", "x"]);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(counted(1, "event", "events"), "1 event");
    }
}
