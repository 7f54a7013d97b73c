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
    /// The reason, the text, and a mark below the place.
    pub(super) fn message(&self, text: &str) -> String {
        // One line, whatever the text holds: the mark must stand below the place.
        let line: String = text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
        let before = text.get(..self.place.start).unwrap_or(text).chars().count();
        let marked = text.get(self.place.clone()).unwrap_or("").chars().count().max(1);
        format!("invalid filter: {}\n  {line}\n  {}{}", self.reason, " ".repeat(before), "^".repeat(marked))
    }
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
