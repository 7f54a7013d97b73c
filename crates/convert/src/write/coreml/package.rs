//! The folder of a Core ML package: program, weights and manifest.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use mert_arch::Layout;
use mert_checkpoint::Source;
use mert_fs::{AtomicFolder, FsError, MappedFile, Writeback, check_folder_output};
use prost::Message;
use serde::Serialize;

use super::blob;
use super::inline::InlineWeight;
use super::options::CoreMlOptions;
use super::program::{CoreMlProgram, coreml_program};
use crate::plan::{Plan, PlanOptions, Step};
use crate::write::delta_kept::check_delta_kept;
use crate::write::output::{Written, refuse_input_as_output};
use crate::write::target::{PreparedOutput, Target, WriteJob, no_inspection};
use crate::write::tensors::{OutputFile, WrittenTensors, write_tensors_and_hash};
use crate::{ConvertError, Result};

/// The kind of folder that may be replaced, for messages.
const PACKAGE: &str = "a Core ML package (a folder with Manifest.json and Data/com.apple.CoreML)";

const MANIFEST: &str = "Manifest.json";
const MODEL: &str = "com.apple.CoreML/model.mlmodel";
const WEIGHTS: &str = "com.apple.CoreML/weights";

/// A Core ML package, `NAME.mlpackage`.
#[derive(Debug, Clone, Default)]
pub struct CoreMlPackage {
    /// The clip lengths, hidden states and deployment target.
    pub options: CoreMlOptions,
}

impl Target for CoreMlPackage {
    fn check_output(&self, output: &Path, force: bool) -> Result<()> {
        Ok(check_folder_output(output, force, PACKAGE, is_package).map(drop)?)
    }

    fn layout(&self, requested: Option<Layout>) -> Result<Layout> {
        let reason = "is for safetensors files: a Core ML package has only one layout; leave it out";
        match requested {
            Some(_) => Err(ConvertError::TargetOption { option: "--layout", reason }),
            None => Ok(Layout::Torch),
        }
    }

    fn check_options(&self, options: &PlanOptions) -> Result<()> {
        let reason = "is for safetensors files: a Core ML package returns hidden states; leave it out";
        match options.keep_final_proj {
            true => Err(ConvertError::TargetOption { option: "--keep", reason }),
            false => Ok(()),
        }
    }

    fn prepare<'p>(&self, plan: &'p Plan) -> Result<Box<dyn PreparedOutput + 'p>> {
        Ok(Box::new(coreml_program(plan, &self.options)?))
    }
}

impl PreparedOutput for CoreMlProgram<'_> {
    fn tensor_count(&self) -> usize {
        CoreMlProgram::tensor_count(self)
    }

    fn byte_len(&self) -> usize {
        CoreMlProgram::byte_len(self)
    }

    fn form(&self) -> String {
        let above = self.plan.steps.len() - CoreMlProgram::tensor_count(self);
        match above {
            0 => "a Core ML package".into(),
            _ => format!("a Core ML package, {above} above the highest layer left out"),
        }
    }

    fn details(&self) -> Vec<String> {
        let compressed = self
            .plan
            .compression
            .map(|compression| format!("{} linear layers compressed to {compression}", self.compressed_count()));
        compressed.into_iter().chain([self.summary()]).collect()
    }

    fn write(&self, job: &WriteJob<'_>) -> Result<Written> {
        write(self, job)
    }
}

/// Writes a package without a check of its own, as [`CoreMlPackage`] does.
///
/// # Errors
/// [`ConvertError`]; `output` is then as it was before.
pub fn coreml(
    program: &CoreMlProgram<'_>,
    source: &Source,
    output: &Path,
    force: bool,
    on_step: &(dyn Fn(&Step) + Sync),
) -> Result<Written> {
    write(program, &WriteJob { source, output, force, on_step, inspect: &no_inspection })
}

