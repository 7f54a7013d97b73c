//! The columns of a joined table: their names, those of beets under the standard ones, and the kinds of their values.

use super::{Cell, RawTable};
use crate::catalogue::tracks::Value;

/// Names that belong to the catalogue or to the language of filters.
const RESERVED: [&str; 3] = ["file", "duration", "seed"];

/// Names of beets (<https://beets.readthedocs.io>), and the standard ones.
const BEETS: [(&str, &str); 8] = [
    ("genres", "genre"),
    ("initial_key", "key"),
    ("albumartist", "album_artist"),
    ("track", "track_number"),
    ("rg_track_gain", "replay_gain"),
    ("mb_trackid", "mb_recording_id"),
    ("mb_artistid", "mb_artist_id"),
    ("mb_albumid", "mb_album_id"),
];

/// Columns that hold lists, whose texts may be separated by semicolons.
const LISTS: [&str; 3] = ["genre", "mood", "language"];

/// Columns in which 0 stands for an unknown value, as beets writes it.
const POSITIVE: [&str; 3] = ["bpm", "year", "track_number"];

/// The columns of a table, with a value for each row where it is known.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) columns: Vec<(String, Vec<Option<Value>>)>,
    /// Columns that were renamed or left out.
    pub(super) notes: Vec<String>,
}

impl Columns {
    /// The columns of `table` but that of the paths, `key`. `known` are those of the catalogue.
    pub(super) fn of(table: &RawTable, key: usize, known: &[&str]) -> Result<Self, String> {
        let mut found = Columns { columns: Vec::new(), notes: Vec::new() };
        if !table.left_out.is_empty() {
            let names = table.left_out.join(", ");
            found.notes.push(format!("left out, because they hold neither numbers nor texts: {names}"));
        }
        for (index, name) in table.names.iter().enumerate().filter(|&(index, _)| index != key) {
            if name.is_empty() {
                found.notes.push(format!("left out: column {}, which has no name", index + 1));
                continue;
            }
            let standard =
                BEETS.iter().find(|(beets, _)| beets == name).map_or(name.as_str(), |(_, standard)| standard);
            let taken = || found.columns.iter().map(|(name, _)| name.as_str()).chain(known.iter().copied());
            check_name(name, standard, taken())?;
            if found.columns.iter().any(|(other, _)| other == standard) {
                return Err(format!("two columns give {standard}: leave one of them out"));
            }
            let values = values(standard, table.rows.iter().map(|row| row.get(index).unwrap_or(&Cell::Unknown)));
            if values.iter().all(Option::is_none) {
                found.notes.push(format!("left out, because all its values are unknown: {name}"));
                continue;
            }
            if standard != name {
                found.notes.push(format!("the column {name} is {standard} here"));
            }
            found.columns.push((standard.to_string(), values));
        }
        if found.columns.is_empty() { Err("it has no column with values but the paths".into()) } else { Ok(found) }
    }
}

/// Refuses the column `name`, which becomes `standard`, if filters could not tell it from another.
fn check_name<'a>(name: &str, standard: &str, mut taken: impl Iterator<Item = &'a str>) -> Result<(), String> {
    if RESERVED.iter().any(|reserved| standard.eq_ignore_ascii_case(reserved)) {
        let with_key = if standard == "file" { ", or name it as the column of paths with --key file" } else { "" };
        return Err(format!("the name of the column {name} is reserved: give it another name{with_key}"));
    }
    match taken.find(|other| *other != standard && other.to_lowercase() == standard.to_lowercase()) {
        Some(other) => {
            Err(format!("the column {name} differs from the column {other} only in case: give both one name"))
        }
        None => Ok(()),
    }
}

