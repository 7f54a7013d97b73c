//! Lengths of rows in a geometry, which a scan needs: kept in `index/` of each part, in files that anybody may delete.
//!
//! `norms.LEVEL.COLUMN.STATISTICS-GEOMETRY.safetensors` has two f32 for each row `x`: `1 / |P(x − μ)|` (0 where that is 0), and
//! `(|x| + |μ|) / |P(x − μ)|`, rounded up, by which errors of a scan are bounded. `STATISTICS` is the start of the digest of
//! the catalogue's statistics, `GEOMETRY` is `raw`, `centered`, or `without-K` components.

use std::fs;
use std::path::Path;

use rayon::prelude::*;

use super::cache::cached;
use super::placement::{Placement, norm};
use crate::catalogue::Catalogue;
use crate::scan::is_regular;
use crate::vectors::{Derived, DerivedRows, Level, Matrix};

/// The rows whose lengths one task computes.
const TASK: usize = 1024;

/// The lengths of the rows of a group at `level`, placed by `placement`, of which `key` is the name.
pub(super) fn norms(catalogue: &Catalogue, level: Level, group: usize, placement: &Placement, key: &str) -> Derived {
    let column = &catalogue.groups()[group].column;
    let prefix = format!("norms.{}.{column}.", level.name());
    catalogue.derived().get(&format!("{prefix}{key}"), || {
        let parts = catalogue.vectors(level, group).parts().zip(&catalogue.manifest().parts);
        let norms = parts.map(|((_, matrix), entry)| {
            let index = catalogue.folder().join("parts").join(&entry.name).join("index");
            part_norms(&index, &prefix, matrix, placement, key)
        });
        norms.collect()
    })
}

fn part_norms(index: &Path, prefix: &str, matrix: &Matrix, placement: &Placement, key: &str) -> DerivedRows {
    let path = index.join(format!("{prefix}{key}.safetensors"));
    let norms = cached(Some(&path), matrix.rows(), 2, || compute(matrix, placement));
    remove_others(index, prefix, key);
    norms
}

/// Removes the files of other statistics.
fn remove_others(index: &Path, prefix: &str, key: &str) {
    let Some((statistics, _)) = key.split_once('-') else { return };
    for entry in fs::read_dir(index).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(other) = name.to_str().and_then(|name| name.strip_prefix(prefix)) else { continue };
        if other.contains('-') && !other.starts_with(statistics) {
            // Whoever writes next tries again.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The inverse length and the spread of each row.
pub(crate) fn compute(matrix: &Matrix, placement: &Placement) -> Vec<f32> {
    let mean = norm(&placement.mean);
    let mut norms = vec![0.0; 2 * matrix.rows()];
    norms.par_chunks_mut(2 * TASK).enumerate().for_each(|(task, norms)| {
        let mut centered = Vec::with_capacity(matrix.dim());
        let mut row_values = Vec::with_capacity(matrix.dim());
        for (index, norms) in norms.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            let row = matrix.row(TASK * task + index);
            row_values.clear();
            row_values.extend(row.iter().map(|&value| f64::from(value)));
            placement.center_row(row, &mut centered);
            *norms = inverse_and_spread(norm(&row_values), mean, norm(&centered));
        }
    });
    norms
}

/// The inverse length and the spread of a row of length `row` whose placed vector has the length `centered`.
fn inverse_and_spread(row: f64, mean: f64, centered: f64) -> [f32; 2] {
    if centered == 0.0 {
        // Its score is 0, exactly.
        [0.0, 0.0]
    } else if is_regular(row, mean, centered) {
        [(1.0 / centered) as f32, (((row + mean) / centered) as f32).next_up()]
    } else {
        [0.0, f32::INFINITY]
    }
}
