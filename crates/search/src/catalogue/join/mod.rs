//! Metadata that is joined by path: a CSV, Parquet or JSON lines file, each of whose rows is of a track.

mod columns;
mod csv;
mod jsonl;
mod matching;
mod names;
mod parquet;
mod text;
mod values;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use fixedbitset::FixedBitSet;

use self::columns::{Columns, Taken};
use self::matching::Matches;
pub use self::matching::UnmatchedRow;
use super::columns::Column;
use super::tracks::Value;
use super::writer::Writer;
use crate::{Result, SearchError, count, require_regular_file};

/// The number of tracks without a row that are named.
const NAMED: usize = 3;

/// A value of a table before the kind of its column is known.
#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Unknown,
    Number(f64),
    Text(String),
    /// A text that is not UTF-8.
    Bytes(Vec<u8>),
    List(Vec<String>),
}

/// A table as it was read: the names of its columns, and a cell for each in every row.
#[derive(Debug, Default)]
struct RawTable {
    names: Vec<String>,
    rows: Vec<Vec<Cell>>,
    /// The number of each row in the file.
    lines: Vec<usize>,
    /// The things that `lines` counts.
    unit: &'static str,
    /// Whether numbers may have a comma before their decimals.
    decimal_comma: bool,
    /// Columns whose values are of a type that cannot be joined.
    left_out: Vec<String>,
    /// What was guessed.
    notes: Vec<String>,
}

/// A table of metadata that was read, to be joined with a catalogue.
#[derive(Debug)]
pub struct MetadataTable {
    path: PathBuf,
    table: RawTable,
    /// The column with the paths.
    key: usize,
}

/// The result of a join.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Joined {
    /// The number of rows of the table.
    pub rows: usize,
    /// The number of tracks that a row is of.
    pub tracks: usize,
    /// Rows that are of no track.
    pub unmatched: Vec<UnmatchedRow>,
    /// The number of rows of a track that a later row is of as well.
    pub repeated: usize,
    /// The number of live tracks that no row is of.
    pub without_row: usize,
    /// The escaped paths of the first of them.
    pub first_without_row: Vec<String>,
    /// The columns that the catalogue did not have, with their names in the table where these are others.
    pub added: Vec<String>,
    /// The columns some of whose values come from this table instead of tags or earlier tables.
    pub overridden: Vec<String>,
    /// The columns whose values were known or unknown before, and none another.
    pub completed: Vec<String>,
    /// What else should be known: encodings that were guessed, columns that were left out, or have become texts.
    pub notes: Vec<String>,
}

impl MetadataTable {
    /// Reads the table at `path`. Its column `key` has the paths; by default the first that is called `path`, `file`, or
    /// another usual name for it, in any case.
    ///
    /// # Errors
    /// [`SearchError::NotAFile`], [`SearchError::Io`], and [`SearchError::Metadata`] for a table that cannot be read, has no
    /// rows, or lacks the key, with the line.
    pub fn read(path: &Path, key: Option<&str>) -> Result<Self> {
        require_regular_file(path)?;
        let refused = |reason: String| SearchError::Metadata { path: path.to_path_buf(), reason };
        let table = read(path).map_err(refused)?;
        let found = names::key_of(&table.names, key).ok_or_else(|| {
            let expected = match key {
                Some(key) => format!("no column {key}, which --key names"),
                None => "no column with paths: expected `path` or `file`, or the name that --key gives".to_string(),
            };
            refused(format!("it has {expected}; the first row that was read has {}", table.names.join(", ")))
        })?;
        if table.rows.is_empty() {
            return Err(refused("it has no rows but that of the names".into()));
        }
        Ok(MetadataTable { path: path.to_path_buf(), table, key: found })
    }
}

