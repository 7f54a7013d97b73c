//! Tables of text with a line of names, separated by commas, semicolons, tabs or bars.

use std::path::Path;

use csv::{ByteRecord, ReaderBuilder};

use super::{Cell, RawTable, text};
use crate::count;

/// The separators, the usual one last: of those that the line of names has equally many of it is taken.
const SEPARATORS: [u8; 4] = *b"|\t;,";

/// Reads a table. The separator is that of a first line `sep=;`, or else the one that the line of names has most of.
pub(super) fn read(path: &Path) -> Result<RawTable, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    let (bytes, note) = text::decode(bytes)?;
    let (separator, start) = separator(&bytes);
    // Lines are counted from that of `sep=`.
    let before = bytes[..start].iter().filter(|&&byte| byte == b'\n').count();
    let bytes = &bytes[start..];
    let mut reader = ReaderBuilder::new().delimiter(separator).flexible(true).has_headers(false).from_reader(bytes);
    let mut table = RawTable { decimal_comma: separator != b',', unit: "line", ..RawTable::default() };
    table.notes.extend(note);
    let mut record = ByteRecord::new();
    let (mut first_line, mut last_start) = (0, 0);
    let mut lines = Lines { bytes, at: 0, line: before + 1 };
    let mut read = |record: &mut ByteRecord| reader.read_byte_record(record).map_err(|error| error.to_string());
    while read(&mut record)? {
        last_start = record.position().map_or(0, |position| position.byte() as usize);
        let line = lines.of_record(last_start);
        if table.names.is_empty() {
            table.names = record.iter().map(|name| text::text(name).trim().to_string()).collect();
            first_line = line;
            continue;
        }
        let (names, found) = (table.names.len(), record.len());
        let is_surplus = record.iter().skip(names).any(|field| !field.is_empty());
        if found < names || is_surplus {
            let expected = count(names, "field");
            return Err(format!(
                "line {line}: expected {expected} as in line {first_line}, which has the names, found {found}: put values that \
                 hold a {} in double quotes",
                name_of(separator)
            ));
        }
        table.rows.push(record.iter().take(names).map(text::cell).collect());
        table.lines.push(line);
    }
    if table.names.is_empty() {
        return Err("it is empty: expected a line with the names of the columns".into());
    }
    // The last record takes all that follows a quote that is never closed.
    if bytes[last_start..].iter().filter(|&&byte| byte == b'"').count() % 2 == 1
        && table.rows.last().is_some_and(|row| row.iter().any(spans_lines))
    {
        let line = table.lines.last().copied().unwrap_or(first_line);
        return Err(format!("line {line}: a double quote is opened there and never closed"));
    }
    note_bytes(&mut table);
    Ok(table)
}

/// The lines of records, in order.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The line of the byte `at`.
    line: usize,
}

impl Lines<'_> {
    /// The line of the record for which the reader started at the byte `start`, where empty lines may come before it.
    fn of_record(&mut self, start: usize) -> usize {
        let rest = self.bytes.get(start..).unwrap_or_default();
        let start = start + rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let passed = self.bytes.get(self.at..start).unwrap_or_default();
        self.line += passed.iter().filter(|&&byte| byte == b'\n').count();
        self.at = self.at.max(start);
        self.line
    }
}

fn spans_lines(cell: &Cell) -> bool {
    match cell {
        Cell::Text(text) => text.contains('\n'),
        Cell::Bytes(bytes) => bytes.contains(&b'\n'),
        _ => false,
    }
}

/// Notes how many fields are not UTF-8.
fn note_bytes(table: &mut RawTable) {
    let is_bytes = |cell: &&Cell| matches!(cell, Cell::Bytes(_));
    let fields = table.rows.iter().flatten().filter(is_bytes).count();
    let first = table.rows.iter().zip(&table.lines).find_map(|(row, line)| Some((row.iter().find(is_bytes)?, line)));
    if let Some((Cell::Bytes(bytes), line)) = first {
        table.notes.push(format!(
            "{} not UTF-8, read as Windows-1252 where that is not a file's name; the first is `{}` in line {line}: save the \
             table as UTF-8 if that is wrong",
            if fields == 1 { "1 field is".to_string() } else { format!("{fields} fields are") },
            text::text(bytes)
        ));
    }
}

