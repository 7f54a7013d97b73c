//! Tables with a JSON object on each line.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::{Cell, RawTable, text};

/// The longest text of an error that shows a value.
const SHOWN: usize = 60;

/// Reads a table. A name that a line does not have is unknown there.
pub(super) fn read(path: &Path) -> Result<RawTable, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let (bytes, note) = text::decode(bytes)?;
    let mut table = RawTable { unit: "line", ..RawTable::default() };
    table.notes.extend(note);
    let mut indices: HashMap<String, usize> = HashMap::new();
    let mut first_bytes = None;
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let failed = |reason: String| format!("line {}: {reason}", index + 1);
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let text = String::from_utf8(line.to_vec()).unwrap_or_else(|_| {
            first_bytes.get_or_insert(index + 1);
            escaped(line)
        });
        let object = object(&text).map_err(failed)?;
        let mut row = vec![Cell::Unknown; table.names.len()];
        for (name, value) in object {
            let cell = cell(value).map_err(|reason| failed(format!("{name}: {reason}")))?;
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
        table.lines.push(index + 1);
    }
    if let Some(line) = first_bytes {
        table.notes.push(format!(
            "line {line} is the first that is not UTF-8: other bytes are read as \\xNN, as in names of files"
        ));
    }
    if table.rows.is_empty() {
        return Err("it is empty: expected a JSON object on each line".into());
    }
    let columns = table.names.len();
    table.rows.iter_mut().for_each(|row| row.resize(columns, Cell::Unknown));
    Ok(table)
}

/// A line with bytes that are not UTF-8, which beets writes in the names of files, as [`mert_table::escape`] writes them.
fn escaped(line: &[u8]) -> String {
    let chunk = |chunk: std::str::Utf8Chunk<'_>| {
        let bytes: String = chunk.invalid().iter().map(|byte| format!("\\\\x{byte:02x}")).collect();
        format!("{}{bytes}", chunk.valid())
    };
    line.utf8_chunks().map(chunk).collect()
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    const EXAMPLE: &str = "expected an object on one line, such as {\"path\": \"a.flac\", \"bpm\": 120}";
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(format!("{EXAMPLE}, found {}", shown(&other))),
        Err(error) => {
            let (reason, column) = (error.to_string(), error.column());
            let reason = reason.split(" at line ").next().unwrap_or_default();
            let hint = match text.contains("NaN") || text.contains("Infinity") {
                true => "; JSON has no NaN and no Infinity: write null",
                false => "",
            };
            Err(format!("not valid JSON at column {column} ({reason}): {EXAMPLE}{hint}"))
        }
    }
}

/// A value, cut short.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}

fn cell(value: Value) -> Result<Cell, String> {
    let text = |value: Value| match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        other => Err(format!("expected a number, a text or a list of texts, found {}", shown(&other))),
    };
    Ok(match value {
        Value::Null => Cell::Unknown,
        Value::Number(number) => number.as_f64().map_or(Cell::Unknown, Cell::Number),
        Value::Array(values) => Cell::List(values.into_iter().map(text).collect::<Result<_, _>>()?),
        other => Cell::Text(text(other)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(bytes: &[u8]) -> Result<RawTable, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.jsonl");
        std::fs::write(&path, bytes).unwrap();
        read(&path)
    }

    #[test]
    fn objects_with_different_names_are_a_table() {
        let found =
            table(b"\xef\xbb\xbf{\"path\": \"a\", \"n\": 1}\n\n{\"path\": \"caf\xe9\", \"t\": [\"x\", 2, true]}\n")
                .unwrap();
        // Names are in alphabetical order within an object.
        assert_eq!((&found.names[..], &found.lines[..]), (&["n", "path", "t"].map(String::from)[..], &[1, 3][..]));
        let text = |text: &str| Cell::Text(text.into());
        let list = Cell::List(["x", "2", "true"].map(String::from).to_vec());
        let expected = [vec![Cell::Number(1.0), text("a"), Cell::Unknown], vec![Cell::Unknown, text("caf\\xe9"), list]];
        assert_eq!(found.rows, expected);
        assert!(found.notes[0].contains("line 3 is the first that is not UTF-8"), "{:?}", found.notes);
    }

    #[test]
    fn faults_have_line_and_column() {
        for (bytes, fault) in [
            ("", "it is empty"),
            ("{\"path\": \"a\"}\n[1, 2]\n", "line 2: expected an object on one line"),
            ("{\"path\": \"a\", \"x\": NaN}\n", "line 1: not valid JSON at column 21"),
            ("{\"path\": \"a\", \"x\": NaN}\n", "JSON has no NaN and no Infinity: write null"),
            ("{\"path\": \"a\", \"x\": {\"y\": 1}}\n", "line 1: x: expected a number, a text or a list of texts"),
            ("{\n  \"path\": \"a\"\n}\n", "line 1: not valid JSON at column 1"),
        ] {
            let error = table(bytes.as_bytes()).unwrap_err();
            assert!(error.contains(fault), "{error}");
        }
    }
}
