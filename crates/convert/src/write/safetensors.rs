//! The writer of safetensors files (<https://github.com/huggingface/safetensors#format>): parallel, with the same bytes on
//! any number of threads.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use mert_arch::KNOWN_CHECKPOINTS;
use mert_checkpoint::{Source, read_header};
use mert_fs::{AtomicFile, FsError, MappedFile, Writeback};
use serde::Serialize;

use super::delta_kept::{DeltaKept, check_delta_kept};
use super::output::{Written, refuse_input_as_output};
use super::target::{PreparedOutput, Target, WriteJob, no_inspection};
use super::tensors::{Origin, OutputFile, OutputTensor, WrittenTensors, write_files_and_hash};
use crate::plan::{Plan, Step};
use crate::{ConvertError, Result};

/// One safetensors file: for this toolkit, or for a program that loads a single file.
#[derive(Debug, Clone, Copy)]
pub struct SafetensorsFile;

impl Target for SafetensorsFile {
    fn check_output(&self, output: &Path, force: bool) -> Result<()> {
        let path = output.to_path_buf();
        if output.exists() && !output.is_file() {
            return Err(FsError::OutputNotAFile { path }.into());
        }
        if output.exists() && !force {
            return Err(FsError::OutputExists { path }.into());
        }
        Ok(())
    }

    fn prepare<'p>(&self, plan: &'p Plan) -> Result<Box<dyn PreparedOutput + 'p>> {
        Ok(Box::new(Prepared { plan }))
    }
}

/// Writes one file without a check of its own, as [`SafetensorsFile`] does.
///
/// # Errors
/// [`ConvertError`]; `output` is then as it was before.
pub fn safetensors(
    plan: &Plan,
    source: &Source,
    output: &Path,
    force: bool,
    on_step: &(dyn Fn(&Step) + Sync),
) -> Result<Written> {
    Prepared { plan }.write(&WriteJob { source, output, force, on_step, inspect: &no_inspection })
}

/// A file of a plan.
struct Prepared<'p> {
    plan: &'p Plan,
}

impl PreparedOutput for Prepared<'_> {
    fn tensor_count(&self) -> usize {
        tensor_count(self.plan)
    }

    fn byte_len(&self) -> usize {
        self.plan.byte_len()
    }

    fn form(&self) -> String {
        form(self.plan)
    }

    fn details(&self) -> Vec<String> {
        Vec::new()
    }

    /// One thread of the pool hashes the checkpoint, the others take a tensor at a time and write it to its place in the file.
    /// Tensors lie in the order of their element sizes and names and the metadata is sorted. Of several errors, the first in
    /// the order of names is returned. (The `safetensors` crate's own writer takes the metadata in the order of a hash map,
    /// which differs from run to run.)
    ///
    /// Each thread has a few pieces of a tensor in memory, see `execute/`. A tensor that the reader has to gather is in memory
    /// as a whole, but never two at a time.
    fn write(&self, job: &WriteJob<'_>) -> Result<Written> {
        refuse_input_as_output(self.plan, job.source, job.output)?;
        let file = AtomicFile::create(job.output, job.force)?;
        let temporary = file.temporary_path();
        let weights = WeightsFile { contents: Contents::all(self.plan), file: file.file(), path: temporary };
        let mut written = write_files(self.plan, job, &[weights])?;
        written.fidelity = job.inspect(temporary)?;
        file.commit()?;
        Ok(written)
    }
}

/// The number of tensors in a file of a plan.
pub(super) fn tensor_count(plan: &Plan) -> usize {
    plan.steps.iter().map(|step| step.outputs.len()).sum::<usize>() + plan.counters.len()
}

/// The program or the layout of a plan.
pub(super) fn form(plan: &Plan) -> String {
    plan.program.map_or_else(|| format!("layout {}", plan.layout), |program| format!("for {program}"))
}

