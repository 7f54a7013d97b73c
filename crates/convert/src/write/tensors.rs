//! The writing of tensors into files: in parallel, checked by reading back.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use half::f16;
use mert_arch::{Dtype, StoredTensor};
use mert_checkpoint::{Checkpoint, Source};
use mert_fs::{FsError, MappedFile, Writeback, write_all_at};
use rayon::prelude::*;

use super::delta_kept::{DeltaKept, LayerDelta};
use crate::execute::{DeltaSums, Sink, execute};
use crate::plan::Step;
use crate::{ConvertError, Result};

/// A tensor of the model and the positions in the file of the tensors that store it.
#[derive(Debug, Clone)]
pub(super) struct OutputTensor<'p> {
    pub(super) step: &'p Step,
    /// The rows of the step's output that are stored, in order; `None` for all of them once.
    pub(super) rows: Option<Arc<[usize]>>,
    /// The stored float type: the step's, or f32, to which any type is widened exactly.
    pub(super) stored: Dtype,
    /// The position of the first byte in the file of each of the step's outputs.
    pub(super) offsets: Vec<usize>,
}

impl OutputTensor<'_> {
    /// The ranges in the file of the stored tensors.
    pub(super) fn ranges(&self) -> Vec<Range<usize>> {
        let lengths = self.stored_tensors().into_iter().map(|tensor| tensor.byte_len());
        self.offsets.iter().zip(lengths).map(|(&offset, length)| offset..offset + length).collect()
    }

    /// The stored tensors.
    pub(super) fn stored_tensors(&self) -> Vec<StoredTensor> {
        let mut tensors = self.step.outputs.clone();
        if self.is_widened() {
            tensors.iter_mut().for_each(|tensor| tensor.dtype = self.stored.into());
        }
        if let Some(rows) = &self.rows {
            tensors.iter_mut().filter_map(|tensor| tensor.shape.first_mut()).for_each(|first| *first = rows.len());
        }
        tensors
    }

    /// The shape of the tensor with the stored rows.
    pub(super) fn shape(&self) -> Vec<usize> {
        let mut shape = self.step.shape.clone();
        if let (Some(first), Some(rows)) = (shape.first_mut(), &self.rows) {
            *first = rows.len();
        }
        shape
    }

    /// The number of bytes in the file.
    pub(super) fn byte_len(&self) -> usize {
        self.stored_tensors().iter().map(StoredTensor::byte_len).sum()
    }

    fn is_widened(&self) -> bool {
        self.stored != self.step.cast().to
    }

    /// Runs the step and passes the bytes to store to `sink`, in pieces, in order.
    /// Returns what is stored of the change if an adapter is merged.
    pub(super) fn execute(&self, checkpoint: &dyn Checkpoint, sink: &mut Sink<'_>) -> Result<Option<DeltaSums>> {
        let Some(rows) = &self.rows else {
            return self.execute_whole(checkpoint, sink);
        };
        let mut table = Vec::new();
        let delta = self.execute_whole(checkpoint, &mut |_, bytes| {
            table.extend_from_slice(bytes);
            Ok(())
        })?;
        let row_len = self.step.shape.iter().skip(1).product::<usize>() * self.stored.size();
        let stored: Vec<u8> = rows.iter().flat_map(|row| &table[row * row_len..][..row_len]).copied().collect();
        sink(0, &stored)?;
        Ok(delta)
    }

    fn execute_whole(&self, checkpoint: &dyn Checkpoint, sink: &mut Sink<'_>) -> Result<Option<DeltaSums>> {
        if !self.is_widened() {
            return execute(self.step, checkpoint, sink);
        }
        debug_assert!(self.step.cast().to == Dtype::F16 && self.stored == Dtype::F32);
        let mut widened = Vec::new();
        execute(self.step, checkpoint, &mut |output, bytes| {
            widened.clear();
            widened
                .extend(bytes.as_chunks().0.iter().flat_map(|&half| f16::from_le_bytes(half).to_f32().to_le_bytes()));
            sink(output, &widened)
        })
    }
}

/// A file that is being written under a temporary name.
pub(super) struct OutputFile<'a> {
    pub(super) file: &'a File,
    /// The temporary path.
    pub(super) path: &'a Path,
    /// The final path of the output, for errors.
    pub(super) output: &'a Path,
    pub(super) writeback: &'a Writeback,
}

impl OutputFile<'_> {
    /// Writes bytes at an offset.
    pub(super) fn write_at(&self, bytes: &[u8], offset: usize) -> Result<()> {
        Ok(write_all_at(self.file, bytes, offset as u64).map_err(|source| FsError::write(self.output, source))?)
    }

    /// A new mapping of the file, which reads it back.
    pub(super) fn reopen(&self) -> Result<MappedFile> {
        Ok(MappedFile::open(self.path).map_err(|source| FsError::write(self.output, source))?)
    }
}

/// Where the tensors of a conversion come from.
#[derive(Clone, Copy)]
pub(crate) struct Origin<'a> {
    pub(crate) checkpoint: &'a dyn Checkpoint,
    /// Computes what is recorded of the checkpoint's bytes, such as their SHA-256; `None` if the flag is set before it is known.
    pub(crate) digest: &'a (dyn Fn(&AtomicBool) -> Option<String> + Sync),
}

