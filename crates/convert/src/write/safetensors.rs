use std::collections::BTreeMap;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

use mert_spec::{Dtype, Metadata};
use serde::Serialize;

use super::atomic::{AtomicFile, write_error};
use crate::digest::{HashingWriter, sha256_file};
use crate::reader::safetensors::read_header;
use crate::{ConvertError, Plan, Result, Source, Step, transform};

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    /// SHA-256 of the output, in hexadecimal.
    pub sha256: String,
    /// Size of the output.
    pub bytes: u64,
    /// SHA-256 of the checkpoint, in hexadecimal.
    pub source_sha256: String,
}

/// Executes a plan into a safetensors file; `progress` is told each step as it is done.
///
/// The same checkpoint and plan give the same bytes: tensors lie in the order of their names, and the
/// metadata is sorted. (The `safetensors` crate's own writer takes the metadata in the order of a hash
/// map, which differs from run to run.)
///
/// # Errors
/// [`ConvertError`]; `output` is then as it was before.
pub fn safetensors(
    plan: &Plan,
    source: &Source,
    output: &Path,
    force: bool,
    progress: &dyn Fn(&Step),
) -> Result<Written> {
    refuse_input_as_output(source, output)?;
    let mut file = AtomicFile::create(output, force)?;
    let failed = |e| write_error(output, e);

    let source_sha256 = source.sha256()?;
    let metadata = plan.metadata(source_sha256.clone());
    let mut writer = HashingWriter::new(BufWriter::with_capacity(1 << 20, file.file_mut()));
    writer.write_all(&header(plan, &metadata)).map_err(failed)?;
    for step in &plan.steps {
        writer.write_all(&transform::execute(step, source.checkpoint())?).map_err(failed)?;
        progress(step);
    }
    writer.flush().map_err(failed)?;
    let (buffered, sha256, bytes) = writer.finish();
    drop(buffered);

    read_back(plan, &metadata, file.temporary_path(), &sha256).map_err(|error| match error {
        ReadBack::Differs(reason) => ConvertError::ReadBack { path: output.to_path_buf(), reason },
        ReadBack::Io(source) => write_error(output, source),
    })?;
    file.commit()?;
    Ok(Written { sha256, bytes, source_sha256 })
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

enum ReadBack {
    Differs(String),
    Io(std::io::Error),
}

/// Reads the file again: its bytes must be those that were written, and the `safetensors` crate must
/// find in it the tensors that were planned.
fn read_back(plan: &Plan, metadata: &Metadata, path: &Path, sha256: &str) -> Result<(), ReadBack> {
    let found = sha256_file(path).map_err(ReadBack::Io)?;
    if found != sha256 {
        return Err(ReadBack::Differs(format!("sha256 {found}, expected {sha256}")));
    }
    let mut file = fs::File::open(path).map_err(ReadBack::Io)?;
    let (header, _) = read_header(&mut file).map_err(ReadBack::Differs)?;
    let lookup = |key: &str| header.metadata().as_ref()?.get(key).map(String::as_str);
    if Metadata::from_lookup(lookup).ok().as_ref() != Some(metadata) {
        return Err(ReadBack::Differs("its metadata is another".into()));
    }
    let tensors = header.tensors();
    if tensors.len() != plan.steps.len() {
        return Err(ReadBack::Differs(format!("it has {} tensors, expected {}", tensors.len(), plan.steps.len())));
    }
    for step in &plan.steps {
        if tensors.get(&step.output).is_none_or(|found| found.shape != step.shape) {
            return Err(ReadBack::Differs(format!("tensor `{}` is another", step.output)));
        }
    }
    Ok(())
}