/// The tensors of one file: all of a plan's, or those of a shard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contents<'p> {
    pub(crate) steps: &'p [Step],
    /// The names of the 64-bit integers.
    pub(crate) counters: &'p [String],
}

impl<'p> Contents<'p> {
    /// All of a plan's tensors.
    pub(super) fn all(plan: &'p Plan) -> Self {
        Contents { steps: &plan.steps, counters: &plan.counters }
    }

    /// The number of bytes, without the header.
    pub(crate) fn byte_len(&self) -> usize {
        self.steps.iter().map(Step::byte_len).sum::<usize>() + self.counters.len() * COUNTER_LEN
    }

    /// The names of what is stored.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'p str> {
        let outputs = self.steps.iter().flat_map(|step| &step.outputs).map(|output| output.name.as_str());
        outputs.chain(self.counters.iter().map(String::as_str))
    }
}

/// A file of weights that is being written.
pub(crate) struct WeightsFile<'a> {
    pub(crate) contents: Contents<'a>,
    pub(crate) file: &'a File,
    /// The path until the output is complete.
    pub(crate) path: &'a Path,
}

/// The entries of the `__metadata__` of a file, by its number and the digest of the checkpoint.
pub(crate) type FileMetadata<'a> = dyn Fn(usize, &str) -> BTreeMap<String, String> + Sync + 'a;

/// Files of weights and what they are written from.
pub(crate) struct WeightsJob<'a> {
    pub(crate) origin: Origin<'a>,
    /// The path of the output, for errors.
    pub(crate) output: &'a Path,
    pub(crate) on_step: &'a (dyn Fn(&Step) + Sync),
    pub(crate) metadata: &'a FileMetadata<'a>,
    /// The digests that give metadata of different lengths.
    pub(crate) possible_digests: &'a [String],
    /// Refuses the output for the digest, or for what the weights have of an adapter's changes.
    pub(crate) check: &'a dyn Fn(&str, Option<&DeltaKept>) -> Result<()>,
}

/// What is known of written files of weights.
pub(crate) struct WrittenWeights {
    /// The size of each file in bytes.
    pub(crate) file_bytes: Vec<u64>,
    pub(crate) digest: String,
    pub(crate) delta_kept: Option<DeltaKept>,
}

/// Executes a plan into files, which together have all of its tensors. Each has the plan's metadata.
pub(super) fn write_files(plan: &Plan, job: &WriteJob<'_>, weights: &[WeightsFile<'_>]) -> Result<Written> {
    let written = write_weights(
        &WeightsJob {
            origin: Origin { checkpoint: job.source.checkpoint(), digest: &|cancelled| job.source.sha256(cancelled) },
            output: job.output,
            on_step: job.on_step,
            metadata: &|_, digest| plan.metadata_entries(digest.to_string()),
            possible_digests: &possible_digests(),
            check: &|digest, delta_kept| {
                plan.check_source(digest)?;
                check_delta_kept(plan.min_delta_kept, delta_kept)
            },
        },
        weights,
    )?;
    let WrittenWeights { file_bytes, digest, delta_kept } = written;
    Ok(Written { bytes: file_bytes.iter().sum(), source_sha256: digest, fidelity: None, delta_kept })
}

