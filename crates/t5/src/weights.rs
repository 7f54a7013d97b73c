//! The tensors of a checkpoint: each that is read has the shape that the configuration says, and each of the encoder is accounted
//! for.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use candle_core::{Device, Tensor};
use mert_arch::{T5Config, t5_left_out_reason};
use mert_checkpoint::{Checkpoint, nearest, read_f32};

use crate::{Result, T5Error};

/// The tensors of a checkpoint, with those that have been read.
pub(crate) struct Weights<'s> {
    checkpoint: &'s dyn Checkpoint,
    device: &'s Device,
    shapes: BTreeMap<String, Vec<usize>>,
    read: RefCell<BTreeSet<String>>,
}

impl<'s> Weights<'s> {
    pub(crate) fn new(config: &T5Config, checkpoint: &'s dyn Checkpoint, device: &'s Device) -> Self {
        let shapes = config.inventory().into_iter().map(|spec| (spec.name, spec.shape)).collect();
        Weights { checkpoint, device, shapes, read: RefCell::default() }
    }

    /// A tensor of the inventory, widened to f32.
    ///
    /// # Errors
    /// [`T5Error::MissingTensor`], [`T5Error::Shape`], [`T5Error::NotFinite`], and those of reading.
    pub(crate) fn tensor(&self, name: &str) -> Result<Tensor> {
        let tensors = &self.checkpoint.listing().tensors;
        let missing = || {
            let hint = nearest(name, tensors.keys().map(String::as_str));
            let hint = hint.map(|hint| format!(" (the nearest name is `{hint}`)")).unwrap_or_default();
            T5Error::MissingTensor { name: name.into(), hint }
        };
        let (info, expected) = tensors.get(name).zip(self.shapes.get(name)).ok_or_else(missing)?;
        if info.shape != *expected {
            let (found, expected) = (info.shape.clone(), expected.clone());
            return Err(T5Error::Shape { name: name.into(), found, expected });
        }
        self.read.borrow_mut().insert(name.to_string());
        let values = read_f32(self.checkpoint, name)?;
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(T5Error::NotFinite { name: name.into(), index, value: values[index] }),
            None => Ok(Tensor::from_vec(values, expected.as_slice(), self.device)?),
        }
    }

    /// Checks that all tensors of the encoder were read.
    ///
    /// # Errors
    /// [`T5Error::UnknownTensors`].
    pub(crate) fn check_all_read(&self) -> Result<()> {
        let read = self.read.borrow();
        let tensors = self.checkpoint.listing().tensors.keys();
        let mut unknown = tensors.filter(|name| !read.contains(*name) && t5_left_out_reason(name).is_none());
        match unknown.next() {
            None => Ok(()),
            Some(first) => Err(T5Error::UnknownTensors { first: first.clone(), count: 1 + unknown.count() }),
        }
    }
}
