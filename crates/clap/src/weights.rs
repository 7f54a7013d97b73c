//! The tensors of a checkpoint: each that is read has the shape that the configuration says, and each of the audio tower is
//! accounted for.

use std::cell::RefCell;
use std::collections::BTreeSet;

use candle_core::{Device, Tensor};
use mert_checkpoint::{Source, nearest, read_f32};

use crate::{ClapError, Result};

/// The prefixes of the audio side of a `ClapModel`; the rest (`text_model`, `text_projection`, `logit_scale_a`,
/// `logit_scale_t`) has no part in the vector of a sound.
const AUDIO: [&str; 2] = ["audio_model.", "audio_projection."];

/// Buffers that follow from the configuration, or that only training uses.
const DERIVED: [&str; 2] = [".relative_position_index", ".num_batches_tracked"];

/// The tensors of a checkpoint, with those that have been read.
pub(crate) struct Weights<'s> {
    source: &'s Source,
    read: RefCell<BTreeSet<String>>,
}

impl<'s> Weights<'s> {
    pub(crate) fn new(source: &'s Source) -> Self {
        Weights { source, read: RefCell::default() }
    }

    /// The values of a tensor, widened to f32.
    ///
    /// # Errors
    /// [`ClapError::MissingTensor`], [`ClapError::Shape`], [`ClapError::NotFinite`], and those of reading.
    pub(crate) fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let tensors = &self.source.listing().tensors;
        let Some(info) = tensors.get(name) else {
            let hint = nearest(name, tensors.keys().map(String::as_str));
            let hint = hint.map(|hint| format!(" (the nearest name is `{hint}`)")).unwrap_or_default();
            return Err(ClapError::MissingTensor { name: name.into(), hint });
        };
        if info.shape != shape {
            return Err(ClapError::Shape { name: name.into(), found: info.shape.clone(), expected: shape.to_vec() });
        }
        self.read.borrow_mut().insert(name.to_string());
        let values = read_f32(self.source.checkpoint(), name)?;
        // A NaN would vanish in a ReLU, which takes the larger of it and 0.
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(index) => Err(ClapError::NotFinite { name: name.into(), index, value: values[index] }),
        }
    }

    /// A tensor in f32 on the CPU.
    ///
    /// # Errors
    /// Those of [`Weights::values`].
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        Ok(Tensor::from_vec(self.values(name, shape)?, shape, &Device::Cpu)?)
    }

    /// Checks that all tensors of the audio tower were read.
    ///
    /// # Errors
    /// [`ClapError::UnknownTensors`].
    pub(crate) fn check_all_read(&self) -> Result<()> {
        let read = self.read.borrow();
        let unknown: Vec<&String> = self
            .source
            .listing()
            .tensors
            .keys()
            .filter(|key| AUDIO.iter().any(|prefix| key.starts_with(prefix)))
            .filter(|key| !DERIVED.iter().any(|suffix| key.ends_with(suffix)) && !read.contains(*key))
            .collect();
        match unknown.first() {
            None => Ok(()),
            Some(first) => Err(ClapError::UnknownTensors { count: unknown.len(), first: (*first).clone() }),
        }
    }
}
