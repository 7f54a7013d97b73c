//! The writer of GGUF files, which candle's quantized models and ggml read: parallel, with the same bytes on any number of
//! threads.
//!
//! - this file: the writing; `format.rs`: the bytes of the header; `metadata.rs`: the metadata.
//! - `blocks.rs`: the plan of a file with quantized matrices.

mod blocks;
mod format;
mod metadata;

use std::fs::File;
use std::path::Path;

use mert_arch::{KNOWN_CHECKPOINTS, Layout};
use mert_fs::{AtomicFile, FsError, Writeback};

use self::format::{ALIGNMENT, TensorInfo, TensorType, header};
use self::metadata::{entries, pad};
use super::delta_kept::check_delta_kept;
use super::output::{Written, refuse_input_as_output};
use super::safetensors::SafetensorsFile;
use super::target::{PreparedOutput, Target, WriteJob};
use super::tensors::{OutputFile, OutputTensor, WrittenTensors, write_tensors_and_hash};
use crate::plan::{Plan, PlanOptions, Step};
use crate::transform::{GgmlBlocks, Transform};
use crate::{ConvertError, Result};

/// A GGUF file, for candle's quantized models.
#[derive(Debug, Clone, Copy)]
pub struct Gguf;

impl Target for Gguf {
    fn check_output(&self, output: &Path, force: bool) -> Result<()> {
        SafetensorsFile.check_output(output, force)
    }

    fn layout(&self, requested: Option<Layout>) -> Result<Layout> {
        let reason = "is for safetensors files: GGUF has PyTorch's and candle's order; leave it out";
        match requested {
            Some(Layout::Mlx) => Err(ConvertError::TargetOption { option: "--layout mlx", reason }),
            Some(Layout::Torch) | None => Ok(Layout::Torch),
        }
    }

    fn group_size(&self, bits: usize) -> Option<usize> {
        (bits == 8).then_some(GgmlBlocks::LEN)
    }

    fn check_options(&self, options: &PlanOptions) -> Result<()> {
        let Some(quantize) = &options.quantize else { return Ok(()) };
        blocks::of(quantize.default, options.dtype).map(drop)
    }

    fn refine(&self, plan: Plan) -> Result<Plan> {
        blocks::refine(plan)
    }

    fn prepare<'p>(&self, plan: &'p Plan) -> Result<Box<dyn PreparedOutput + 'p>> {
        // A library may have left `refine` out.
        match plan.steps.iter().find(|step| step.outputs.len() != 1) {
            Some(step) => Err(ConvertError::gguf(format!("`{}` is not in blocks of ggml", step.name))),
            None => Ok(Box::new(Prepared { plan })),
        }
    }
}

/// A file of a plan.
struct Prepared<'p> {
    plan: &'p Plan,
}

impl PreparedOutput for Prepared<'_> {
    fn tensor_count(&self) -> usize {
        self.plan.steps.len()
    }

    fn byte_len(&self) -> usize {
        self.plan.byte_len()
    }

    fn form(&self) -> String {
        "GGUF".into()
    }

    fn details(&self) -> Vec<String> {
        Vec::new()
    }

    /// Runs as the writer of safetensors files does, with a few pieces of a tensor in memory on each thread. Tensors lie in the
    /// order of their names, as in their list.
    fn write(&self, job: &WriteJob<'_>) -> Result<Written> {
        refuse_input_as_output(self.plan, job.source, job.output)?;
        let file = AtomicFile::create(job.output, job.force)?;
        let temporary = file.temporary_path();
        let mut written = write_file(self.plan, job, file.file(), temporary)?;
        written.fidelity = job.inspect(temporary)?;
        file.commit()?;
        Ok(written)
    }
}

