//! The frames of k-means, in memory or in a mapped file.

use std::ops::{Deref, Range};

use mert_fs::{MappedBytes, MappedFile};

/// Frames `(rows, dim)`, one after the other, in memory or in a mapped file.
#[derive(Debug, Clone, Copy)]
pub struct Frames<'a> {
    values: &'a [f32],
    dim: usize,
    /// The file of the values, and the byte at which they start.
    file: Option<(&'a MappedFile, usize)>,
}

/// Consecutive frames. Those of a mapped file leave the process's memory when it is dropped.
pub(crate) struct Block<'a> {
    frames: Frames<'a>,
    _pages: Option<MappedBytes<'a>>,
}

impl<'a> Frames<'a> {
    /// The frames in `values`, of `dim` values each; `None` if they are not whole frames.
    pub fn new(values: &'a [f32], dim: usize) -> Option<Self> {
        (dim > 0 && values.len().is_multiple_of(dim)).then_some(Frames { values, dim, file: None })
    }

    /// The frames in the bytes `range` of a file, little-endian, of `dim` values each; `None` if the bytes are not whole
    /// frames, do not start at a multiple of four, or the file is shorter.
    pub fn mapped(file: &'a MappedFile, range: Range<usize>, dim: usize) -> Option<Self> {
        let start = range.start;
        let values = bytemuck::try_cast_slice(file.bytes().get(range)?).ok()?;
        // A processor of the other byte order would have to convert them.
        let frames = Frames::new(values, dim).filter(|_| cfg!(target_endian = "little"))?;
        Some(Frames { file: Some((file, start)), ..frames })
    }

    /// The number of frames.
    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The length of a frame.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Frame `row`, which exists.
    pub fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.dim..][..self.dim]
    }

    /// All values.
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    /// The frames `rows`, which exist, copied.
    pub(crate) fn copied(&self, rows: &[usize]) -> Vec<f32> {
        let mut values = Vec::with_capacity(rows.len() * self.dim);
        // Few enough rows at a time that the pages around them are no burden.
        for rows in rows.chunks(1024) {
            rows.iter().for_each(|&row| values.extend_from_slice(self.row(row)));
            self.release();
        }
        values
    }

    /// Consecutive blocks of at most `rows` frames.
    pub(crate) fn blocks(&self, rows: usize) -> impl Iterator<Item = Block<'a>> {
        let Frames { values, dim, file } = *self;
        let size = rows * dim;
        values.chunks(size).enumerate().map(move |(block, values)| {
            let bytes = |start: usize| start + block * size * 4..start + (block * size + values.len()) * 4;
            let pages = file.and_then(|(file, start)| file.range(bytes(start)));
            Block { frames: Frames { values, dim, file: None }, _pages: pages }
        })
    }

    /// Removes the frames of a mapped file from the process's memory, until they are read again.
    fn release(&self) {
        if let Some((file, start)) = self.file {
            drop(file.range(start..start + size_of_val(self.values)));
        }
    }
}

impl<'a> Deref for Block<'a> {
    type Target = Frames<'a>;

    fn deref(&self) -> &Frames<'a> {
        &self.frames
    }
}
