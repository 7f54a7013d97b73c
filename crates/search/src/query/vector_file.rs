//! Vectors from files: a `.npy` array or a JSON list, as other programs write them.

use std::collections::BTreeMap;
use std::path::Path;

use half::f16;
use mert_fs::check_npy_header;
use npyz::NpyFile;

use super::seed::{Seed, SeedSegment};
use crate::space::Space;
use crate::{Result, SearchError, excerpt};

/// The longest file in bytes that is read.
const LARGEST: u64 = 1 << 28;

/// A seed of the vectors in the file at `path`: `.npy` with f16, f32 or f64 in any order of bytes and axes, or JSON, of the
/// shape `(values,)` or `(segments, values)`. The values are those of all hidden states of the catalogue, one after the
/// other, or if the space weights only one of them, of that one.
///
/// # Errors
/// [`SearchError::Io`], and [`SearchError::Query`] for another shape or type, values that are not finite in f32, and vectors
/// of zeros, which have no direction.
pub fn read_vectors(space: &Space<'_>, path: &Path) -> Result<Seed> {
    let label = mert_table::escape(path);
    let length = std::fs::metadata(path).map_err(SearchError::io(path))?.len();
    let invalid = |reason: String| SearchError::Query(format!("{}: {reason}", mert_table::printable_path(path)));
    if length > LARGEST {
        return Err(invalid(format!("expected a file of vectors of at most {LARGEST} bytes, found {length}")));
    }
    let bytes = std::fs::read(path).map_err(SearchError::io(path))?;
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let rows = if is_json { json_rows(&bytes) } else { npy_rows(&bytes) }.map_err(&invalid)?;
    let catalogue = space.catalogue();
    let dims: Vec<usize> = catalogue.groups().iter().map(|group| group.dim).collect();
    let total: usize = dims.iter().sum();
    let single = match space.geometry().weights[..] {
        [(group, _)] => Some((dims[..group].iter().sum::<usize>(), dims[group])),
        _ => None,
    };
    let count = rows.len();
    let mut segments = Vec::with_capacity(count);
    for (index, row) in rows.into_iter().enumerate() {
        let values: Vec<f32> = match single {
            _ if row.len() == total => row,
            Some((first, dim)) if row.len() == dim => {
                let mut values = vec![0.0; total];
                values[first..first + dim].copy_from_slice(&row);
                values
            }
            _ => {
                let groups = catalogue.groups();
                let states = groups.iter().map(|group| group.name.as_str()).collect::<Vec<_>>().join(", ");
                let noun = if groups.len() == 1 { "hidden state" } else { "hidden states" };
                let of_one = single.map(|(_, dim)| format!(", or {dim} of the one that --layers names"));
                let (of_one, found) = (of_one.unwrap_or_default(), row.len());
                return Err(invalid(format!(
                    "expected {total} values, those of the {noun} {states}{of_one}, found {found}"
                )));
            }
        };
        check(space, &dims, &values).map_err(|reason| match count {
            1 => invalid(reason),
            _ => invalid(format!("segment {index}: {reason}")),
        })?;
        segments.push(SeedSegment { start: 0.0, end: 0.0, values });
    }
    Ok(Seed::Vectors { label, duration: None, segments, metadata: BTreeMap::new() })
}

/// Checks the vectors of all groups, of `dims` values: finite, and not all zero where a group counts.
fn check(space: &Space<'_>, dims: &[usize], values: &[f32]) -> Result<(), String> {
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        return Err(format!("expected finite values of 32 bits, found {} at index {at}", values[at]));
    }
    for &(group, _) in &space.geometry().weights {
        let first: usize = dims[..group].iter().sum();
        if values[first..first + dims[group]].iter().all(|&value| value == 0.0) {
            let name = &space.catalogue().groups()[group].name;
            return Err(format!("the vector of hidden state {name} is zero, and has no direction to compare"));
        }
    }
    Ok(())
}

