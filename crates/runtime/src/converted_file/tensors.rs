//! The tensors of a model's files, checked against the configuration: names, shapes and element types.

use std::collections::HashMap;
use std::ops::Range;

use mert_arch::{Dtype, Encoding, Metadata, Role, StoredTensor, TensorSpec, printable_line};
use safetensors::Dtype as SafetensorsDtype;

use super::safetensors_file::StoredInfo;

/// A tensor of the model: how it is stored, and where.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) role: Role,
    /// The shape in the file's layout, before any quantization.
    pub(super) shape: Vec<usize>,
    pub(super) encoding: Encoding,
    /// The weight itself; its scales and biases after it if it is quantized.
    pub(super) parts: Vec<Part>,
}

/// Bytes of one of the files.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) file: usize,
    pub(super) range: Range<usize>,
}

/// Whether all floats of a file have the type that its metadata names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Floats {
    /// They have, as mert-convert writes them.
    AsInMetadata,
    /// Each tensor has its own type, as in files that MLX saves; the biases of groups have that of the scales.
    Own,
}

/// The tensors that the metadata implies, each where it is stored.
///
/// # Errors
/// The first tensor that is missing, has another shape or element type, or is not part of the model.
pub(super) fn entries(
    metadata: &Metadata,
    mut stored: HashMap<&str, (usize, &StoredInfo)>,
    floats: Floats,
) -> Result<HashMap<String, Entry>, String> {
    let mut entries = HashMap::new();
    for spec in metadata.inventory() {
        let shape = metadata.layout.shape_from_torch(spec.role, &spec.shape);
        let encoding = match floats {
            Floats::AsInMetadata => metadata.encoding(&spec),
            Floats::Own => with_own_float(metadata.encoding(&spec), &spec, &stored)?,
        };
        let mut parts = Vec::new();
        for expected in encoding.stored_tensors(&spec.name, &shape) {
            let name = expected.name.as_str();
            let (file, info) = stored.remove(name).ok_or_else(|| format!("tensor `{name}` is missing"))?;
            check(&expected, info, &encoding, &shape)?;
            parts.push(Part { file, range: info.range.clone() });
        }
        entries.insert(spec.name, Entry { role: spec.role, shape, encoding, parts });
    }
    match stored.keys().min() {
        Some(name) => Err(format!("tensor `{}` is not part of the model", printable_line(name))),
        None => Ok(entries),
    }
}

/// The encoding with the float type in which the weight, or its scales, are stored.
fn with_own_float(
    encoding: Encoding,
    spec: &TensorSpec,
    stored: &HashMap<&str, (usize, &StoredInfo)>,
) -> Result<Encoding, String> {
    let stored_float = |name: &str| match stored.get(name) {
        Some((_, info)) => float_type(info.dtype)
            .ok_or_else(|| format!("tensor `{name}` has dtype {:?}, expected F16, BF16 or F32", info.dtype)),
        None => Err(format!("tensor `{name}` is missing")),
    };
    Ok(match encoding {
        Encoding::Float(_) => Encoding::Float(stored_float(&spec.name)?),
        Encoding::Quantized { quantization, .. } if quantization.has_biases() => {
            let module = spec.name.strip_suffix(".weight").unwrap_or(&spec.name);
            Encoding::Quantized { quantization, float: stored_float(&format!("{module}.scales"))? }
        }
        other => other,
    })
}

fn float_type(dtype: SafetensorsDtype) -> Option<Dtype> {
    match dtype {
        SafetensorsDtype::F16 => Some(Dtype::F16),
        SafetensorsDtype::BF16 => Some(Dtype::Bf16),
        SafetensorsDtype::F32 => Some(Dtype::F32),
        _ => None,
    }
}

/// Checks the shape and element type of a stored tensor. The message about one that is quantized has the weight's own shape:
/// codes of 4 bits in groups of 32 have the shapes of 2 bits in groups of 64 with half as many values.
fn check(expected: &StoredTensor, found: &StoredInfo, encoding: &Encoding, shape: &[usize]) -> Result<(), String> {
    let name = &expected.name;
    let meaning = || match encoding {
        Encoding::Float(_) => String::new(),
        quantized => format!(" for {quantized} of {shape:?}"),
    };
    if found.shape != expected.shape {
        let (found, expected) = (&found.shape, &expected.shape);
        return Err(format!("tensor `{name}` has shape {found:?}, expected {expected:?}{}", meaning()));
    }
    // safetensors' own names, which its `Debug` prints.
    let dtype = format!("{:?}", found.dtype);
    if dtype != expected.dtype.name() {
        return Err(format!("tensor `{name}` has dtype {dtype}, expected {}{}", expected.dtype.name(), meaning()));
    }
    Ok(())
}
