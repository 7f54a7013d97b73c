//! Models on the disk: safetensors in either layout, with floats of any dtype or quantized weights, in one file or in shards.
//!
//! - this file: the opened model.
//! - [`files`]: one file, or the shards of an index; [`safetensors_file`] reads each.
//! - [`mlx_folder`]: the description of a model that MLX saved.
//! - [`tensors`]: the check of the tensors against the description.
//! - [`var_builder`]: the tensors for candle.

mod files;
mod mlx_folder;
mod safetensors_file;
mod tensors;
mod var_builder;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_nn::VarBuilder;
use mert_arch::{Dtype, Encoding, Metadata};
use mert_fs::MappedBytes;

use self::files::ModelFiles;
use self::mlx_folder::MlxFolder;
use self::tensors::{Entry, Floats, Part, entries};
use self::var_builder::Backend;
use crate::Error;
use crate::device::candle_dtype;
use crate::quantized::{QuantizedEncoding, QuantizedWeight};

/// A model that mert-convert or MLX wrote, mapped into memory.
///
/// [`ConvertedFile::var_builder`] returns its tensors contiguous and in PyTorch's order, in any layout, dtype and
/// quantization of the file.
///
/// ```
/// use mert_runtime::ConvertedFile;
///
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/mert-tiny/model.safetensors");
/// # // let path = "model.safetensors";
/// let file = ConvertedFile::open(path.as_ref())?;
/// let metadata = file.metadata();
/// assert_eq!((metadata.config.num_hidden_layers, metadata.preprocessor.sampling_rate), (12, 24_000));
/// # Ok::<(), mert_runtime::Error>(())
/// ```
pub struct ConvertedFile {
    metadata: Metadata,
    entries: HashMap<String, Entry>,
    weights: ModelFiles,
    described_by: Vec<PathBuf>,
}

/// The bytes of a quantized weight in the file. Dropped, they no longer count as this process's memory.
pub(crate) struct StoredQuantized<'a> {
    encoding: QuantizedEncoding,
    outputs: usize,
    inputs: usize,
    words: MappedBytes<'a>,
    scales: MappedBytes<'a>,
    biases: Option<MappedBytes<'a>>,
}

impl ConvertedFile {
    /// Opens a model and checks that it holds the tensors that its configuration implies, with the shapes and types that its
    /// metadata names.
    ///
    /// `path` is a `.safetensors` file, an index of shards (`model.safetensors.index.json`), or a folder that holds one of
    /// them. Weights that MLX quantized or saved, which have no metadata of this toolkit, are described by the `config.json`
    /// beside them, with its field `quantization`, and by the `preprocessor_config.json` if there is one; each of their
    /// tensors may have its own dtype. Their layout is MLX's, and their names are this toolkit's.
    ///
    /// # Errors
    /// [`Error::Open`], [`Error::NotSafetensors`], [`Error::TorchCheckpoint`], [`Error::Incomplete`],
    /// [`Error::ModelFile`], [`Error::Metadata`] or [`Error::Tensors`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let weights = ModelFiles::open(path)?;
        let (metadata, described_by, floats) = match MlxFolder::describe(&weights)? {
            Some(MlxFolder { metadata, described_by }) => (metadata, described_by, Floats::Own),
            None => (weights.metadata()?, Vec::new(), Floats::AsInMetadata),
        };
        let described_in = described_by.first().map_or("metadata", |_| mert_arch::CONFIG_FILE);
        let entries = entries(&metadata, weights.tensors(), floats)
            .map_err(|reason| Error::tensors(&weights.path, described_in, reason))?;
        Ok(ConvertedFile { metadata, entries, weights, described_by })
    }

    /// The file or index that holds the weights.
    pub fn path(&self) -> &Path {
        &self.weights.path
    }

    /// The files that the model is read from: the weights, the index of shards, and for a model that MLX saved those that
    /// describe it.
    pub fn files(&self) -> Vec<&Path> {
        let shards = self.weights.files.iter().map(|file| file.path());
        let index = Some(self.path()).filter(|index| self.weights.files.iter().all(|file| file.path() != *index));
        shards.chain(index).chain(self.described_by.iter().map(PathBuf::as_path)).collect()
    }

    /// The metadata of the file: its layout, dtype, quantization, configuration and preprocessor. For a model that MLX saved
    /// it is what the files beside the weights state; its `dtype` is the coarsest of its floats, and its `source_sha256` is
    /// empty.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The tensors under the checkpoint's own paths, converted to `dtype` and moved to `device` as they are loaded. Quantized
    /// ones are decoded then: scale · code + bias in f32.
    pub fn var_builder(&self, dtype: Dtype, device: &Device) -> VarBuilder<'_> {
        VarBuilder::from_backend(Box::new(Backend(self)), candle_dtype(dtype), device.clone())
    }

    /// The type in which a tensor is stored, or in which it is decoded if it is quantized; `None` if there is no such tensor.
    pub(crate) fn stored_float(&self, name: &str) -> Option<Dtype> {
        Some(match self.entries.get(name)?.encoding {
            Encoding::Float(dtype) => dtype,
            Encoding::Quantized { .. } => Dtype::F32,
        })
    }

    /// A quantized weight as it is stored; `None` if the tensor is not quantized.
    pub(crate) fn quantized(&self, name: &str) -> Option<StoredQuantized<'_>> {
        let entry = self.entries.get(name)?;
        let Encoding::Quantized { quantization, float } = entry.encoding else { return None };
        let [outputs, inputs] = entry.shape[..] else { return None };
        let mut parts = entry.parts.iter().map(|part| self.bytes(part));
        Some(StoredQuantized {
            encoding: QuantizedEncoding::new(quantization, float),
            outputs,
            inputs,
            words: parts.next()??,
            scales: parts.next()??,
            biases: parts.next().flatten(),
        })
    }

    fn bytes(&self, part: &Part) -> Option<MappedBytes<'_>> {
        self.weights.files.get(part.file)?.data.range(part.range.clone())
    }
}

impl StoredQuantized<'_> {
    pub(crate) fn weight(&self) -> QuantizedWeight<'_> {
        QuantizedWeight {
            encoding: self.encoding,
            outputs: self.outputs,
            inputs: self.inputs,
            words: &self.words,
            scales: &self.scales,
            biases: self.biases.as_deref().unwrap_or_default(),
        }
    }
}
