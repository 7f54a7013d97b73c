//! Tokens and vectors from files: a JSON list of integers or of vectors, JSON lines, HuBERT's `.km`, GSLM's lines, `.npy`. The
//! content decides, not the name.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::TokenSequence;
use crate::{Result, TokensError, npy};

/// The frames that durations may make beside a multiple of the file's bytes: 31 hours of 75 frames a second. A duration is a
/// number in the file, and memory must not follow it.
const FRAMES: u64 = 1 << 23;

/// Frames for each byte of the file: a unit takes several bytes, and a run is rarely longer than a few hundred frames.
const FRAMES_FOR_EACH_BYTE: u64 = 16;

/// The values of a token, for messages.
const TOKEN: &str = "expected a token: a whole number from 0 to 4294967295";

/// The content of a file.
#[derive(Debug, Clone, PartialEq)]
pub enum ReadTokens {
    /// Tokens of one or several files.
    Sequences(Vec<TokenSequence>),
    /// Vectors, `(rows, dim)` in row-major order.
    Vectors {
        /// The width of a vector.
        dim: usize,
        /// The values, all finite.
        values: Vec<f64>,
    },
}

/// Reads tokens or vectors.
///
/// # Errors
/// [`TokensError::Read`], or [`TokensError::Tokens`] with the line or item.
pub fn read_tokens(path: &Path) -> Result<ReadTokens> {
    let bytes = std::fs::read(path).map_err(|source| TokensError::read(path, source))?;
    parse_tokens(path, &bytes)
}

/// The tokens or vectors in the bytes of a file. `path` is for messages, and the names of a `.km` are sought beside it.
///
/// # Errors
/// [`TokensError::Tokens`] with the line or item.
pub fn parse_tokens(path: &Path, bytes: &[u8]) -> Result<ReadTokens> {
    if bytes.starts_with(b"\x93NUMPY") {
        return array(path, bytes);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        TokensError::tokens(
            path,
            format!("byte {}", error.valid_up_to()),
            "it is neither text nor a .npy; expected a JSON list, JSON lines, a .km or a .npy",
        )
    })?;
    // Windows programs put a byte order mark in front of UTF-8.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match text.trim_start().as_bytes().first() {
        None => Err(TokensError::tokens(path, "line 1", "it is empty, expected tokens or vectors")),
        Some(b'[') => list(path, text),
        Some(b'{') => json_lines(path, text),
        Some(_) => lines(path, text),
    }
}

/// The name of a sequence that has none: its file's, without the extension.
fn stem(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

fn one(path: &Path, tokens: Vec<u32>) -> ReadTokens {
    ReadTokens::Sequences(vec![TokenSequence { file: stem(path), tokens, ..TokenSequence::default() }])
}

fn array(path: &Path, bytes: &[u8]) -> Result<ReadTokens> {
    let array = npy::read(bytes).map_err(|reason| TokensError::tokens(path, "array", reason))?;
    match array.shape[..] {
        [_] if array.is_integer => {
            let token = |(at, &value): (usize, &f64)| match value {
                value if (0.0..=f64::from(u32::MAX)).contains(&value) => Ok(value as u32),
                value => Err(TokensError::tokens(path, format!("item {at}"), format!("{value}, {TOKEN}"))),
            };
            Ok(one(path, array.values.iter().enumerate().map(token).collect::<Result<_>>()?))
        }
        [_, dim] if !array.is_integer && dim > 0 => {
            if let Some(at) = array.values.iter().position(|value| !value.is_finite()) {
                let place = format!("row {}, value {}", at / dim, at % dim);
                return Err(TokensError::tokens(
                    path,
                    place,
                    format!("{}, expected a finite number", array.values[at]),
                ));
            }
            Ok(ReadTokens::Vectors { dim, values: array.values })
        }
        _ => Err(TokensError::tokens(
            path,
            "array",
            format!(
                "it has the shape {:?} of {}; expected one axis of integers (tokens) or two axes of floats (vectors)",
                array.shape,
                if array.is_integer { "integers" } else { "floats" }
            ),
        )),
    }
}

/// A token in JSON: a whole number that fits.
fn token(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|token| u32::try_from(token).ok())
}

fn list(path: &Path, text: &str) -> Result<ReadTokens> {
    let items: Vec<Value> = serde_json::from_str(text).map_err(|error| {
        TokensError::tokens(path, format!("line {}, column {}", error.line(), error.column()), error.to_string())
    })?;
    let error = |at: usize, reason: String| TokensError::tokens(path, format!("item {at}"), reason);
    let Some(first) = items.first() else {
        return Err(TokensError::tokens(path, "item 0", "the list is empty, expected tokens or vectors"));
    };
    let Value::Array(first) = first else {
        let tokens = items
            .iter()
            .enumerate()
            .map(|(at, item)| token(item).ok_or_else(|| error(at, format!("{}, {TOKEN}", shortened(item)))));
        return Ok(one(path, tokens.collect::<Result<_>>()?));
    };
    let dim = first.len();
    let mut values = Vec::with_capacity(items.len().saturating_mul(dim));
    for (at, item) in items.iter().enumerate() {
        let vector = item.as_array().filter(|vector| !vector.is_empty() && vector.len() == dim);
        let vector = vector
            .ok_or_else(|| error(at, format!("{}, expected a list of {} numbers", shortened(item), dim.max(1))))?;
        for (number, value) in vector.iter().enumerate() {
            let value = value.as_f64().filter(|value| value.is_finite()).ok_or_else(|| {
                error(at, format!("its value {number} is {}, expected a finite number", shortened(value)))
            })?;
            values.push(value);
        }
    }
    Ok(ReadTokens::Vectors { dim, values })
}

