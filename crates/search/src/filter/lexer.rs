//! The words of a filter, with their places.

use std::ops::Range;

/// A word of a filter.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A name, a number, a keyword or an unquoted text.
    Word(String),
    /// A text in quotes.
    Quoted(String),
    /// `=`, `!=`, `<`, `<=`, `>`, `>=`, `~`, `(`, `)`, `,` or `..`.
    Sign(&'static str),
}

/// A token and its place in the text, in bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spanned {
    pub(super) token: Token,
    pub(super) place: Range<usize>,
}

/// A fault of a filter.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    pub(super) place: Range<usize>,
    pub(super) reason: String,
}

impl Fault {
    /// The reason, the text around the place, and a mark below the place.
    pub(super) fn message(&self, text: &str) -> String {
        let before = text.get(..self.place.start).unwrap_or(text).chars().count();
        let marked = text.get(self.place.clone()).unwrap_or("").chars().count().max(1);
        let skipped = before.saturating_sub(BEFORE);
        let rest = text.chars().skip(skipped);
        // One line, whatever the text holds: the mark must stand below the place.
        let shown: String = rest.clone().take(SHOWN).map(|c| if is_shown(c) { c } else { ' ' }).collect();
        let (start, end) = (if skipped > 0 { "…" } else { "" }, if rest.count() > SHOWN { "…" } else { "" });
        // A wide character takes two cells of a terminal, and a combining one none.
        let cells = |from: usize, count: usize| -> usize { shown.chars().skip(from).take(count).map(width).sum() };
        let at = before - skipped;
        let indent = " ".repeat(cells(0, at) + usize::from(skipped > 0));
        let marks = "^".repeat(cells(at, marked).max(1));
        format!("invalid filter: {}\n  {start}{shown}{end}\n  {indent}{marks}", self.reason)
    }
}

/// The most characters of a filter that a message shows, and of these the most before the fault.
const SHOWN: usize = 100;
const BEFORE: usize = 40;

/// Whether a terminal shows a character as one.
fn is_shown(character: char) -> bool {
    !character.is_control() && !matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The number of cells of a terminal that a character takes.
fn width(character: char) -> usize {
    unicode_width::UnicodeWidthChar::width(character).unwrap_or(1)
}

/// The signs, longer ones before their beginnings.
const SIGNS: [&str; 11] = ["!=", "<=", ">=", "..", "=", "<", ">", "~", "(", ")", ","];

/// The tokens of a filter.
pub(super) fn tokens(text: &str) -> Result<Vec<Spanned>, Fault> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (token, length) = if first == '"' || first == '\'' {
            quoted(rest, first)
                .ok_or_else(|| Fault { place: at..text.len(), reason: format!("expected a closing {first}") })?
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            (Token::Sign(sign), sign.len())
        } else {
            let length = word(rest);
            if length == 0 {
                let place = at..at + first.len_utf8();
                let reason = format!("unexpected `{first}`; a text that holds it goes in quotes");
                return Err(Fault { place, reason });
            }
            (Token::Word(rest[..length].to_string()), length)
        };
        tokens.push(Spanned { token, place: at..at + length });
        at += length;
    }
    Ok(tokens)
}

/// A quoted text, in which a backslash keeps the character after it, and its length with the quotes.
fn quoted(rest: &str, quote: char) -> Option<(Token, usize)> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => match characters.next()? {
                (_, kept) if kept == quote || kept == '\\' => text.push(kept),
                (_, other) => text.extend(['\\', other]),
            },
            _ if character == quote => return Some((Token::Quoted(text), index + 1)),
            _ => text.push(character),
        }
    }
    None
}

/// The length of the word at the start: up to a space, a sign, a quote or `..`.
fn word(rest: &str) -> usize {
    let mut end = 0;
    for (index, character) in rest.char_indices() {
        let ends = character.is_whitespace() || "=!<>~(),\"".contains(character) || rest[index..].starts_with("..");
        if ends {
            break;
        }
        end = index + character.len_utf8();
    }
    end
}
