use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use mert_spec::{Dtype, Metadata};
use rayon::prelude::*;
use serde::Serialize;

use super::atomic::{AtomicFile, write_error};
use super::positional::write_all_at;
use super::writeback::Writeback;
use crate::reader::MappedFile;
use crate::reader::safetensors::read_header;
use crate::{ConvertError, Plan, Result, Source, Step, transform};

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Size of the output.
    pub bytes: u64,
    /// SHA-256 of the checkpoint, in hexadecimal.
    pub source_sha256: String,
}

/// Executes a plan into a safetensors file; `progress` is told each step as it is done.
///
/// It runs on the threads of the current rayon pool: one hashes the checkpoint, the others take a tensor at a
/// time and write it to where it belongs. Tensors lie in the order of their names and the metadata is sorted,
/// so the same checkpoint and plan give the same bytes on any number of threads, and of several errors the
/// one that comes first in that order is returned. (The `safetensors` crate's own writer takes the metadata
/// in the order of a hash map, which differs from run to run.)
///
/// Each thread has a few pieces of a tensor in memory, see [`transform::execute`]. A tensor that the reader
/// has to gather is there as a whole, but never two at a time.
///
/// # Errors
/// [`ConvertError`]; `output` is then as it was before.
pub fn safetensors(
    plan: &Plan,
    source: &Source,
    output: &Path,
    force: bool,
    progress: &(dyn Fn(&Step) + Sync),
) -> Result<Written> {
    refuse_input_as_output(source, output)?;
    let file = AtomicFile::create(output, force)?;
    let write =
        |data_start, writeback: &Writeback| write_tensors(plan, source, output, &file, writeback, data_start, progress);

    // The header comes first in the file and holds the digest, which takes longest. It is as long with any
    // other digest, unless a licence goes with that.
    let expected = header(plan, &plan.metadata(source.likely_sha256())).len();
    let failed = AtomicBool::new(false);
    let done: Result<_> = Writeback::during(file.file(), |writeback| {
        let (written, source_sha256) = rayon::join(
            || write(expected, writeback).inspect_err(|_| failed.store(true, Ordering::Relaxed)),
            || source.sha256(&failed),
        );
        written?;
        let metadata = plan.metadata(source_sha256.unwrap_or_default());
        let header = header(plan, &metadata);
        if header.len() != expected {
            write(header.len(), writeback)?;
        }
        Ok((header, metadata))
    })
    .map_err(|source| write_error(output, source))?;
    let (header, metadata) = done?;
    let bytes = (header.len() + plan.byte_len()) as u64;
    write_all_at(file.file(), &header, 0)
        .and_then(|()| file.file().set_len(bytes))
        .map_err(|source| write_error(output, source))?;
    check_header(plan, &metadata, &reopen(&file, output)?)
        .map_err(|reason| ConvertError::ReadBack { path: output.to_path_buf(), reason })?;
    file.commit()?;
    Ok(Written { bytes, source_sha256: metadata.source_sha256 })
}

