//! Tables of text with a line of names, separated by commas, semicolons or tabs.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::{Cell, RawTable};

/// Reads a table. The separator is the one that the line of names has most of.
pub(super) fn read(path: &Path) -> Result<RawTable, String> {
    let mut names = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    BufReader::new(file).read_until(b'\n', &mut names).map_err(|error| error.to_string())?;
    let count = |separator: u8| names.iter().filter(|&&byte| byte == separator).count();
    // The first of those with the same count: a table of one column has none of them.
    let separator = [b'\t', b';', b','].into_iter().max_by_key(|&separator| count(separator)).unwrap_or(b',');
    let mut reader =
        csv::ReaderBuilder::new().delimiter(separator).from_path(path).map_err(|error| error.to_string())?;
    let header = reader.headers().map_err(|error| error.to_string())?;
    let names = header.iter().map(|name| name.trim_start_matches('\u{feff}').trim().to_string()).collect();
    let mut table = RawTable { names, ..RawTable::default() };
    for record in reader.records() {
        // The message of csv has the line.
        let record = record.map_err(|error| error.to_string())?;
        table.rows.push(record.iter().map(|text| Cell::Text(text.to_string())).collect());
    }
    Ok(table)
}
