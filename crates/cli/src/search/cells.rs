//! The cells of tables: texts from tags and files on one line and of limited width, and numbers with the digits that mean
//! something.

use mert_arch::printable_line;
use mert_search::explain::FactValue;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The most cells of a terminal that a text in a table takes.
const WIDEST: usize = 60;

/// A text from a tag: escaped, on one line, and beyond 60 cells of a terminal cut.
pub(crate) fn text(text: &str) -> String {
    let line = printable_line(text);
    if line.width() <= WIDEST {
        return line;
    }
    let mut width = 0;
    let fits = |c: &char| {
        width += c.width().unwrap_or(0);
        width < WIDEST
    };
    let mut cut: String = line.chars().take_while(fits).collect();
    cut.push('…');
    cut
}

/// The value of a column: a duration as minutes and seconds, loudness in LUFS, another number with the digits that it is
/// known to, a text as [`text`].
pub(crate) fn value(column: &str, value: &FactValue) -> String {
    let number = match value {
        FactValue::Text(value) => return text(value),
        FactValue::Number(number) => *number,
    };
    match column {
        "duration" => return time(number),
        "loudness" => return format!("{number:.1} LUFS"),
        _ => {}
    }
    let value = number.to_string();
    // A number of at most six characters, such as a year, is shown with all its digits.
    if value.len() <= 6 {
        return value;
    }
    let is_of = |names: &[&str]| names.iter().any(|name| column.contains(name));
    let digits = match () {
        () if is_of(&["loudness", "bpm", "tempo", "duration", "lufs", "gain", "peak", "lra"]) => 1,
        () if number.abs() >= 1000.0 => 1,
        () => 4,
    };
    let rounded = format!("{number:.digits$}");
    let is_lost = rounded.parse() == Ok(0.0) && number != 0.0;
    match rounded.contains('.') {
        _ if is_lost || number.abs() >= 1e15 => format!("{number:.3e}"),
        true => rounded.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => rounded,
    }
}

/// A cosine or a score.
pub(crate) fn number(value: f64) -> String {
    format!("{value:.4}")
}

/// A difference.
pub(crate) fn signed(value: f64) -> String {
    format!("{value:+.4}")
}

/// A share from 0 to 1 in percent, with `decimals`: `5.0 %`.
pub(crate) fn share(share: f64, decimals: usize) -> String {
    format!("{:.decimals$} %", 100.0 * share)
}

/// A percentile; nothing if there is none.
pub(crate) fn percent(value: Option<f64>) -> String {
    value.map(|value| format!("{value:.2}")).unwrap_or_default()
}

/// Seconds as minutes and seconds, `1:20`, with tenths where they are not whole.
fn time(seconds: f64) -> String {
    let tenths = (10.0 * seconds).round() as u64;
    let (minutes, tenths) = (tenths / 600, tenths % 600);
    match tenths % 10 {
        0 => format!("{minutes}:{:02}", tenths / 10),
        tenth => format!("{minutes}:{:02}.{tenth}", tenths / 10),
    }
}

/// Times such as `1:20–1:35`, with tenths where they are not whole seconds.
pub(crate) fn times(start: f64, end: f64) -> String {
    format!("{}–{}", time(start), time(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_on_one_line_and_numbers_have_few_digits() {
        assert_eq!(text("a\nb\u{1b}[31m"), "a\\nb\\u{1b}[31m");
        let wide = text(&"音".repeat(100));
        assert!(wide.width() <= WIDEST && wide.ends_with('…'), "{wide}");
        for (column, given, expected) in [
            ("loudness", -15.648372650146484, "-15.6 LUFS"),
            ("duration", 217.0, "3:37"),
            ("duration", 3.26, "0:03.3"),
            ("bpm", 120.00000000000001, "120"),
            ("bpm", 120.0, "120"),
            ("year", 1999.0, "1999"),
            ("score", 0.123456789, "0.1235"),
            ("score", 0.00000123456, "1.235e-6"),
            ("plays", 123456789.0, "123456789"),
            ("mb_id", 1234567890123456789.0, "1.235e18"),
        ] {
            assert_eq!(value(column, &FactValue::Number(given)), expected, "{column} {given}");
        }
        for (column, given) in [("key", "A minor"), ("catalog", "007"), ("score", "inf"), ("loudness", "loud")] {
            assert_eq!(value(column, &FactValue::Text(given.into())), given);
        }
        assert_eq!((share(0.05, 1), share(0.9944, 2)), ("5.0 %".into(), "99.44 %".into()));
        assert_eq!(times(80.0, 95.5), "1:20–1:35.5");
    }
}