/// Writes the tensors of all files in parallel, their headers after them, and reads everything back.
///
/// # Errors
/// [`ConvertError`]; the files are then incomplete.
pub(crate) fn write_weights(job: &WeightsJob<'_>, weights: &[WeightsFile<'_>]) -> Result<WrittenWeights> {
    let output = job.output;
    // The header comes first in a file and holds the digest, which is known last.
    let json_lens: Vec<usize> = (0..).zip(weights).map(|(i, file)| reserved_json_len(job, i, &file.contents)).collect();
    let files: Vec<&File> = weights.iter().map(|file| file.file).collect();
    Writeback::during_all(&files, |writeback| {
        let target = |&WeightsFile { file, path, .. }| OutputFile { file, path, output, writeback };
        let targets: Vec<OutputFile<'_>> = weights.iter().map(target).collect();
        let placed: Vec<Vec<OutputTensor<'_>>> =
            weights.iter().zip(&json_lens).map(|(file, &json_len)| output_tensors(&file.contents, json_len)).collect();
        let parts: Vec<_> = placed.iter().map(Vec::as_slice).zip(&targets).collect();
        let WrittenTensors { source_sha256: digest, delta_kept } =
            write_files_and_hash(&parts, job.origin, job.on_step)?;
        (job.check)(&digest, delta_kept.as_ref())?;
        let mut file_bytes = Vec::new();
        for (number, ((file, target), &json_len)) in weights.iter().zip(&targets).zip(&json_lens).enumerate() {
            let (contents, metadata) = (&file.contents, (job.metadata)(number, &digest));
            let mut head = header(contents, &metadata, json_len);
            // The counters are zero.
            head.resize(data_start(contents, json_len), 0);
            target.write_at(&head, 0)?;
            let len = (LENGTH_LEN + json_len + contents.byte_len()) as u64;
            file.file.set_len(len).map_err(|source| FsError::write(output, source))?;
            check_header(contents, &metadata, &target.reopen()?)
                .map_err(|reason| ConvertError::read_back(output, reason))?;
            file_bytes.push(len);
        }
        Ok(WrittenWeights { file_bytes, digest, delta_kept })
    })
    .map_err(|source| FsError::write(output, source))?
}

/// The position of the first tensor of a step, after the header and the counters.
fn data_start(contents: &Contents<'_>, json_len: usize) -> usize {
    LENGTH_LEN + json_len + contents.counters.len() * COUNTER_LEN
}

/// The tensors in the plan's order, and their positions in a file whose header's JSON has this length.
fn output_tensors<'p>(contents: &Contents<'p>, json_len: usize) -> Vec<OutputTensor<'p>> {
    let start = data_start(contents, json_len);
    let place = |(step, offsets): (_, Vec<usize>)| OutputTensor {
        step,
        rows: None,
        stored: step.cast().to,
        offsets: offsets.into_iter().map(|offset| start + offset).collect(),
    };
    contents.steps.iter().zip(data_offsets(contents)).map(place).collect()
}

/// The size in bytes of the file that [`safetensors`] writes, its header included.
pub fn safetensors_len(plan: &Plan) -> usize {
    let contents = Contents::all(plan);
    file_len(&contents, possible_digests().into_iter().map(|digest| plan.metadata_entries(digest)))
}

/// The digests of known checkpoints, which have a licence, and one that no checkpoint has.
fn possible_digests() -> Vec<String> {
    KNOWN_CHECKPOINTS.iter().map(|known| known.sha256.to_string()).chain(["0".repeat(64)]).collect()
}

/// The size in bytes of a file whose metadata is one of these, its header included.
pub(crate) fn file_len(contents: &Contents<'_>, metadata: impl Iterator<Item = BTreeMap<String, String>>) -> usize {
    LENGTH_LEN + padded_json_len(contents, metadata) + contents.byte_len()
}

/// The positions of each step's outputs after the counters: wider elements come first, so that all are aligned, and then
/// the order is that of the names, as in files of the `safetensors` crate.
fn data_offsets(contents: &Contents<'_>) -> Vec<Vec<usize>> {
    let mut offsets: Vec<Vec<usize>> = contents.steps.iter().map(|step| vec![0; step.outputs.len()]).collect();
    let outputs = contents.steps.iter().enumerate();
    let mut order: Vec<_> =
        outputs.flat_map(|(i, step)| step.outputs.iter().enumerate().map(move |(j, output)| (i, j, output))).collect();
    order.sort_by_key(|(_, _, output)| (Reverse(output.dtype.size()), &output.name));
    let mut end = 0;
    for (i, j, output) in order {
        offsets[i][j] = end;
        end += output.byte_len();
    }
    offsets
}