/// What is known after all tensors were written.
pub(super) struct WrittenTensors {
    /// The digest of the checkpoint, in hexadecimal.
    pub(super) source_sha256: String,
    /// What the weights have of an adapter's changes; `None` without an adapter.
    pub(super) delta_kept: Option<DeltaKept>,
}

/// Writes as [`write_files_and_hash`] does, all tensors into one file.
pub(super) fn write_tensors_and_hash(
    tensors: &[OutputTensor<'_>],
    source: &Source,
    target: &OutputFile<'_>,
    on_step: &(dyn Fn(&Step) + Sync),
) -> Result<WrittenTensors> {
    let origin = Origin { checkpoint: source.checkpoint(), digest: &|cancelled| source.sha256(cancelled) };
    write_files_and_hash(&[(tensors, target)], origin, on_step)
}

/// Writes as [`write_tensors`] does while one of the threads computes the checkpoint's digest.
pub(super) fn write_files_and_hash(
    files: &[(&[OutputTensor<'_>], &OutputFile<'_>)],
    origin: Origin<'_>,
    on_step: &(dyn Fn(&Step) + Sync),
) -> Result<WrittenTensors> {
    let failed = AtomicBool::new(false);
    let (written, source_sha256) = rayon::join(
        || write_tensors(files, origin.checkpoint, on_step).inspect_err(|_| failed.store(true, Ordering::Relaxed)),
        || (origin.digest)(&failed),
    );
    let delta_kept = DeltaKept::new(written?);
    // Only a failure cancels the digest.
    Ok(WrittenTensors { source_sha256: source_sha256.unwrap_or_default(), delta_kept })
}

/// A tensor and the number of its file.
type InFile<'a, 'p> = (usize, &'a OutputTensor<'p>);

/// The checksums of what stores a tensor, and what it has of an adapter's changes.
type WrittenTensor = (Vec<u32>, Option<DeltaSums>);

/// Writes the tensors of all files to their places, a tensor on each thread of the current rayon pool, opens the files again and
/// compares them with checksums of the written bytes. Of several errors, the first in the order of the tensors is returned.
/// Returns what the weights have of an adapter's changes.
///
/// A tensor that the reader has to gather is in memory as a whole, but never two at a time.
fn write_tensors(
    files: &[(&[OutputTensor<'_>], &OutputFile<'_>)],
    checkpoint: &dyn Checkpoint,
    on_step: &(dyn Fn(&Step) + Sync),
) -> Result<Vec<LayerDelta>> {
    let whole_tensor = Mutex::new(());
    let write = |(file, tensor): InFile<'_, '_>| -> Result<WrittenTensor> {
        let (_, target) = files[file];
        let mut keys = tensor.step.inputs.iter().map(|input| input.key.as_str());
        let in_place = keys.all(|key| checkpoint.is_in_place(key));
        let _guard = (!in_place).then(|| whole_tensor.lock().unwrap_or_else(PoisonError::into_inner));
        let mut ends: Vec<_> = tensor.offsets.iter().map(|&offset| (crc32fast::Hasher::new(), offset)).collect();
        let delta = tensor.execute(checkpoint, &mut |output, bytes| {
            let (checksum, offset) = &mut ends[output];
            checksum.update(bytes);
            target.write_at(bytes, *offset)?;
            *offset += bytes.len();
            target.writeback.wrote(bytes.len() as u64);
            Ok(())
        })?;
        on_step(tensor.step);
        Ok((ends.into_iter().map(|(checksum, _)| checksum.finalize()).collect(), delta))
    };
    let tensors: Vec<InFile<'_, '_>> =
        files.iter().enumerate().flat_map(|(i, (tensors, _))| tensors.iter().map(move |tensor| (i, tensor))).collect();
    let mut results: Vec<WrittenTensor> = vec![(Vec::new(), None); tensors.len()];
    let error = tensors
        .par_iter()
        .zip(&mut results)
        .with_max_len(1)
        .find_map_first(|(&tensor, result)| write(tensor).map(|found| *result = found).err());
    if let Some(error) = error {
        return Err(error);
    }

    let written = files.iter().map(|(_, target)| target.reopen()).collect::<Result<Vec<_>>>()?;
    let differs = |((file, tensor), (checksums, _)): (&InFile<'_, '_>, &WrittenTensor)| {
        let bytes_of = |range| written[*file].range(range);
        let differs = |(range, checksum)| bytes_of(range).map(|bytes| crc32fast::hash(&bytes)) != Some(checksum);
        let at = tensor.ranges().into_iter().zip(checksums.iter().copied()).position(differs)?;
        let reason = format!("tensor `{}` has a different checksum", tensor.step.outputs[at].name);
        Some(ConvertError::read_back(files[*file].1.output, reason))
    };
    if let Some(error) = tensors.par_iter().zip(&results).find_map_first(differs) {
        return Err(error);
    }
    let delta = |((_, tensor), (_, delta)): (&InFile<'_, '_>, &WrittenTensor)| {
        Some(LayerDelta { name: tensor.step.name.clone(), kept: delta.as_ref()?.kept() })
    };
    Ok(tensors.iter().zip(&results).filter_map(delta).collect())
}