/// Writes a program and the weights that it uses as a package. Everything is read back before the package is renamed to the
/// output's name.
fn write(program: &CoreMlProgram<'_>, job: &WriteJob<'_>) -> Result<Written> {
    let &WriteJob { source, output, force, on_step, .. } = job;
    refuse_input_as_output(program.plan, source, output)?;
    let folder = AtomicFolder::create(output, force, PACKAGE, is_package)?;
    let data = folder.temporary_path().join("Data");
    let weights = data.join(WEIGHTS);
    // Not all at once: that would create the temporary folder again if a signal has just removed it.
    for folder in [&data, &data.join("com.apple.CoreML"), &weights] {
        fs::create_dir(folder).map_err(|source| FsError::write(output, source))?;
    }
    let weights = weights.join("weight.bin");
    let file = File::create_new(&weights).map_err(|source| FsError::write(output, source))?;
    let written: Result<_> = Writeback::during(&file, |writeback| {
        let target = OutputFile { file: &file, path: &weights, output, writeback };
        write_weights(program, source, &target, on_step)
    })
    .map_err(|source| FsError::write(output, source))?;
    let WrittenTensors { source_sha256, delta_kept } = written?;
    program.plan.check_source(&source_sha256)?;
    check_delta_kept(program.plan.min_delta_kept, delta_kept.as_ref())?;
    file.sync_all().map_err(|source| FsError::write(output, source))?;

    let inline = |weight: &InlineWeight<'_>| weight.value(source).inspect(|_| on_step(weight.tensor.step));
    let inline = program.inline().iter().map(inline).collect::<Result<_>>()?;
    let encoded = program.model(source_sha256.clone(), inline).encode_to_vec();
    write_file(&data.join(MODEL), &encoded).map_err(|source| FsError::write(output, source))?;
    let manifest = manifest();
    write_file(&folder.temporary_path().join(MANIFEST), &manifest).map_err(|source| FsError::write(output, source))?;
    if fs::read(data.join(MODEL)).map_err(|source| FsError::write(output, source))? != encoded {
        return Err(ConvertError::read_back(output, "the model differs"));
    }
    let weight_bytes = file.metadata().map_err(|source| FsError::write(output, source))?.len();
    let fidelity = job.inspect(folder.temporary_path())?;
    folder.commit()?;
    Ok(Written { bytes: weight_bytes + (encoded.len() + manifest.len()) as u64, source_sha256, fidelity, delta_kept })
}

/// Writes `weight.bin`.
fn write_weights(
    program: &CoreMlProgram<'_>,
    source: &Source,
    target: &OutputFile<'_>,
    on_step: &(dyn Fn(&Step) + Sync),
) -> Result<WrittenTensors> {
    let tensors: Vec<_> = program.blobs().iter().map(|blob| blob.tensor()).collect();
    let records = || program.blobs().iter().flat_map(|blob| &blob.records);
    let header = blob::header(records().count());
    target.write_at(&header, 0)?;
    for record in records() {
        target.write_at(&record.encode(), record.position)?;
    }
    let written_tensors = write_tensors_and_hash(&tensors, source, target, on_step)?;
    let written = target.reopen()?;
    let has = |bytes: &[u8], offset: usize| bytes_at(&written, offset, bytes.len()) == Some(bytes);
    if has(&header, 0) && records().all(|record| has(&record.encode(), record.position)) {
        return Ok(written_tensors);
    }
    Err(ConvertError::read_back(target.output, "a record of weight.bin differs"))
}

fn bytes_at(file: &MappedFile, offset: usize, length: usize) -> Option<&[u8]> {
    file.bytes().get(offset..)?.get(..length)
}

/// Writes and syncs a new file.
fn write_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Whether a folder is a package, and so may be replaced.
fn is_package(folder: &Path) -> bool {
    folder.join(MANIFEST).is_file() && folder.join("Data").join(MODEL).is_file()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    file_format_version: &'static str,
    item_info_entries: BTreeMap<&'static str, Item>,
    root_model_identifier: &'static str,
}

#[derive(Serialize)]
struct Item {
    author: &'static str,
    description: &'static str,
    name: &'static str,
    path: &'static str,
}

/// The manifest, which names the files of the package. The identifiers must differ within it only; Apple's tools draw them
/// at random, with which the same input would not give the same bytes.
fn manifest() -> Vec<u8> {
    const MODEL_ID: &str = "4D455254-0000-4000-8000-000000000001";
    const WEIGHTS_ID: &str = "4D455254-0000-4000-8000-000000000002";
    let item = |description, name, path| Item { author: "com.apple.CoreML", description, name, path };
    let manifest = Manifest {
        file_format_version: "1.0.0",
        item_info_entries: BTreeMap::from([
            (MODEL_ID, item("CoreML Model Specification", "model.mlmodel", MODEL)),
            (WEIGHTS_ID, item("CoreML Model Weights", "weights", WEIGHTS)),
        ]),
        root_model_identifier: MODEL_ID,
    };
    // Strings under string keys can always be serialised.
    serde_json::to_vec_pretty(&manifest).unwrap_or_default()
}
