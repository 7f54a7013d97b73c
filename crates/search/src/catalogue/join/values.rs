//! The values of single cells of a joined table.

use super::{Cell, text};

/// The kind of a cell's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing is known.
    Unknown,
    /// A finite number.
    Number,
    /// An infinite number, or one that is too large for f64.
    NotFinite,
    /// A text that stands for an unknown number, such as `n/a`. In a column of texts it is one.
    Placeholder,
    /// A text, or a list of them.
    Text,
}

/// Texts that stand for an unknown number.
const PLACEHOLDERS: [&str; 16] = [
    "n/a",
    "na",
    "#n/a",
    "#na",
    "none",
    "nil",
    "-",
    "--",
    "?",
    "unknown",
    "undefined",
    "missing",
    "#div/0!",
    "#value!",
    "#ref!",
    "#num!",
];

/// The kind of a cell.
pub(super) fn classify(cell: &Cell, decimal_comma: bool) -> Kind {
    match cell {
        Cell::Unknown => Kind::Unknown,
        Cell::Number(number) if number.is_nan() => Kind::Unknown,
        Cell::Number(number) if !number.is_finite() => Kind::NotFinite,
        Cell::Number(_) => Kind::Number,
        Cell::Text(text) => classify_text(text, decimal_comma),
        Cell::Bytes(bytes) => classify_text(&text::text(bytes), decimal_comma),
        Cell::List(texts) if texts.iter().all(|text| is_unknown(text)) => Kind::Unknown,
        Cell::List(_) => Kind::Text,
    }
}

fn classify_text(text: &str, decimal_comma: bool) -> Kind {
    if is_unknown(text) {
        return Kind::Unknown;
    }
    match parse(text, decimal_comma) {
        Some(number) if number.is_finite() => Kind::Number,
        Some(_) => Kind::NotFinite,
        None if PLACEHOLDERS.contains(&text.trim().to_lowercase().as_str()) => Kind::Placeholder,
        None => Kind::Text,
    }
}

/// The finite number of a cell.
pub(super) fn finite(cell: &Cell, decimal_comma: bool) -> Option<f64> {
    let number = match cell {
        Cell::Number(number) => Some(*number),
        Cell::Text(text) => parse(text, decimal_comma),
        Cell::Unknown | Cell::List(_) | Cell::Bytes(_) => None,
    };
    number.filter(|number| number.is_finite())
}

/// The known texts of a cell; a text with semicolons is several if the column holds lists.
pub(super) fn texts_of(cell: &Cell, is_list: bool) -> Vec<String> {
    let split = |text: &str| -> Vec<String> {
        match is_list {
            // beets writes lists with `\␀` between their texts.
            true => text.replace("\\\u{2400}", ";").split(';').map(str::to_string).collect(),
            false => vec![text.to_string()],
        }
    };
    let texts = match cell {
        Cell::Unknown => Vec::new(),
        Cell::Number(number) => vec![number.to_string()],
        Cell::Text(text) => split(text),
        Cell::Bytes(bytes) => split(&text::text(bytes)),
        Cell::List(texts) => texts.clone(),
    };
    texts.iter().map(|text| text.trim()).filter(|text| !is_unknown(text)).map(str::to_string).collect()
}

fn is_unknown(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || text.eq_ignore_ascii_case("null") || text.eq_ignore_ascii_case("nan")
}

fn parse(text: &str, decimal_comma: bool) -> Option<f64> {
    let text = text.trim();
    let has_one_comma = text.matches(',').count() == 1 && !text.contains('.');
    if decimal_comma && has_one_comma { text.replace(',', ".").parse().ok() } else { text.parse().ok() }
}