/// Writes every tensor behind a header of `data_start` bytes, opens the file again and compares it with
/// checksums of what was written.
fn write_tensors(
    plan: &Plan,
    source: &Source,
    output: &Path,
    file: &AtomicFile,
    writeback: &Writeback,
    data_start: usize,
    progress: &(dyn Fn(&Step) + Sync),
) -> Result<()> {
    let whole_tensor = Mutex::new(());
    let write = |step: &Step, mut offset: usize| -> Result<u32> {
        let in_place = step.input.keys().iter().all(|key| source.checkpoint().is_in_place(key));
        let _turn = (!in_place).then(|| whole_tensor.lock().unwrap_or_else(PoisonError::into_inner));
        let mut checksum = crc32fast::Hasher::new();
        transform::execute(step, source.checkpoint(), &mut |bytes| {
            checksum.update(bytes);
            write_all_at(file.file(), bytes, offset as u64).map_err(|source| write_error(output, source))?;
            offset += bytes.len();
            writeback.wrote(bytes.len() as u64);
            Ok(())
        })?;
        progress(step);
        Ok(checksum.finalize())
    };
    let mut end = data_start;
    let mut tensors: Vec<(&Step, std::ops::Range<usize>, u32)> = Vec::with_capacity(plan.steps.len());
    for step in &plan.steps {
        tensors.push((step, end..end + step.byte_len(), 0));
        end += step.byte_len();
    }
    let error = tensors
        .par_iter_mut()
        .with_max_len(1)
        .find_map_first(|(step, range, checksum)| write(step, range.start).map(|found| *checksum = found).err());
    if let Some(error) = error {
        return Err(error);
    }

    let written = reopen(file, output)?;
    let differs = |(step, range, checksum): &(&Step, std::ops::Range<usize>, u32)| {
        let found = written.once(range.clone()).map(|bytes| crc32fast::hash(&bytes));
        (found != Some(*checksum)).then(|| format!("tensor `{}` has another checksum", step.output))
    };
    match tensors.par_iter().find_map_first(differs) {
        Some(reason) => Err(ConvertError::ReadBack { path: output.to_path_buf(), reason }),
        None => Ok(()),
    }
}

fn reopen(file: &AtomicFile, output: &Path) -> Result<MappedFile> {
    MappedFile::open(file.temporary_path()).map_err(|source| write_error(output, source))
}

fn refuse_input_as_output(source: &Source, output: &Path) -> Result<()> {
    let Ok(output_file) = fs::canonicalize(output) else { return Ok(()) };
    let same = |input: &Path| fs::canonicalize(input).is_ok_and(|input| input == output_file);
    if source.files.iter().any(|file| same(file)) {
        return Err(ConvertError::OutputIsInput { path: output.to_path_buf() });
    }
    Ok(())
}

#[derive(Serialize)]
struct HeaderEntry<'a> {
    dtype: &'static str,
    shape: &'a [usize],
    data_offsets: [usize; 2],
}

/// The length, then the JSON, padded with spaces so that the data starts at a multiple of 8
/// (<https://github.com/huggingface/safetensors#format>).
fn header(plan: &Plan, metadata: &Metadata) -> Vec<u8> {
    let mut entries = BTreeMap::new();
    let mut offset = 0;
    for step in &plan.steps {
        let end = offset + step.byte_len();
        let dtype = match step.cast.to {
            Dtype::F16 => "F16",
            Dtype::Bf16 => "BF16",
            Dtype::F32 => "F32",
        };
        entries.insert(&step.output, HeaderEntry { dtype, shape: &step.shape, data_offsets: [offset, end] });
        offset = end;
    }

    #[derive(Serialize)]
    struct Header<'a> {
        #[serde(rename = "__metadata__")]
        metadata: BTreeMap<String, String>,
        #[serde(flatten)]
        tensors: BTreeMap<&'a String, HeaderEntry<'a>>,
    }
    // Strings, numbers and lists under string keys always serialise.
    let mut json = serde_json::to_vec(&Header { metadata: metadata.to_map(), tensors: entries }).unwrap_or_default();
    json.resize(json.len().next_multiple_of(8), b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.append(&mut json);
    header
}

/// The `safetensors` crate must find in the file the tensors and the metadata that were planned.
fn check_header(plan: &Plan, metadata: &Metadata, file: &MappedFile) -> Result<(), String> {
    let (header, _) = read_header(file.bytes())?;
    let lookup = |key: &str| header.metadata().as_ref()?.get(key).map(String::as_str);
    if Metadata::from_lookup(lookup).ok().as_ref() != Some(metadata) {
        return Err("its metadata is another".into());
    }
    let tensors = header.tensors();
    if tensors.len() != plan.steps.len() {
        return Err(format!("it has {} tensors, expected {}", tensors.len(), plan.steps.len()));
    }
    for step in &plan.steps {
        if tensors.get(&step.output).is_none_or(|found| found.shape != step.shape) {
            return Err(format!("tensor `{}` is another", step.output));
        }
    }
    Ok(())
}