#[derive(Serialize)]
struct HeaderEntry<'a> {
    dtype: &'static str,
    shape: &'a [usize],
    data_offsets: [usize; 2],
}

/// The size of a counter in bytes: a 64-bit integer. Counters come first in the data, where they are aligned.
const COUNTER_LEN: usize = 8;

/// The size of the length that precedes the header's JSON, in bytes.
const LENGTH_LEN: usize = 8;

/// The length to which the header's JSON is padded: that of the longest metadata, rounded up so that the data starts
/// at a multiple of 8. Only the digest of the source is unknown before the tensors are written. Every SHA-256 has the same
/// length, but that of a known checkpoint adds a licence.
fn reserved_json_len(job: &WeightsJob<'_>, number: usize, contents: &Contents<'_>) -> usize {
    padded_json_len(contents, job.possible_digests.iter().map(|digest| (job.metadata)(number, digest)))
}

/// The padded length of a header's JSON with the longest of these metadata.
fn padded_json_len(contents: &Contents<'_>, metadata: impl Iterator<Item = BTreeMap<String, String>>) -> usize {
    metadata.map(|metadata| header_json(contents, &metadata).len()).max().unwrap_or_default().next_multiple_of(8)
}

/// The header: the length of its JSON, then the JSON, padded with spaces to `json_len`, as the format allows.
fn header(contents: &Contents<'_>, metadata: &BTreeMap<String, String>, json_len: usize) -> Vec<u8> {
    let mut json = header_json(contents, metadata);
    json.resize(json.len().max(json_len), b' ');
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.append(&mut json);
    header
}

/// The header's JSON without padding.
fn header_json(contents: &Contents<'_>, metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let mut entries = BTreeMap::new();
    let mut offset = 0;
    for counter in contents.counters {
        let end = offset + COUNTER_LEN;
        entries.insert(counter, HeaderEntry { dtype: "I64", shape: &[], data_offsets: [offset, end] });
        offset = end;
    }
    for (step, offsets) in contents.steps.iter().zip(data_offsets(contents)) {
        for (output, start) in step.outputs.iter().zip(offsets) {
            let data_offsets = [offset + start, offset + start + output.byte_len()];
            let entry = HeaderEntry { dtype: output.dtype.name(), shape: &output.shape, data_offsets };
            entries.insert(&output.name, entry);
        }
    }

    #[derive(Serialize)]
    struct Header<'a> {
        #[serde(rename = "__metadata__")]
        metadata: &'a BTreeMap<String, String>,
        #[serde(flatten)]
        tensors: BTreeMap<&'a String, HeaderEntry<'a>>,
    }
    // Strings, numbers and lists under string keys can always be serialised.
    serde_json::to_vec(&Header { metadata, tensors: entries }).unwrap_or_default()
}

/// Checks that the `safetensors` crate finds the planned tensors and metadata in a file.
///
/// # Errors
/// The difference, as a clause.
fn check_header(contents: &Contents<'_>, metadata: &BTreeMap<String, String>, file: &MappedFile) -> Result<(), String> {
    let (header, _) = read_header(file.bytes())?;
    let found: BTreeMap<String, String> = header.metadata().clone().unwrap_or_default().into_iter().collect();
    if found != *metadata {
        return Err("its metadata differs".into());
    }
    let tensors = header.tensors();
    let outputs = || contents.steps.iter().flat_map(|step| &step.outputs);
    let expected = contents.names().count();
    if tensors.len() != expected {
        return Err(format!("it has {} tensors, expected {expected}", tensors.len()));
    }
    for output in outputs() {
        let found = tensors.get(&output.name);
        if found.is_none_or(|found| found.shape != output.shape || found.dtype.to_string() != output.dtype.name()) {
            return Err(format!("tensor `{}` is missing or of another shape or type", output.name));
        }
    }
    Ok(())
}
