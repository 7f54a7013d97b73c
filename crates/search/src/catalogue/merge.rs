//! A column of the whole catalogue, from the cached columns of its parts: tags, and over them what was joined.

use std::collections::{BTreeMap, HashMap};

use super::columns::{Column, Texts};
use super::index::{CachedColumn, JOINED};
use super::manifest::PartEntry;
use super::part::Part;
use super::tracks::Value;
use crate::Result;

/// The columns of a part under one name: of the tags and of joined tables.
type Pair<'a> = [Option<CachedColumn<'a>>; 2];

/// The column `name` of the tracks of `parts`. It holds numbers if it does so in all parts.
pub(super) fn column(parts: &[Part], entries: &[PartEntry], name: &str) -> Result<Column> {
    let joined = format!("{JOINED}{name}");
    let mut pairs = Vec::with_capacity(parts.len());
    for (part, entry) in parts.iter().zip(entries) {
        pairs.push((entry.tracks, [part.tracks.column(name)?, part.tracks.column(&joined)?]));
    }
    let is_number = |column: &CachedColumn<'_>| matches!(column, CachedColumn::Numbers(_));
    match pairs.iter().flat_map(|(_, pair)| pair.iter().flatten()).all(is_number) {
        true => Ok(Column::Number(numbers(&pairs))),
        false => Ok(Column::Text(texts(&pairs))),
    }
}

/// What is known of a track of `part`, by column: by its tags, and by joined tables.
pub(super) fn values(part: &Part, track: usize) -> [BTreeMap<String, Value>; 2] {
    let [mut tags, mut joined] = [BTreeMap::new(), BTreeMap::new()];
    for column in part.tracks.columns() {
        let value = match part.tracks.column(&column) {
            Ok(Some(CachedColumn::Numbers(numbers))) => {
                numbers.get(track).filter(|number| !number.is_nan()).map(|&number| Value::Number(number))
            }
            Ok(Some(CachedColumn::Texts { starts, codes, names })) => {
                let codes = codes.get(starts[track] as usize..starts[track + 1] as usize).unwrap_or_default();
                let texts: Vec<String> =
                    codes.iter().filter_map(|&code| names.get(code as usize)).map(ToString::to_string).collect();
                (!texts.is_empty()).then_some(Value::Texts(texts))
            }
            Ok(None) | Err(_) => None,
        };
        let Some(value) = value else { continue };
        match column.strip_prefix(JOINED) {
            Some(name) => joined.insert(name.to_string(), value),
            None => tags.insert(column, value),
        };
    }
    [tags, joined]
}

fn numbers(pairs: &[(usize, Pair<'_>)]) -> Vec<f64> {
    let mut numbers = Vec::with_capacity(pairs.iter().map(|(tracks, _)| tracks).sum());
    for (tracks, pair) in pairs {
        let start = numbers.len();
        numbers.resize(start + tracks, f64::NAN);
        for column in pair.iter().flatten() {
            let CachedColumn::Numbers(values) = column else { continue };
            let known = numbers[start..].iter_mut().zip(*values).filter(|(_, value)| !value.is_nan());
            known.for_each(|(number, value)| *number = *value);
        }
    }
    numbers
}

/// The codes of texts in a column of all parts.
#[derive(Default)]
struct Codes {
    names: Vec<String>,
    known: HashMap<String, u32>,
}

impl Codes {
    fn of(&mut self, text: &str) -> u32 {
        if let Some(&code) = self.known.get(text) {
            return code;
        }
        let code = self.names.len() as u32;
        self.names.push(text.to_string());
        self.known.insert(text.to_string(), code);
        code
    }
}

fn texts(pairs: &[(usize, Pair<'_>)]) -> Texts {
    let mut known = Codes::default();
    let (mut codes, mut starts) = (Vec::new(), vec![0]);
    for (tracks, [tags, joined]) in pairs {
        let mut columns = [joined, tags].map(|column| column.as_ref().map(PartColumn::new));
        for track in 0..*tracks {
            for column in columns.iter_mut().flatten() {
                if column.push(track, &mut known, &mut codes) {
                    break;
                }
            }
            starts.push(codes.len() as u32);
        }
    }
    Texts::from_codes(known.names, codes, starts)
}

/// A column of a part, and the codes of its texts in the column of all parts, as far as they are known.
struct PartColumn<'a> {
    column: &'a CachedColumn<'a>,
    codes: Vec<Option<u32>>,
}

impl<'a> PartColumn<'a> {
    fn new(column: &'a CachedColumn<'a>) -> Self {
        let names = if let CachedColumn::Texts { names, .. } = column { names.len() } else { 0 };
        PartColumn { column, codes: vec![None; names] }
    }

    /// Adds the codes of a track's texts to `all`, and returns whether there are any.
    fn push(&mut self, track: usize, known: &mut Codes, all: &mut Vec<u32>) -> bool {
        let before = all.len();
        match self.column {
            CachedColumn::Numbers(numbers) => {
                let number = numbers.get(track).filter(|number| !number.is_nan());
                all.extend(number.map(|number| known.of(&number.to_string())));
            }
            CachedColumn::Texts { starts, codes, names } => {
                let (start, end) = (starts[track] as usize, starts[track + 1] as usize);
                for &code in codes.get(start..end).unwrap_or_default() {
                    let (Some(name), Some(found)) = (names.get(code as usize), self.codes.get_mut(code as usize))
                    else {
                        continue;
                    };
                    all.push(*found.get_or_insert_with(|| known.of(name)));
                }
            }
        }
        all.len() > before
    }
}