/// The separator of a table, and where its line of names starts.
fn separator(bytes: &[u8]) -> (u8, usize) {
    if let [b's', b'e', b'p', b'=', separator, rest @ ..] = bytes
        && let Some(end) = [&b"\r\n"[..], b"\n"].iter().find(|end| rest.starts_with(end))
    {
        return (*separator, 5 + end.len());
    }
    let mut counts = [0; SEPARATORS.len()];
    let mut is_quoted = false;
    for &byte in bytes {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\n' if !is_quoted => break,
            _ if is_quoted => {}
            byte => {
                SEPARATORS.iter().position(|&separator| separator == byte).into_iter().for_each(|at| counts[at] += 1)
            }
        }
    }
    let most = (0..SEPARATORS.len()).max_by_key(|&index| counts[index]).unwrap_or(SEPARATORS.len() - 1);
    (SEPARATORS[most], 0)
}

fn name_of(separator: u8) -> String {
    match separator {
        b'\t' => "tab".into(),
        b',' => "comma".into(),
        b';' => "semicolon".into(),
        other => format!("`{}`", char::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(bytes: &[u8]) -> Result<RawTable, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        std::fs::write(&path, bytes).unwrap();
        read(&path)
    }

    /// Each of these is the same table.
    #[test]
    fn separators_quotes_and_line_ends() {
        let text = |text: &str| Cell::Text(text.into());
        let expected =
            vec![vec![text("a;1,\t|.flac"), text("x\ny"), text("")], vec![text("b"), text("\"q\""), text("1")]];
        for bytes in [
            "path,note,n\n\"a;1,\t|.flac\",\"x\ny\",\nb,\"\"\"q\"\"\",1\n",
            "path;note;n\n\"a;1,\t|.flac\";\"x\ny\";\nb;\"\"\"q\"\"\";1",
            "path\tnote\tn\r\n\"a;1,\t|.flac\"\t\"x\ny\"\t\r\nb\t\"\"\"q\"\"\"\t1\r\n",
            "path|note|n\n\"a;1,\t|.flac\"|\"x\ny\"|\n\nb|\"\"\"q\"\"\"|1\n",
            "sep=;\r\npath;note;n\r\n\"a;1,\t|.flac\";\"x\ny\";\r\nb;\"\"\"q\"\"\";1\r\n",
            "path,note,n,\n\"a;1,\t|.flac\",\"x\ny\",,\nb,\"\"\"q\"\"\",1,,\n",
            "\u{feff}path,\"note\",n\n\"a;1,\t|.flac\",\"x\ny\",\nb,\"\"\"q\"\"\",1\n",
        ] {
            let found = table(bytes.as_bytes()).unwrap();
            assert_eq!(found.names[..3], ["path", "note", "n"], "{bytes}");
            let rows: Vec<Vec<Cell>> = found.rows.iter().map(|row| row[..3].to_vec()).collect();
            assert_eq!(rows, expected, "{bytes}");
        }
        assert_eq!(table(b"sep=;\npath;n\na;1\n\nb;2\n").unwrap().lines, [3, 5]);
    }

    #[test]
    fn faults_have_the_line() {
        for (bytes, fault) in [
            ("", "it is empty"),
            ("path,x\na,1\nb\n", "line 3: expected 2 fields as in line 1, which has the names, found 1"),
            ("path,x\na,1,2\n", "line 2: expected 2 fields as in line 1, which has the names, found 3"),
            ("sep=;\npath;x\na;1;2\n", "line 3: expected 2 fields as in line 2"),
            ("path,x\na,1\nb,\"2\nc,3\nd,4\n", "line 3: a double quote is opened there and never closed"),
        ] {
            let error = table(bytes.as_bytes()).unwrap_err();
            assert!(error.contains(fault), "{error}");
        }
        // Quotes within fields are characters.
        assert_eq!(table(b"path,x\na,7\" mix\n").unwrap().rows[0][1], Cell::Text("7\" mix".into()));
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_kept_for_names_of_files() {
        let found = table(b"path,title\ncaf\xe9.flac,\x84Stra\xdfe\x93\n").unwrap();
        assert_eq!(found.rows[0][0], Cell::Bytes(b"caf\xe9.flac".to_vec()));
        assert!(found.notes[0].starts_with("2 fields are not UTF-8"), "{:?}", found.notes);
    }
}
