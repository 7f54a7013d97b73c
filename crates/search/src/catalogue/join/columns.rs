//! The columns of a joined table: their names, those of other programs under the standard ones, and the kinds of their
//! values.

use super::names::{check_name, is_list, is_zero_unknown, standard_name};
use super::values::{Kind, classify, finite, texts_of};
use super::{Cell, RawTable};
use crate::catalogue::tracks::Value;
use crate::count;

/// The columns of a table, with a value for each row where it is known.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) columns: Vec<Taken>,
    /// What of the columns was left out, or understood in a way that should be known.
    pub(super) notes: Vec<String>,
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Taken {
    /// The name in the catalogue.
    pub(super) name: String,
    /// The name in the table.
    pub(super) from: String,
    /// A value for each row.
    pub(super) values: Vec<Option<Value>>,
}

impl Columns {
    /// The columns of `table` but that of the paths, `key`. `known` are those of the catalogue.
    pub(super) fn of(table: &RawTable, key: usize, known: &[&str]) -> Result<Self, String> {
        let mut found = Columns { columns: Vec::new(), notes: Vec::new() };
        if !table.left_out.is_empty() {
            let names = table.left_out.join(", ");
            found.notes.push(format!("left out, because they hold neither numbers nor texts: {names}"));
        }
        for (index, name) in table.names.iter().enumerate() {
            if let Some(first) = table.names[..index].iter().position(|other| other == name && !name.is_empty()) {
                return Err(format!(
                    "the columns {} and {} are both called {name}: give one of them another name",
                    first + 1,
                    index + 1
                ));
            }
        }
        for (index, name) in table.names.iter().enumerate().filter(|&(index, _)| index != key) {
            let cells = || table.rows.iter().map(move |row| row.get(index).unwrap_or(&Cell::Unknown));
            if name.is_empty() {
                if cells().any(|cell| classify(cell, table.decimal_comma) != Kind::Unknown) {
                    found.notes.push(format!("left out: column {}, which has no name", index + 1));
                }
                continue;
            }
            let mut standard = standard_name(name, known);
            // The standard name is taken by a column that has it itself.
            let is_taken = |standard: &str| {
                let others = table.names.iter().enumerate().filter(|&(other, _)| other != index && other != key);
                let by_name = others.clone().any(|(_, other)| other == standard);
                by_name || found.columns.iter().any(|column| column.name == standard)
            };
            if standard != *name && is_taken(&standard) {
                found.notes.push(format!("the column {name} keeps its name, because there is {standard} as well"));
                standard.clone_from(name);
            }
            if let Some(reason) = check_name(&standard) {
                found.notes.push(format!("left out: {name}, {reason}"));
                continue;
            }
            let taken = found.columns.iter().map(|column| column.name.as_str()).chain(known.iter().copied());
            let like = |other: &&str| **other != *standard && other.to_lowercase() == standard.to_lowercase();
            if let Some(other) = taken.into_iter().find(like) {
                return Err(format!(
                    "the column {name} differs from the column {other} only in case: give both one name"
                ));
            }
            let values = found.values(table, &standard, name, index);
            if values.iter().all(Option::is_none) {
                found.notes.push(format!("left out, because all its values are unknown: {name}"));
                continue;
            }
            found.columns.push(Taken { name: standard, from: name.clone(), values });
        }
        if found.columns.is_empty() { Err("it has no column with values but the paths".into()) } else { Ok(found) }
    }

