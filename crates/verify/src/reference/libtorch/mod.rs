//! References computed by libtorch from the original checkpoint.
//!
//! No reader and no arithmetic is shared with the model that is judged: the checkpoint is read by candle's
//! pickle reader (the converter has another), the weight norm and every operation are libtorch's. Tensor names
//! and the meaning of a `config.json` come from `mert-arch`, as everywhere.

mod attention;
mod converted;
mod fairseq_names;
mod feature_extractor;
mod forward;
mod position_bias;
mod positional_conv;
mod quantized;
mod tensors;
mod weights;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mert_arch::{Config, Dtype, text_from_bytes};
use ndarray::Array3;

use self::attention::AttentionKind;
pub use self::converted::{ConvertedInLibtorch, LibtorchForward, LibtorchStates};
use self::forward::Encoder;
pub(crate) use self::quantized::DecodedWeights;
use self::tensors::Loader;
use self::weights::Weights;
use super::Reference;
use crate::{ModelEncoding, Result, VerifyError};

/// An original checkpoint from which libtorch computes references.
pub struct Libtorch {
    path: PathBuf,
    config: Config,
    weights: Weights,
}

impl Libtorch {
    /// Reads a checkpoint: a torch zip, a safetensors file, or a folder with one. The configuration is
    /// `config`, or else the `config.json` beside the checkpoint. It is not inferred from tensor shapes: they do not
    /// determine all of it, and a judge that assumed what the converter assumed would agree with its mistakes.
    ///
    /// # Errors
    /// [`VerifyError::Checkpoint`] for a checkpoint that this reader cannot read, that is a converted file,
    /// or that has no configuration; [`VerifyError::Config`] for a configuration that cannot be used.
    pub fn open(checkpoint: &Path, config: Option<&Path>) -> Result<Self> {
        let weights = Weights::read(checkpoint)?;
        let folder = if checkpoint.is_dir() { Some(checkpoint) } else { checkpoint.parent() };
        let beside = folder.map(|folder| folder.join("config.json")).filter(|file| file.is_file());
        let Some(file) = config.map(Path::to_path_buf).or(beside) else {
            let reason = "there is no config.json beside it, and tensor shapes alone do not determine what it computes \
                          (heads, strides, pre- or post-LN); put it there or give --checkpoint-config";
            return Err(VerifyError::checkpoint(checkpoint, reason));
        };
        let bytes = std::fs::read(&file).map_err(|source| VerifyError::read(&file, source))?;
        let text = text_from_bytes(&bytes).map_err(|reason| VerifyError::checkpoint(&file, reason))?;
        let config = Config::from_json(&text).map_err(|source| VerifyError::Config { path: file, source })?;
        Ok(Libtorch { path: checkpoint.to_path_buf(), config, weights })
    }

    /// The checkpoint's configuration.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Computes all hidden states of a clip, with the checkpoint's own weights and, for each dtype in `rounded`, with
    /// the weights rounded to it.
    ///
    /// # Errors
    /// [`VerifyError::Checkpoint`] for a missing tensor or one of the wrong shape, [`VerifyError::Libtorch`]
    /// if libtorch fails, [`VerifyError::NothingToCompare`] for a clip that is too short.
    pub fn reference(&self, name: &str, input_values: &[f32], rounded: &[Dtype]) -> Result<Reference> {
        if self.config.frames(input_values.len()).is_none() {
            return Err(VerifyError::NothingToCompare(format!(
                "{name}: {} samples give no frame; at least {} are needed",
                input_values.len(),
                self.config.receptive_field()
            )));
        }
        let mut reference = Reference {
            name: name.to_string(),
            input_values: input_values.to_vec(),
            hidden_states: self.run(input_values, Dtype::F32)?,
            rounded: BTreeMap::new(),
            quantized: BTreeMap::new(),
        };
        for &dtype in rounded {
            if dtype != Dtype::F32 {
                reference.rounded.insert(dtype, self.run(input_values, dtype)?);
            }
        }
        Ok(reference)
    }

    /// The model with its weights in this encoding, to run on clips. The codes of quantized weights are the judge's own;
    /// a weight in `decoded` is taken from there.
    ///
    /// # Errors
    /// [`VerifyError::Checkpoint`] for a missing tensor or one of the wrong shape, [`VerifyError::Libtorch`] if libtorch fails.
    pub(crate) fn encoded(
        &self,
        encoding: &ModelEncoding,
        decoded: Option<&DecodedWeights>,
    ) -> Result<EncodedLibtorch> {
        let loader = Loader { weights: &self.weights, encoding, decoded };
        let model = Encoder::new(&self.config, &loader, AttentionKind::Eager);
        Ok(EncodedLibtorch(model.map_err(|error| error.into_verify_error(&self.path))?))
    }

    /// The hidden states of a reference's clip with weights in these encodings, added to the reference.
    ///
    /// # Errors
    /// As for [`Libtorch::reference`].
    pub fn add_encodings(&self, reference: &mut Reference, encodings: &[ModelEncoding]) -> Result<()> {
        for encoding in encodings.iter().filter(|encoding| encoding.is_quantized()) {
            self.encoded(encoding, None)?.add_to(reference, encoding.array_name())?;
        }
        Ok(())
    }

    /// The original's weight of this Hugging Face name, row by row; `None` if the checkpoint has none.
    ///
    /// # Errors
    /// [`VerifyError::Libtorch`] if libtorch fails.
    pub(crate) fn weight(&self, name: &str) -> Result<Option<Vec<f32>>> {
        let Some(tensor) = self.weights.get(name) else { return Ok(None) };
        Ok(Some(Vec::try_from(tensor.f_reshape([-1])?)?))
    }

    fn run(&self, input_values: &[f32], weights: Dtype) -> Result<Array3<f32>> {
        Ok(self.encoded(&ModelEncoding::of_floats(weights), None)?.0.hidden_states(input_values)?)
    }
}

/// A model in libtorch whose weights have been rounded or quantized.
pub(crate) struct EncodedLibtorch(Encoder);

impl EncodedLibtorch {
    /// Adds the hidden states of the reference's clip to it, under the name of their array.
    pub(crate) fn add_to(&self, reference: &mut Reference, array_name: String) -> Result<()> {
        let states = self.0.hidden_states(&reference.input_values)?;
        reference.quantized.insert(array_name, states);
        Ok(())
    }
}