/// The rows of a `.npy` array: floats of 16, 32 or 64 bits in either byte order and either order of the axes.
fn npy_rows(bytes: &[u8]) -> Result<Vec<Vec<f32>>, String> {
    let file = check_npy_header(bytes).and_then(|()| NpyFile::new(bytes)).map_err(|error| {
        match bytes.starts_with(b"\x93NUMPY") {
            true => format!("the header of the .npy file is cut or damaged: {error}"),
            false => "expected a .npy file, or JSON in a file whose name ends in .json".to_string(),
        }
    })?;
    let (shape, kind) = (file.shape().to_vec(), file.dtype().descr());
    let is_fortran = file.order() == npyz::Order::Fortran;
    let data = file.into_inner();
    let kind = kind.trim_matches('\'').to_string();
    let (size, value): (usize, fn(&[u8]) -> f64) = match kind.as_str() {
        "<f2" => (2, |bytes| f16::from_le_bytes(array(bytes)).to_f64()),
        ">f2" => (2, |bytes| f16::from_be_bytes(array(bytes)).to_f64()),
        "<f4" => (4, |bytes| f64::from(f32::from_le_bytes(array(bytes)))),
        ">f4" => (4, |bytes| f64::from(f32::from_be_bytes(array(bytes)))),
        "<f8" => (8, |bytes| f64::from_le_bytes(array(bytes))),
        ">f8" => (8, |bytes| f64::from_be_bytes(array(bytes))),
        _ if kind.contains(['i', 'u']) => {
            return Err(format!(
                "expected f16, f32 or f64, found {kind}: integers are codes of a quantized vector, whose scale the file does \
                 not have; save the vector as floats"
            ));
        }
        _ => return Err(format!("expected f16, f32 or f64, found {}", excerpt(&kind))),
    };
    let (rows, columns) = match shape[..] {
        [columns] => (1, columns),
        // A column vector, which has a value for each row.
        [rows, 1] => (1, rows),
        [rows, columns] => (rows, columns),
        _ => return Err(format!("expected the shape (values,) or (segments, values), found {shape:?}")),
    };
    let expected = rows.checked_mul(columns).and_then(|values| values.checked_mul(size as u64));
    if expected != Some(data.len() as u64) {
        let is_cut = expected.is_some_and(|expected| expected > data.len() as u64);
        let reason = if is_cut { "; the file may be cut" } else { "" };
        return Err(format!("the shape {shape:?} of {kind} does not fit the {} bytes of values{reason}", data.len()));
    }
    if rows == 0 || columns == 0 {
        return Err(format!("the shape {shape:?} has no values"));
    }
    // The file is as long as the shape says, so both fit.
    let (rows, columns) = (rows as usize, columns as usize);
    let (row_step, column_step) = if is_fortran { (1, rows) } else { (columns, 1) };
    let at = |row: usize, column: usize| {
        let start = size * (row * row_step + column * column_step);
        value(&data[start..start + size]) as f32
    };
    Ok((0..rows).map(|row| (0..columns).map(|column| at(row, column)).collect()).collect())
}

/// The first bytes as an array; zeros where there are fewer.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

fn json_rows(bytes: &[u8]) -> Result<Vec<Vec<f32>>, String> {
    let invalid = |error: serde_json::Error| match error.is_eof() {
        true => format!("the JSON ends too early, the file may be cut: {error}"),
        false => format!("expected a list of numbers, or a list of such lists: {error}"),
    };
    // The first list within the list says which of the two it is, so that an error is about that one.
    let is_nested = bytes.iter().filter(|byte| !byte.is_ascii_whitespace()).nth(1) == Some(&b'[');
    let rows = match is_nested {
        true => serde_json::from_slice::<Vec<Vec<f32>>>(bytes).map_err(invalid)?,
        false => vec![serde_json::from_slice::<Vec<f32>>(bytes).map_err(invalid)?],
    };
    match rows.is_empty() {
        true => Err("expected at least one vector, found an empty list".into()),
        false => Ok(rows),
    }
}