/// A value for a message.
fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A line of JSON, of this project's outputs or textlesslib's.
#[derive(Deserialize)]
struct Line {
    file: Option<String>,
    name: Option<String>,
    tokens: Option<Vec<u32>>,
    units: Option<Vec<u32>>,
    durations: Option<Vec<u32>>,
    frames: Option<u64>,
    samples: Option<u64>,
}

fn json_lines(path: &Path, text: &str) -> Result<ReadTokens> {
    let mut sequences = Vec::new();
    let mut expanded = 0;
    let limit = FRAMES.saturating_add(FRAMES_FOR_EACH_BYTE.saturating_mul(text.len() as u64));
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let error = |reason: String| TokensError::tokens(path, format!("line {number}"), reason);
        let line: Line = serde_json::from_str(line).map_err(|reason| error(reason.to_string()))?;
        let tokens = match (line.tokens, line.units, line.durations) {
            (Some(tokens), None, None) => tokens,
            (None, Some(units), Some(durations)) => {
                if units.len() != durations.len() {
                    return Err(error(format!("it has {} units and {} durations", units.len(), durations.len())));
                }
                if let Some(at) = durations.iter().position(|&duration| duration == 0) {
                    return Err(error(format!("duration {at} is 0, expected at least one frame")));
                }
                expanded += durations.iter().map(|&duration| u64::from(duration)).sum::<u64>();
                if expanded > limit {
                    return Err(error(format!(
                        "the durations up to here make {expanded} frames, expected at most {limit} for a file of this size"
                    )));
                }
                units.iter().zip(&durations).flat_map(|(&unit, &count)| (0..count).map(move |_| unit)).collect()
            }
            _ => return Err(error("expected either `tokens`, or `units` with `durations`".into())),
        };
        if line.frames.is_some_and(|frames| frames != tokens.len() as u64) {
            return Err(error(format!(
                "`frames` is {}, and it has {} tokens",
                line.frames.unwrap_or_default(),
                tokens.len()
            )));
        }
        let file = line.file.or(line.name).ok_or_else(|| error("it has no `file` or `name`".into()))?;
        sequences.push(TokenSequence { file, tokens, samples: line.samples, dense: None });
    }
    Ok(ReadTokens::Sequences(sequences))
}

/// HuBERT's `.km`, or GSLM's lines: tokens that are separated by spaces, in GSLM's behind `name|`. The names of a `.km` are in
/// the `.tsv` beside it, if there is one.
fn lines(path: &Path, text: &str) -> Result<ReadTokens> {
    let names = listed_files(path, text.lines().count())?;
    let mut sequences = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let (name, tokens) = match line.rsplit_once('|') {
            Some((name, tokens)) => (name.to_string(), tokens),
            None => {
                let listed = names.as_ref().and_then(|names| names.get(number - 1).cloned());
                (listed.unwrap_or_else(|| format!("{}:{number}", stem(path))), line)
            }
        };
        let parse = |(field, text): (usize, &str)| {
            text.parse::<u32>().map_err(|_| {
                let found = mert_arch::printable_line(text);
                let place = format!("line {number}, field {}", field + 1);
                TokensError::tokens(path, place, format!("`{found}`, {TOKEN}"))
            })
        };
        let tokens = tokens.split_ascii_whitespace().enumerate().map(parse).collect::<Result<_>>()?;
        sequences.push(TokenSequence { file: name, tokens, ..TokenSequence::default() });
    }
    Ok(ReadTokens::Sequences(sequences))
}

/// The files of the `.tsv` beside a `.km` of `expected` lines: its first line is a folder, each other one a file, a tab and the
/// number of samples.
fn listed_files(path: &Path, expected: usize) -> Result<Option<Vec<String>>> {
    let list = path.with_extension("tsv");
    if list == path || !list.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&list).map_err(|source| TokensError::read(&list, source))?;
    let mut names = Vec::new();
    for (number, line) in (1..).zip(text.lines()).skip(1) {
        let (name, _) = line.split_once('\t').ok_or_else(|| {
            let reason = "it has no tab, expected a file, a tab and the number of samples";
            TokensError::tokens(&list, format!("line {number}"), reason)
        })?;
        names.push(name.to_string());
    }
    if names.len() != expected {
        let reason = format!(
            "it lists {} files, and {} beside it has the tokens of {expected}: they do not belong together; move one of them",
            names.len(),
            mert_table::printable_path(path)
        );
        return Err(TokensError::tokens(&list, "the list", reason));
    }
    Ok(Some(names))
}