impl Writer {
    /// Joins `table` by its paths. Relative ones start from the table's folder, or else from the current one. Known values
    /// come before those of tags and of earlier tables.
    ///
    /// # Errors
    /// [`SearchError::Metadata`] for a table that has no row of a track, and names of columns that cannot be used.
    pub fn join(&mut self, table: &MetadataTable) -> Result<Joined> {
        let Some(catalogue) = self.catalogue() else {
            return Err(SearchError::NoCatalogue { path: self.folder().to_path_buf() });
        };
        let MetadataTable { path, table, key } = table;
        let refused = |reason: String| SearchError::Metadata { path: path.clone(), reason };
        let known: Vec<&str> = catalogue.column_names().collect();
        let found = Columns::of(table, *key, &known).map_err(refused)?;
        let Matches { tracks, unmatched, repeated } = Matches::of(catalogue, path, table, *key);
        if tracks.is_empty() {
            let example = unmatched.first().map_or(String::new(), |UnmatchedRow { path, nearest, .. }| {
                let nearest =
                    nearest.as_ref().map_or(String::new(), |nearest| format!("; the nearest name is {nearest}"));
                format!("; the first is {path}{nearest}")
            });
            return Err(refused(format!("none of its {} is of a track{example}", count(table.rows.len(), "row"))));
        }
        let without: Vec<usize> = catalogue.live().ones().filter(|track| !tracks.contains_key(track)).collect();
        let named = without.iter().take(NAMED).map(|&track| catalogue.track(track).file.to_string());
        let mut joined = Joined {
            rows: table.rows.len(),
            tracks: tracks.len(),
            unmatched,
            repeated,
            without_row: without.len(),
            first_without_row: named.collect(),
            notes: [&table.notes[..], &found.notes].concat(),
            ..Joined::default()
        };
        if !["path", "file"].contains(&table.names[*key].as_str()) {
            joined.notes.insert(0, format!("the paths are those of the column {}", table.names[*key]));
        }
        let mut values: HashMap<usize, BTreeMap<String, Value>> = HashMap::new();
        for Taken { name, from, values: cells } in found.columns {
            let known = tracks.iter().filter_map(|(&track, &row)| Some((track, cells.get(row)?.as_ref()?)));
            let known: Vec<(usize, &Value)> = known.collect();
            if known.is_empty() {
                joined.notes.push(format!("left out, because all its values for tracks are unknown: {from}"));
                continue;
            }
            let label = if from == name { name.clone() } else { format!("{name} (from {from})") };
            match catalogue.column(&name) {
                Ok(before) => {
                    let is_overridden = known.iter().any(|&(track, value)| is_other(&before, track, value));
                    if is_overridden { &mut joined.overridden } else { &mut joined.completed }.push(label);
                    let text = known.iter().find(|(_, value)| matches!(value, Value::Texts(_)));
                    if let (Column::Number(_), Some((_, value))) = (&*before, text) {
                        joined.notes.push(format!(
                            "the column {name} held numbers and holds texts now, because of `{}`",
                            value.texts().join("; ")
                        ));
                    }
                }
                Err(_) => joined.added.push(label),
            }
            for (track, value) in known {
                values.entry(track).or_default().insert(name.clone(), value.clone());
            }
        }
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

/// Reads the table at `path`, in the format that its first bytes or its name say.
fn read(path: &Path) -> Result<RawTable, String> {
    let mut start = [0; 16];
    let read = File::open(path).and_then(|mut file| file.read(&mut start)).map_err(|error| error.to_string())?;
    if let Some(what) = text::other_format(&start[..read]) {
        return Err(what.into());
    }
    if start.starts_with(b"PAR1") {
        return parquet::read(path);
    }
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_lowercase();
    match extension.as_str() {
        "csv" | "tsv" | "txt" => csv::read(path),
        "jsonl" | "ndjson" => jsonl::read(path),
        "parquet" => Err("it is not a Parquet table: it does not begin with `PAR1`".into()),
        "json" => Err("expected a table with a JSON object on each line, whose name ends in .jsonl".into()),
        _ => Err("expected a table whose name ends in .csv, .tsv, .jsonl or .parquet".into()),
    }
}
