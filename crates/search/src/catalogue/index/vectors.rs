//! Writing the cached vectors of a part, track by track, so that memory does not grow with the table.

use std::fs;
use std::path::{Path, PathBuf};

use super::npy::NpyWriter;
use super::record::Record;
use super::{TIMES, matrix_name};
use crate::catalogue::Group;
use crate::vectors::Level;
use crate::{Result, SearchError};

/// The cached vectors of a part that are being written.
pub(in crate::catalogue) struct VectorsWriter<'a> {
    folder: PathBuf,
    groups: &'a [Group],
    /// For each group the vectors of tracks and of segments.
    matrices: Vec<[NpyWriter<f32>; 2]>,
    times: NpyWriter<f64>,
    /// Values per row, and the mean of a track.
    width: usize,
    mean: Vec<f32>,
}

impl<'a> VectorsWriter<'a> {
    /// Starts files in `folder`, which is created.
    pub(in crate::catalogue) fn create(folder: &Path, groups: &'a [Group]) -> Result<Self> {
        fs::create_dir_all(folder).map_err(SearchError::io(folder))?;
        let matrix = |level, group: &Group| NpyWriter::create(&folder.join(matrix_name(level, group)), group.dim);
        let matrices = groups.iter().map(|group| Ok([matrix(Level::Tracks, group)?, matrix(Level::Segments, group)?]));
        Ok(VectorsWriter {
            folder: folder.to_path_buf(),
            groups,
            matrices: matrices.collect::<Result<_>>()?,
            times: NpyWriter::create(&folder.join(TIMES), 2)?,
            width: groups.iter().map(|group| group.dim).sum(),
            mean: Vec::new(),
        })
    }

    /// Adds a track: start and end of each segment, and the vectors of all segments, those of all groups of a segment one
    /// after the other.
    pub(in crate::catalogue) fn push(&mut self, times: &[(f64, f64)], values: &[f32]) -> Result<()> {
        let VectorsWriter { folder, groups, matrices, width, mean, .. } = self;
        let mut offset = 0;
        let write = || {
            for (group, [tracks, segments]) in groups.iter().zip(matrices) {
                let rows = || values.chunks_exact(*width).map(|row| &row[offset..offset + group.dim]);
                rows().try_for_each(|row| segments.push(row))?;
                self::mean(rows(), group.dim, mean);
                tracks.push(mean)?;
                offset += group.dim;
            }
            times.iter().try_for_each(|&(start, end)| self.times.push(&[start, end]))
        };
        write().map_err(SearchError::io(folder))
    }

    /// Writes the files to the end and their record; `source` is the digest of the table that the rows are from.
    pub(in crate::catalogue) fn finish(self, source: &str) -> Result<()> {
        let VectorsWriter { folder, groups, matrices, times, .. } = self;
        let failed = || SearchError::io(&folder);
        let mut record = Record::default();
        for (group, [tracks, segments]) in groups.iter().zip(matrices) {
            record.files.insert(matrix_name(Level::Tracks, group), tracks.finish(source).map_err(failed())?);
            record.files.insert(matrix_name(Level::Segments, group), segments.finish(source).map_err(failed())?);
        }
        record.files.insert(TIMES.to_string(), times.finish(source).map_err(failed())?);
        record.write(&folder)
    }
}

/// The mean of vectors of `dim` values, summed in f64 and rounded to f32.
pub(in crate::catalogue) fn mean<'r>(rows: impl Iterator<Item = &'r [f32]>, dim: usize, mean: &mut Vec<f32>) {
    let (mut sum, mut count) = (vec![0.0f64; dim], 0.0);
    for row in rows {
        sum.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        count += 1.0;
    }
    mean.clear();
    mean.extend(sum.iter().map(|sum| (sum / count) as f32));
}
