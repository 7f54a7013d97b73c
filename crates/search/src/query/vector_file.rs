//! Vectors from files: a `.npy` array or a JSON list, as other programs write them.

use std::collections::BTreeMap;
use std::path::Path;

use npyz::NpyFile;

use super::seed::{Seed, SeedSegment};
use crate::space::Space;
use crate::{Result, SearchError};

/// A seed of the vectors in the file at `path`: `.npy` with f32 or f64, or JSON, of the shape `(values,)` or
/// `(segments, values)`. The values are those of all hidden states of the catalogue, one after the other, or if the space
/// weights only one of them, of that one.
///
/// # Errors
/// [`SearchError::Io`], and [`SearchError::Query`] for another shape or values that are not finite.
pub fn read_vectors(space: &Space<'_>, path: &Path) -> Result<Seed> {
    let label = mert_table::escape(path);
    let bytes = std::fs::read(path).map_err(SearchError::io(path))?;
    let invalid = |reason: String| SearchError::Query(format!("{}: {reason}", mert_table::printable_path(path)));
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let rows = if is_json { json_rows(&bytes) } else { npy_rows(&bytes) }.map_err(&invalid)?;
    let catalogue = space.catalogue();
    let dims: Vec<usize> = catalogue.groups().iter().map(|group| group.dim).collect();
    let total: usize = dims.iter().sum();
    let single = match space.geometry().weights[..] {
        [(group, _)] => Some((dims[..group].iter().sum::<usize>(), dims[group])),
        _ => None,
    };
    let mut segments = Vec::with_capacity(rows.len());
    for row in rows {
        let values: Vec<f32> = match single {
            _ if row.len() == total => row,
            Some((first, dim)) if row.len() == dim => {
                let mut values = vec![0.0; total];
                values[first..first + dim].copy_from_slice(&row);
                values
            }
            _ => {
                let states = catalogue.groups().iter().map(|group| group.name.as_str()).collect::<Vec<_>>().join(", ");
                let of_one = single.map(|(_, dim)| format!(", or {dim} of the one that --layers names"));
                let (of_one, found) = (of_one.unwrap_or_default(), row.len());
                return Err(invalid(format!(
                    "expected {total} values, those of the hidden states {states}{of_one}, found {found}"
                )));
            }
        };
        segments.push(SeedSegment { start: 0.0, end: 0.0, values });
    }
    Ok(Seed::Vectors { label, duration: None, segments, metadata: BTreeMap::new() })
}

fn npy_rows(bytes: &[u8]) -> Result<Vec<Vec<f32>>, String> {
    let open = || NpyFile::new(bytes).map_err(|error| format!("not a .npy file: {error}"));
    let file = open()?;
    let (shape, kind) = (file.shape().to_vec(), file.dtype().descr());
    if file.order() != npyz::Order::C {
        return Err("expected an array in C order".into());
    }
    let values: Vec<f32> = match kind.as_str() {
        "'<f4'" => file.into_vec::<f32>().map_err(|error| error.to_string())?,
        "'<f8'" => {
            let values = file.into_vec::<f64>().map_err(|error| error.to_string())?;
            values.into_iter().map(|value| value as f32).collect()
        }
        _ => return Err(format!("expected f32 or f64, found {kind}")),
    };
    match shape[..] {
        [_] => Ok(vec![values]),
        [_, dim] if dim > 0 => Ok(values.chunks(dim as usize).map(<[f32]>::to_vec).collect()),
        _ => Err(format!("expected the shape (values,) or (segments, values), found {shape:?}")),
    }
}

fn json_rows(bytes: &[u8]) -> Result<Vec<Vec<f32>>, String> {
    if let Ok(row) = serde_json::from_slice::<Vec<f32>>(bytes) {
        return Ok(vec![row]);
    }
    serde_json::from_slice::<Vec<Vec<f32>>>(bytes)
        .map_err(|error| format!("expected a list of numbers, or a list of such lists: {error}"))
}
