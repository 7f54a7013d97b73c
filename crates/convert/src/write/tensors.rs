use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use half::f16;
use mert_arch::Dtype;
use rayon::prelude::*;

use mert_checkpoint::Source;
use mert_fs::{FsError, MappedFile, Writeback, write_all_at};

use crate::{ConvertError, Result, Step, transform};

/// A tensor of the output and where its bytes go.
#[derive(Debug, Clone)]
pub(super) struct Placed<'p> {
    pub(super) step: &'p Step,
    /// The type in which it is stored: its step's, or f32, into which any of them is widened exactly.
    pub(super) stored: Dtype,
    /// Where its first byte is in the file.
    pub(super) offset: usize,
}

impl Placed<'_> {
    /// The bytes of the file that are its own.
    pub(super) fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.byte_len()
    }

    /// Bytes in the file.
    pub(super) fn byte_len(&self) -> usize {
        self.step.shape.iter().product::<usize>() * self.stored.size()
    }

    /// Runs its step; `sink` is given the bytes to store, in pieces, in order.
    fn execute(&self, source: &Source, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        if self.stored == self.step.cast.to {
            return transform::execute(self.step, source.checkpoint(), sink);
        }
        debug_assert!(self.step.cast.to == Dtype::F16 && self.stored == Dtype::F32);
        let mut widened = Vec::new();
        transform::execute(self.step, source.checkpoint(), &mut |bytes| {
            widened.clear();
            widened
                .extend(bytes.as_chunks().0.iter().flat_map(|&half| f16::from_le_bytes(half).to_f32().to_le_bytes()));
            sink(&widened)
        })
    }
}

/// A file that is being written, under a name of its own until it is whole.
pub(super) struct Target<'a> {
    pub(super) file: &'a File,
    pub(super) path: &'a Path,
    /// The name that it will have, for errors.
    pub(super) output: &'a Path,
    pub(super) writeback: &'a Writeback,
}

impl Target<'_> {
    /// Writes bytes at an offset.
    pub(super) fn write_at(&self, bytes: &[u8], offset: usize) -> Result<()> {
        Ok(write_all_at(self.file, bytes, offset as u64).map_err(|source| FsError::write(self.output, source))?)
    }

    /// The file as it is on the disk.
    pub(super) fn reopen(&self) -> Result<MappedFile> {
        Ok(MappedFile::open(self.path).map_err(|source| FsError::write(self.output, source))?)
    }
}

/// As [`write_tensors`], while one of the threads computes the checkpoint's SHA-256, which is returned.
pub(super) fn write_tensors_and_hash(
    tensors: &[Placed<'_>],
    source: &Source,
    target: &Target<'_>,
    progress: &(dyn Fn(&Step) + Sync),
) -> Result<String> {
    let failed = AtomicBool::new(false);
    let (written, source_sha256) = rayon::join(
        || write_tensors(tensors, source, target, progress).inspect_err(|_| failed.store(true, Ordering::Relaxed)),
        || source.sha256(&failed),
    );
    written?;
    // Only a failure cancels it.
    Ok(source_sha256.unwrap_or_default())
}

/// Writes every tensor to its place, a tensor on each thread of the current rayon pool, opens the file again
/// and compares it with checksums of what was written. Of several errors the one that comes first in the order
/// of `tensors` is returned.
///
/// A tensor that the reader has to gather is in memory as a whole, but never two at a time.
pub(super) fn write_tensors(
    tensors: &[Placed<'_>],
    source: &Source,
    target: &Target<'_>,
    progress: &(dyn Fn(&Step) + Sync),
) -> Result<()> {
    let whole_tensor = Mutex::new(());
    let write = |tensor: &Placed<'_>| -> Result<u32> {
        let in_place = tensor.step.input.keys().iter().all(|key| source.checkpoint().is_in_place(key));
        let _turn = (!in_place).then(|| whole_tensor.lock().unwrap_or_else(PoisonError::into_inner));
        let (mut checksum, mut offset) = (crc32fast::Hasher::new(), tensor.offset);
        tensor.execute(source, &mut |bytes| {
            checksum.update(bytes);
            target.write_at(bytes, offset)?;
            offset += bytes.len();
            target.writeback.wrote(bytes.len() as u64);
            Ok(())
        })?;
        progress(tensor.step);
        Ok(checksum.finalize())
    };
    let mut checksums = vec![0u32; tensors.len()];
    let error = tensors
        .par_iter()
        .zip(&mut checksums)
        .with_max_len(1)
        .find_map_first(|(tensor, checksum)| write(tensor).map(|found| *checksum = found).err());
    if let Some(error) = error {
        return Err(error);
    }

    let written = target.reopen()?;
    let differs = |(tensor, checksum): (&Placed<'_>, &u32)| {
        let found = written.range(tensor.range()).map(|bytes| crc32fast::hash(&bytes));
        (found != Some(*checksum)).then(|| format!("tensor `{}` has another checksum", tensor.step.output))
    };
    match tensors.par_iter().zip(&checksums).find_map_first(differs) {
        Some(reason) => Err(ConvertError::ReadBack { path: target.output.to_path_buf(), reason }),
        None => Ok(()),
    }
}