/// Executes a plan into `file`, which is at `temporary` until the output is complete.
fn write_file(plan: &Plan, job: &WriteJob<'_>, file: &File, temporary: &Path) -> Result<Written> {
    let &WriteJob { source, output, on_step, .. } = job;
    let tensors: Vec<TensorInfo<'_>> = plan.steps.iter().map(tensor_info).collect();
    // The header comes first in the file and holds the digest, which is known last.
    let start = reserved_len(plan, &tensors);
    let (placed, end) = output_tensors(plan, start);
    Writeback::during(file, |writeback| {
        let target = OutputFile { file, path: temporary, output, writeback };
        let WrittenTensors { source_sha256, delta_kept } = write_tensors_and_hash(&placed, source, &target, on_step)?;
        plan.check_source(&source_sha256)?;
        check_delta_kept(plan.min_delta_kept, delta_kept.as_ref())?;
        let head = padded_header(plan, &tensors, &source_sha256, start);
        target.write_at(&head, 0)?;
        file.set_len(end as u64).map_err(|source| FsError::write(output, source))?;
        if target.reopen()?.bytes().get(..head.len()) != Some(&head[..]) {
            return Err(ConvertError::read_back(output, "its header differs"));
        }
        Ok(Written { bytes: end as u64, source_sha256, fidelity: None, delta_kept })
    })
    .map_err(|source| FsError::write(output, source))?
}

/// A step's tensor in the list.
fn tensor_info(step: &Step) -> TensorInfo<'_> {
    TensorInfo { name: &step.name, shape: &step.shape, kind: tensor_type(step), byte_len: step.byte_len() }
}

/// The type in which a step's tensor is stored.
fn tensor_type(step: &Step) -> TensorType {
    match step.chain.last() {
        Some(Transform::GgmlBlocks(blocks)) => TensorType::Blocks(*blocks),
        _ => TensorType::Float(step.cast().to),
    }
}

/// The type of the first linear layer that is quantized, or else of the floats.
fn type_of_matrices(plan: &Plan) -> TensorType {
    let mut types = plan.steps.iter().map(tensor_type);
    types.find(|kind| matches!(kind, TensorType::Blocks(_))).unwrap_or(TensorType::Float(plan.dtype))
}

/// The plan's tensors with their positions in a file whose data begins at `start`, and the end of the file.
fn output_tensors(plan: &Plan, start: usize) -> (Vec<OutputTensor<'_>>, usize) {
    let (mut tensors, mut end) = (Vec::new(), start);
    for step in &plan.steps {
        tensors.push(OutputTensor { step, rows: None, stored: step.cast().to, offsets: vec![end] });
        end += step.byte_len().next_multiple_of(ALIGNMENT);
    }
    (tensors, end)
}

/// The header for a source with this digest, without padding.
fn header_of(plan: &Plan, tensors: &[TensorInfo<'_>], source_sha256: &str, spaces: usize) -> Vec<u8> {
    let metadata = plan.metadata(source_sha256.to_string());
    let own = plan.metadata_entries(source_sha256.to_string());
    let mut entries = entries(&metadata, type_of_matrices(plan), own);
    pad(&mut entries, spaces);
    header(&entries, tensors)
}

/// The position of the data: the length of the longest header, rounded up. Only the SHA-256 of the source is unknown before the
/// tensors are written. Every SHA-256 has the same length, but that of a known checkpoint adds a licence.
fn reserved_len(plan: &Plan, tensors: &[TensorInfo<'_>]) -> usize {
    let unknown = "0".repeat(64);
    let digests = KNOWN_CHECKPOINTS.iter().map(|known| known.sha256).chain([unknown.as_str()]);
    let lengths = digests.map(|sha256| header_of(plan, tensors, sha256, 0).len());
    lengths.max().unwrap_or_default().next_multiple_of(ALIGNMENT)
}

/// The header of exactly `len` bytes. The format allows for no more than its alignment between the list of tensors and their
/// data, so that the rest is spaces after the configuration's JSON.
fn padded_header(plan: &Plan, tensors: &[TensorInfo<'_>], source_sha256: &str, len: usize) -> Vec<u8> {
    let shortest = header_of(plan, tensors, source_sha256, 0).len();
    header_of(plan, tensors, source_sha256, len.saturating_sub(shortest))
}

#[cfg(test)]
mod tests {
    use mert_arch::{ModelConfig, inventory};

    use super::format::MAX_NAME;

    #[test]
    fn the_format_has_room_for_every_name_and_shape() {
        for family in ModelConfig::all() {
            let mut config = family.default_config();
            config.num_hidden_layers = 1000;
            for spec in inventory(&config) {
                assert!(spec.name.len() <= MAX_NAME && spec.shape.len() <= 4, "{spec:?}");
            }
        }
    }
}