/// The values of a column: numbers if all that are known are numbers, otherwise texts.
fn values<'a>(name: &str, cells: impl Iterator<Item = &'a Cell> + Clone) -> Vec<Option<Value>> {
    let known = cells.clone().map(known);
    let are_numbers = known.clone().flatten().all(|cell| number(cell).is_some());
    let value = |cell: Option<&Cell>| -> Option<Value> {
        let cell = cell?;
        if are_numbers {
            return number(cell).filter(|&number| number > 0.0 || !POSITIVE.contains(&name)).map(Value::Number);
        }
        let texts = match cell {
            Cell::Unknown => Vec::new(),
            Cell::Number(number) => vec![number.to_string()],
            // beets writes lists with `\␀` between their texts.
            Cell::Text(text) if LISTS.contains(&name) => {
                text.replace("\\\u{2400}", ";").split(';').map(str::to_string).collect()
            }
            Cell::Text(text) => vec![text.clone()],
            Cell::List(texts) => texts.clone(),
        };
        let texts: Vec<String> =
            texts.iter().map(|text| text.trim()).filter(|text| !is_unknown(text)).map(str::to_string).collect();
        (!texts.is_empty()).then_some(Value::Texts(texts))
    };
    known.map(value).collect()
}

/// The cell, if its value is known.
fn known(cell: &Cell) -> Option<&Cell> {
    let is_known = match cell {
        Cell::Unknown => false,
        Cell::Number(number) => !number.is_nan(),
        Cell::Text(text) => !is_unknown(text),
        Cell::List(texts) => texts.iter().any(|text| !is_unknown(text)),
    };
    is_known.then_some(cell)
}

fn is_unknown(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || text.eq_ignore_ascii_case("null") || text.eq_ignore_ascii_case("nan")
}

fn number(cell: &Cell) -> Option<f64> {
    let number = match cell {
        Cell::Number(number) => Some(*number),
        Cell::Text(text) => text.trim().parse().ok(),
        Cell::Unknown | Cell::List(_) => None,
    };
    number.filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(names: &[&str], rows: &[&[&str]]) -> RawTable {
        let cell = |text: &&str| Cell::Text((*text).to_string());
        RawTable {
            names: names.iter().map(ToString::to_string).collect(),
            rows: rows.iter().map(|row| row.iter().map(cell).collect()).collect(),
            left_out: Vec::new(),
        }
    }

    #[test]
    fn kinds_are_those_of_all_known_values() {
        let names = ["path", "bpm", "genres", "energy", "label", "code"];
        let rows: [&[&str]; 3] = [
            &["a", "90.5", "rock; folk", "", "x;y", "12"],
            &["b", "0", "null", "NaN", "", "12b"],
            &["c", "", "jazz\\\u{2400}soul", "1e-3", "null", " 7 "],
        ];
        let found = Columns::of(&table(&names, &rows), 0, &["bpm"]).unwrap();
        let texts = |texts: &[&str]| Some(Value::Texts(texts.iter().map(ToString::to_string).collect()));
        let number = |number| Some(Value::Number(number));
        let expected = [
            ("bpm", vec![number(90.5), None, None]),
            ("genre", vec![texts(&["rock", "folk"]), None, texts(&["jazz", "soul"])]),
            ("energy", vec![None, None, number(1e-3)]),
            ("label", vec![texts(&["x;y"]), None, None]),
            ("code", vec![texts(&["12"]), texts(&["12b"]), texts(&["7"])]),
        ];
        let expected: Vec<_> = expected.into_iter().map(|(name, values)| (name.to_string(), values)).collect();
        assert_eq!(found.columns, expected);
        assert_eq!(found.notes, ["the column genres is genre here"]);
    }

    #[test]
    fn names_that_filters_could_not_use_are_refused() {
        for (name, fault) in
            [("Duration", "reserved"), ("seed", "reserved"), ("BPM", "differs from the column bpm only")]
        {
            let error = Columns::of(&table(&["path", name], &[&["a", "1"]]), 0, &["bpm"]).unwrap_err();
            assert!(error.contains(fault), "{name}: {error}");
        }
        let two = Columns::of(&table(&["path", "genre", "genres"], &[&["a", "x", "y"]]), 0, &[]).unwrap_err();
        assert!(two.contains("two columns give genre"), "{two}");
        assert!(Columns::of(&table(&["path", "x"], &[&["a", ""]]), 0, &[]).is_err());
    }
}
