//! Tables with a JSON object on each line.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::{Map, Value};

use super::{Cell, RawTable};

/// Reads a table. A name that a line does not have is unknown there.
pub(super) fn read(path: &Path) -> Result<RawTable, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut table = RawTable::default();
    let mut indices: HashMap<String, usize> = HashMap::new();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let failed = |reason: &str| format!("line {}: {reason}", index + 1);
        let line = line.map_err(|error| failed(&error.to_string()))?;
        if line.trim().is_empty() {
            continue;
        }
        let object: Map<String, Value> = serde_json::from_str(&line).map_err(|error| failed(&error.to_string()))?;
        let mut row = vec![Cell::Unknown; table.names.len()];
        for (name, value) in object {
            let cell = cell(value).map_err(|reason| failed(&format!("{name}: {reason}")))?;
            let column = *indices.entry(name.clone()).or_insert_with(|| {
                table.names.push(name);
                table.names.len() - 1
            });
            if column >= row.len() {
                row.resize(column + 1, Cell::Unknown);
            }
            row[column] = cell;
        }
        table.rows.push(row);
    }
    let columns = table.names.len();
    table.rows.iter_mut().for_each(|row| row.resize(columns, Cell::Unknown));
    Ok(table)
}

fn cell(value: Value) -> Result<Cell, String> {
    let text = |value: Value| match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        other => Err(format!("expected a number, a text or a list of texts, found {other}")),
    };
    Ok(match value {
        Value::Null => Cell::Unknown,
        Value::Number(number) => number.as_f64().map_or(Cell::Unknown, Cell::Number),
        Value::Array(values) => Cell::List(values.into_iter().map(text).collect::<Result<_, _>>()?),
        other => Cell::Text(text(other)?),
    })
}
