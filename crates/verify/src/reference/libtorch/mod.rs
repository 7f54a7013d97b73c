//! The HuBERT forward pass in libtorch, on the original checkpoint.
//!
//! No reader and no arithmetic is shared with what it judges: the checkpoint is read by candle's own
//! pickle reader (the converter has another), the weight norm and every operation are libtorch's. Names
//! and the meaning of a `config.json` come from `mert-arch`, as everywhere.

pub(crate) mod forward;
pub(crate) mod weights;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mert_arch::{Config, Dtype, text_from_bytes};
use ndarray::Array3;

use self::forward::{Attention, Hubert};
use self::weights::Weights;
use super::Reference;
use crate::{Result, VerifyError};

/// An original checkpoint, ready to compute references.
pub struct Libtorch {
    path: PathBuf,
    config: Config,
    weights: Weights,
}

impl Libtorch {
    /// Reads a checkpoint: a torch zip, a safetensors file, or a folder with one. The configuration is
    /// `config`, else the `config.json` beside the checkpoint. It is not worked out from shapes: they do
    /// not tell it all, and a judge that assumed what the converter assumed would agree with its mistakes.
    ///
    /// # Errors
    /// [`VerifyError::Checkpoint`] for a checkpoint that this reader cannot read, that is a converted file,
    /// or that has no configuration; [`VerifyError::Config`] for a configuration that cannot be used.
    pub fn open(checkpoint: &Path, config: Option<&Path>) -> Result<Self> {
        let weights = Weights::read(checkpoint)?;
        let folder = if checkpoint.is_dir() { Some(checkpoint) } else { checkpoint.parent() };
        let beside = folder.map(|folder| folder.join("config.json")).filter(|file| file.is_file());
        let Some(file) = config.map(Path::to_path_buf).or(beside) else {
            return Err(VerifyError::Checkpoint {
                path: checkpoint.to_path_buf(),
                reason: "there is no config.json beside it, and its shapes alone do not tell what it computes (heads, \
                         strides, pre- or post-LN); put it there or give --checkpoint-config"
                    .into(),
            });
        };
        let bytes = std::fs::read(&file).map_err(|source| VerifyError::Open { path: file.clone(), source })?;
        let text = text_from_bytes(&bytes).map_err(|reason| VerifyError::Checkpoint { path: file.clone(), reason })?;
        let config = Config::from_json(&text).map_err(|source| VerifyError::Config { path: file, source })?;
        Ok(Libtorch { path: checkpoint.to_path_buf(), config, weights })
    }

    /// The checkpoint's configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Computes all hidden states for a clip, once with the checkpoint's own weights and once more for
    /// each dtype in `rounded`, with the weights rounded to it.
    ///
    /// # Errors
    /// [`VerifyError::Checkpoint`] for a tensor that is missing or misshapen, [`VerifyError::Libtorch`]
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
        };
        for &dtype in rounded {
            if dtype != Dtype::F32 {
                reference.rounded.insert(dtype, self.run(input_values, dtype)?);
            }
        }
        Ok(reference)
    }

    fn run(&self, input_values: &[f32], weights: Dtype) -> Result<Array3<f32>> {
        let model = Hubert::new(&self.config, &self.weights, weights, Attention::Plain)
            .map_err(|error| error.into_verify_error(&self.path))?;
        let states = model.hidden_states(input_values).map_err(|error| VerifyError::Libtorch(error.to_string()))?;
        Ok(states)
    }
}
