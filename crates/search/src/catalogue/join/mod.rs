//! Metadata that is joined by path: a CSV, Parquet or JSON lines file, each of whose rows is of a track.

mod columns;
mod csv;
mod jsonl;
mod matching;
mod parquet;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use fixedbitset::FixedBitSet;

use self::columns::Columns;
use self::matching::Matches;
use super::columns::Column;
use super::tracks::Value;
use super::writer::Writer;
use crate::{Result, SearchError};

/// The names of the columns that hold the path, if no other is given: the first that a table has.
const KEYS: [&str; 2] = ["path", "file"];

/// A value of a table before the kind of its column is known.
#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Unknown,
    Number(f64),
    Text(String),
    List(Vec<String>),
}

/// A table as it was read: the names of its columns, and a cell for each in every row.
#[derive(Debug, Default)]
struct RawTable {
    names: Vec<String>,
    rows: Vec<Vec<Cell>>,
    /// Columns whose values are of a type that cannot be joined.
    left_out: Vec<String>,
}

/// The result of a join.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Joined {
    /// The number of rows of the table.
    pub rows: usize,
    /// The number of tracks that a row is of.
    pub tracks: usize,
    /// Rows that are of no track: their paths, and the nearest name of a track for the first of them.
    pub unmatched: Vec<(String, Option<String>)>,
    /// The number of rows of a track that a later row is of as well.
    pub repeated: usize,
    /// The columns that the catalogue did not have.
    pub added: Vec<String>,
    /// The columns some of whose values come from this table instead of tags or earlier tables.
    pub overridden: Vec<String>,
    /// What else should be known: columns that were left out, renamed, or have become texts.
    pub notes: Vec<String>,
}

impl Writer {
    /// Joins the table at `path` by the paths in its column `key`, which is `path` or else `file` by default. Relative paths
    /// start from the table's folder, or else from the current one. Known values come before those of tags and of earlier
    /// tables.
    ///
    /// # Errors
    /// [`SearchError::Metadata`] for a table that cannot be read or has no row of a track, a missing key, and names of columns
    /// that cannot be used.
    pub fn join(&mut self, path: &Path, key: Option<&str>) -> Result<Joined> {
        let Some(catalogue) = self.catalogue() else {
            return Err(SearchError::NoCatalogue { path: self.folder().to_path_buf() });
        };
        let table = read(path)?;
        let refused = |reason: String| SearchError::Metadata { path: path.to_path_buf(), reason };
        let key = match key {
            Some(key) => table.names.iter().position(|name| name == key),
            None => KEYS.iter().find_map(|key| table.names.iter().position(|name| name == key)),
        };
        let key = key.ok_or_else(|| {
            refused(format!(
                "it has no column with paths: expected `path` or `file`, or the name that --key gives; it has {}",
                table.names.join(", ")
            ))
        })?;
        let known: Vec<&str> = catalogue.column_names().collect();
        let Columns { columns, mut notes } = Columns::of(&table, key, &known).map_err(refused)?;
        let Matches { tracks, unmatched, repeated } = Matches::of(catalogue, path, &table, key);
        if tracks.is_empty() {
            let example = unmatched.first().map_or(String::new(), |(name, nearest)| {
                let nearest =
                    nearest.as_ref().map_or(String::new(), |nearest| format!("; the nearest name is {nearest}"));
                format!("; the first is {name}{nearest}")
            });
            return Err(refused(format!("none of its {} rows is of a track{example}", table.rows.len())));
        }
        let mut joined =
            Joined { rows: table.rows.len(), tracks: tracks.len(), unmatched, repeated, ..Joined::default() };
        let mut values: HashMap<usize, BTreeMap<String, Value>> = HashMap::new();
        for (name, cells) in columns {
            let known = tracks.iter().filter_map(|(&track, &row)| Some((track, cells.get(row)?.as_ref()?)));
            let known: Vec<(usize, &Value)> = known.collect();
            match catalogue.column(&name) {
                Ok(before) => {
                    if known.iter().any(|&(track, value)| is_other(&before, track, value)) {
                        joined.overridden.push(name.clone());
                    }
                    let text = known.iter().find(|(_, value)| matches!(value, Value::Texts(_)));
                    if let (Column::Number(_), Some((_, value))) = (&*before, text) {
                        notes.push(format!(
                            "the column {name} held numbers and holds texts now, because of `{}`",
                            value.texts().join("; ")
                        ));
                    }
                }
                Err(_) => joined.added.push(name.clone()),
            }
            for (track, value) in known {
                values.entry(track).or_default().insert(name.clone(), value.clone());
            }
        }
        joined.notes = notes;
        let mut changed = FixedBitSet::with_capacity(catalogue.tracks());
        values.keys().for_each(|&track| changed.insert(track));
        self.edit(&changed, |number, track| {
            if let Some(values) = values.remove(&number) {
                track.joined.extend(values);
            }
        })?;
        Ok(joined)
    }
}

/// Whether a track has a known value in `column` that is not `value`.
fn is_other(column: &Column, track: usize, value: &Value) -> bool {
    match value {
        Value::Number(number) if column.number(track).is_some() => column.number(track) != Some(*number),
        value => column.is_known(track) && !column.texts(track).eq(value.texts().iter().map(String::as_str)),
    }
}

/// Reads the table at `path`, in the format that its name says.
fn read(path: &Path) -> Result<RawTable> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_lowercase();
    let table = match extension.as_str() {
        "csv" | "tsv" => csv::read(path),
        "jsonl" | "ndjson" => jsonl::read(path),
        "parquet" => parquet::read(path),
        _ => Err("expected a file that ends in .csv, .parquet or .jsonl".into()),
    };
    table.map_err(|reason| SearchError::Metadata { path: path.to_path_buf(), reason })
}
