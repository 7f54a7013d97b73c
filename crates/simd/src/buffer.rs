//! Aligned buffers: the numbers that all other memory of the engine is made of.

use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, Zeroable};
use memmap2::MmapMut;

/// Floats in one cache line, and in one group of the packed layouts.
pub const LINE: usize = 16;

/// The size in bytes from which a buffer is a memory map of its own, on huge pages where the system has them: the
/// panels and tiles of a product lie too far apart for the TLB to hold the small pages of all of them.
const HUGE: usize = 1 << 21;

#[repr(C, align(64))]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct CacheLine([u8; 64]);

/// Zero-initialised numbers that start on a cache line: a vector load that straddles two lines costs two loads.
#[derive(Debug)]
pub struct Buffer<T = f32> {
    storage: Storage,
    len: usize,
    element: std::marker::PhantomData<T>,
}

#[derive(Debug)]
enum Storage {
    Lines(Vec<CacheLine>),
    Map(MmapMut),
}

impl<T: Pod> Buffer<T> {
    /// `len` zeros.
    pub fn zeroed(len: usize) -> Self {
        Buffer { storage: Storage::zeroed(len * size_of::<T>()), len, element: std::marker::PhantomData }
    }

    /// The first `len` numbers, with any values.
    pub fn take(&mut self, len: usize) -> &mut [T] {
        self.reserve(len);
        &mut self[..len]
    }

    /// Makes room for `len` numbers. The values are kept only if the buffer was large enough.
    pub fn reserve(&mut self, len: usize) {
        if self.len < len {
            *self = Buffer::zeroed(len);
        }
    }
}

impl Storage {
    fn zeroed(bytes: usize) -> Self {
        if bytes >= HUGE
            && let Ok(map) = MmapMut::map_anon(bytes)
        {
            // A refusal is harmless: small pages are only slower.
            #[cfg(target_os = "linux")]
            let _ = map.advise(memmap2::Advice::HugePage);
            return Storage::Map(map);
        }
        Storage::Lines(bytemuck::zeroed_vec(bytes.div_ceil(size_of::<CacheLine>())))
    }
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Buffer { storage: Storage::Lines(Vec::new()), len: 0, element: std::marker::PhantomData }
    }
}

impl<T: Pod> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let numbers: &[T] = match &self.storage {
            Storage::Lines(lines) => bytemuck::cast_slice(lines),
            Storage::Map(map) => bytemuck::cast_slice(&map[..self.len * size_of::<T>()]),
        };
        &numbers[..self.len]
    }
}

impl<T: Pod> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let numbers: &mut [T] = match &mut self.storage {
            Storage::Lines(lines) => bytemuck::cast_slice_mut(lines),
            Storage::Map(map) => bytemuck::cast_slice_mut(&mut map[..self.len * size_of::<T>()]),
        };
        &mut numbers[..self.len]
    }
}

impl From<&[f32]> for Buffer {
    fn from(values: &[f32]) -> Self {
        let mut buffer = Buffer::zeroed(values.len());
        buffer.copy_from_slice(values);
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_on_a_cache_line_at_any_size() {
        for len in [0, 1, 17, 1000, HUGE / 4 - 1, HUGE / 4, HUGE] {
            let mut buffer = Buffer::<f32>::default();
            assert_eq!(buffer.take(len).len(), len);
            assert!(buffer.iter().all(|&x| x == 0.0));
            assert_eq!(buffer.as_ptr() as usize % 64, 0);
            buffer.fill(1.0);
            assert_eq!(
                buffer.take(len / 2).iter().sum::<f32>(),
                (len / 2) as f32,
                "a buffer that is large enough is not replaced"
            );
        }
    }
}