    /// The values of the column `from`, which is `name` in the catalogue: numbers if all that are known are numbers, otherwise
    /// texts.
    fn values(&mut self, table: &RawTable, name: &str, from: &str, index: usize) -> Vec<Option<Value>> {
        let cells = || table.rows.iter().map(|row| row.get(index).unwrap_or(&Cell::Unknown));
        let kinds: Vec<Kind> = cells().map(|cell| classify(cell, table.decimal_comma)).collect();
        let number_of = |kind: Kind| kinds.iter().filter(|&&found| found == kind).count();
        let first = |kind: Kind| kinds.iter().position(|&found| found == kind);
        let shown = |row: usize| {
            let cell = table.rows[row].get(index).unwrap_or(&Cell::Unknown);
            format!("`{}` in {} {}", texts_of(cell, false).join("; "), table.unit, table.lines[row])
        };
        let numbers = number_of(Kind::Number);
        if numbers > 0 && first(Kind::Text).is_none() {
            for (kind, what) in [(Kind::NotFinite, "not finite"), (Kind::Placeholder, "no numbers")] {
                if let Some(row) = first(kind) {
                    let (values, is) = (count(number_of(kind), "value"), crate::is_or_are(number_of(kind)));
                    self.notes
                        .push(format!("{from}: {values} {is} {what} and thus unknown; the first is {}", shown(row)));
                }
            }
            let is_known = |&number: &f64| number > 0.0 || !is_zero_unknown(name);
            return cells().map(|cell| finite(cell, table.decimal_comma).filter(is_known).map(Value::Number)).collect();
        }
        if let Some(row) = first(Kind::Text).filter(|_| numbers > 0) {
            self.notes.push(format!(
                "{from} holds texts, because of {}; {numbers} of its {} would be numbers",
                shown(row),
                count(kinds.len() - number_of(Kind::Unknown), "value")
            ));
        }
        let texts = |cell: &Cell| {
            let texts = texts_of(cell, is_list(name));
            (!texts.is_empty()).then_some(Value::Texts(texts))
        };
        cells().map(texts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(names: &[&str], rows: &[&[&str]]) -> RawTable {
        let cell = |text: &&str| Cell::Text((*text).to_string());
        RawTable {
            names: names.iter().map(ToString::to_string).collect(),
            rows: rows.iter().map(|row| row.iter().map(cell).collect()).collect(),
            lines: (2..2 + rows.len()).collect(),
            unit: "line",
            ..RawTable::default()
        }
    }

    fn texts(texts: &[&str]) -> Option<Value> {
        Some(Value::Texts(texts.iter().map(ToString::to_string).collect()))
    }

    fn number(number: f64) -> Option<Value> {
        Some(Value::Number(number))
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
        let expected = [
            ("bpm", "bpm", vec![number(90.5), None, None]),
            ("genre", "genres", vec![texts(&["rock", "folk"]), None, texts(&["jazz", "soul"])]),
            ("energy", "energy", vec![None, None, number(1e-3)]),
            ("label", "label", vec![texts(&["x;y"]), None, None]),
            ("code", "code", vec![texts(&["12"]), texts(&["12b"]), texts(&["7"])]),
        ];
        let taken = |(name, from, values): (&str, &str, _)| Taken { name: name.into(), from: from.into(), values };
        assert_eq!(found.columns, expected.map(taken));
        assert_eq!(found.notes, ["code holds texts, because of `12b` in line 3; 2 of its 3 values would be numbers"]);
    }

    #[test]
    fn values_that_are_no_finite_numbers_do_not_make_a_column_of_texts() {
        let rows: [&[&str]; 5] = [
            &["a", "1", "n/a"],
            &["b", "inf", "-3"],
            &["c", "1e999", "N/A"],
            &["d", "-Infinity", ""],
            &["e", "2", "?"],
        ];
        let found = Columns::of(&table(&["path", "x", "y"], &rows), 0, &[]).unwrap();
        assert_eq!(found.columns[0].values, [number(1.0), None, None, None, number(2.0)]);
        assert_eq!(found.columns[1].values, [None, number(-3.0), None, None, None]);
        assert_eq!(
            found.notes,
            [
                "x: 3 values are not finite and thus unknown; the first is `inf` in line 3",
                "y: 3 values are no numbers and thus unknown; the first is `n/a` in line 2"
            ]
        );
        // Where there are no numbers these are texts.
        let found = Columns::of(&table(&["path", "x"], &[&["a", "none"], &["b", "?"]]), 0, &[]).unwrap();
        assert_eq!(found.columns[0].values, [texts(&["none"]), texts(&["?"])]);
    }

    #[test]
    fn decimal_commas_are_for_tables_with_other_separators() {
        let rows: [&[&str]; 2] = [&["a", "120,5"], &["b", "90"]];
        let mut table = table(&["path", "Tempo"], &rows);
        assert_eq!(Columns::of(&table, 0, &[]).unwrap().columns[0].values, [texts(&["120,5"]), texts(&["90"])]);
        table.decimal_comma = true;
        assert_eq!(Columns::of(&table, 0, &[]).unwrap().columns[0].values, [number(120.5), number(90.0)]);
    }

    #[test]
    fn names_are_matched_and_those_of_the_catalogue_left_out() {
        let names = ["path", "Duration", "SEED", "Album Artist", "Tempo", "artists", "artist", "Energy"];
        let row = ["a", "1", "2", "B", "90", "C", "D", "1"];
        let found = Columns::of(&table(&names, &[&row]), 0, &["energy"]).unwrap();
        let taken: Vec<(&str, &str)> =
            found.columns.iter().map(|column| (column.name.as_str(), column.from.as_str())).collect();
        let expected = [
            ("album_artist", "Album Artist"),
            ("bpm", "Tempo"),
            ("artists", "artists"),
            ("artist", "artist"),
            ("energy", "Energy"),
        ];
        assert_eq!(taken, expected);
        assert_eq!(found.notes.len(), 3, "{:?}", found.notes);
        for (names, fault) in [
            (["path", "x", "x"], "the columns 2 and 3 are both called x"),
            (["path", "Xyz", "xYZ"], "the column xYZ differs from the column Xyz only in case"),
        ] {
            let error = Columns::of(&table(&names, &[&["a", "x", "y"]]), 0, &[]).unwrap_err();
            assert!(error.contains(fault), "{error}");
        }
        assert!(Columns::of(&table(&["path", "x"], &[&["a", ""]]), 0, &[]).is_err());
    }
}
