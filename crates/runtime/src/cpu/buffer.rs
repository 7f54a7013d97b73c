use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, Zeroable};

/// Floats in one cache line, and in one group of the packed layouts.
pub(crate) const LINE: usize = 16;

#[repr(C, align(64))]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Line([f32; LINE]);

/// Zero-initialised floats that start on a cache line: a vector load that straddles two lines costs
/// two.
#[derive(Debug, Clone, Default)]
pub(crate) struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    pub(crate) fn zeroed(len: usize) -> Self {
        Buffer { lines: bytemuck::zeroed_vec(len.div_ceil(LINE)), len }
    }

    /// `len` floats of whatever was there before.
    pub(crate) fn take(&mut self, len: usize) -> &mut [f32] {
        if self.len < len {
            *self = Buffer::zeroed(len);
        }
        &mut self[..len]
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

impl From<&[f32]> for Buffer {
    fn from(values: &[f32]) -> Self {
        let mut buffer = Buffer::zeroed(values.len());
        buffer.copy_from_slice(values);
        buffer
    }
}
