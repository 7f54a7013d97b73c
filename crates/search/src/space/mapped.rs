//! The rows of a catalogue as a learned metric maps them, in f32 and of length 1: in `cache/`, a file for each part.

use rayon::prelude::*;

use super::cache::cached;
use super::{Space, sum};
use crate::vectors::{Derived, Level};

impl Space<'_> {
    /// The mapped rows of each part.
    pub(super) fn mapped_rows(&self, level: Level) -> Derived {
        let key = self.geometry_key();
        let name = format!("metric.{}.{}", level.name(), key.as_deref().unwrap_or_default());
        let load = || {
            let vectors = self.catalogue.vectors(level, self.geometry.weights[0].0);
            let parts = vectors.parts().zip(&self.catalogue.manifest().parts);
            let part = |((start, matrix), entry): ((usize, _), &crate::catalogue::PartEntry)| {
                let matrix: &std::sync::Arc<crate::vectors::Matrix> = matrix;
                let rows = matrix.rows();
                // A part that was compacted has the same name and other rows.
                let digest = entry.files.values().map(|file| file.sha256.as_str()).collect::<Vec<_>>().concat();
                let digest = &mert_fs::sha256_bytes(digest.as_bytes())[..16];
                let path =
                    key.as_ref().map(|_| self.cache_path(&format!("{name}.{}-{digest}.safetensors", entry.name)));
                let dim = self.mapped_dim();
                cached(path.as_deref(), rows, dim, || {
                    let map = |row| sum(&self.point(level, row).groups).into_iter().map(|value| value as f32);
                    let mapped: Vec<Vec<f32>> =
                        (start..start + rows).into_par_iter().map(|row| map(row).collect()).collect();
                    mapped.concat()
                })
            };
            parts.map(part).collect()
        };
        match key {
            Some(_) => self.catalogue.derived().get(&name, load),
            None => std::sync::Arc::new(load()),
        }
    }

    /// The number of values that the metric returns.
    pub(super) fn mapped_dim(&self) -> usize {
        self.geometry.metric.as_ref().map_or(0, |metric| metric.outputs())
    }
}
