//! The rows in f16 that a catalogue has beside those in f32.

use std::path::PathBuf;

use crate::catalogue::Catalogue;
use crate::vectors::{HalfMatrix, Halves, Level};
use crate::{Result, SearchError};

/// Writes the vectors of all parts in f16 beside those in f32, for scans that read half as much and return the same. Parts
/// that have them already are left as they are; deleting `index/half.*` undoes it.
///
/// # Errors
/// [`crate::SearchError::Query`] for values beyond the range of f16, and those of writing.
pub fn build_half(catalogue: &Catalogue) -> Result<()> {
    for (group, mean) in catalogue.statistics().means.iter().enumerate() {
        for level in [Level::Tracks, Level::Segments] {
            let paths = paths(catalogue, level, group);
            for ((_, matrix), path) in catalogue.vectors(level, group).parts().zip(paths) {
                if HalfMatrix::open(&path, matrix.rows(), matrix.dim()).is_none() {
                    HalfMatrix::write(&path, matrix, mean)?;
                }
            }
        }
    }
    Ok(())
}

/// Removes what [`build_half`] wrote.
///
/// # Errors
/// [`crate::SearchError::Io`].
pub fn remove_half(catalogue: &Catalogue) -> Result<()> {
    for group in 0..catalogue.groups().len() {
        for path in [Level::Tracks, Level::Segments].into_iter().flat_map(|level| paths(catalogue, level, group)) {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(SearchError::io(&path)(error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// For each part its rows in f16, if it has them.
pub(super) fn halves(catalogue: &Catalogue, level: Level, group: usize) -> Halves {
    catalogue.derived().halves(level, group, || {
        let paths = paths(catalogue, level, group);
        let parts = catalogue.vectors(level, group).parts().zip(paths);
        parts.map(|((_, matrix), path)| HalfMatrix::open(&path, matrix.rows(), matrix.dim())).collect()
    })
}

fn paths(catalogue: &Catalogue, level: Level, group: usize) -> Vec<PathBuf> {
    let name = format!("half.{}.{}.safetensors", level.name(), catalogue.groups()[group].column);
    let parts = catalogue.folder().join("parts");
    catalogue.manifest().parts.iter().map(|entry| parts.join(&entry.name).join("index").join(&name)).collect()
}
