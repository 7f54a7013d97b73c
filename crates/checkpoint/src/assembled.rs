//! Tensors of several checkpoints, and thirds of tensors, as one checkpoint.
//!
//! A model whose parts are in files of several kinds (a language model, its base, a codec) is converted through it by the
//! steps of any conversion.

use std::collections::HashMap;

use mert_fs::MappedFile;

use crate::checkpoint::{Checkpoint, Listing, TensorInfo};
use crate::tensor_bytes::TensorBytes;
use crate::{CheckpointError, Result};

/// Tensors taken from several checkpoints, under names that the caller gives them.
pub struct Assembled {
    checkpoints: Vec<Box<dyn Checkpoint>>,
    listing: Listing,
    parts: HashMap<String, Part>,
}

/// The origin of a tensor.
struct Part {
    /// The index in [`Assembled::checkpoints`].
    checkpoint: usize,
    key: String,
    /// The third of the tensor along the first axis.
    third: Option<usize>,
}

impl Assembled {
    /// A checkpoint without tensors, to which those of `checkpoints` can be added.
    pub fn new(checkpoints: Vec<Box<dyn Checkpoint>>) -> Self {
        Assembled { checkpoints, listing: Listing::default(), parts: HashMap::new() }
    }

    /// The checkpoint with this number.
    pub fn part(&self, number: usize) -> Option<&dyn Checkpoint> {
        self.checkpoints.get(number).map(Box::as_ref)
    }

    /// Adds the tensor `key` of the checkpoint with this number, or a third of it along the first axis, under `name`.
    ///
    /// # Errors
    /// [`CheckpointError::NoSuchTensor`]; [`CheckpointError::DamagedTensor`] for a third of a tensor that has none.
    pub fn add(&mut self, name: &str, checkpoint: usize, key: &str, third: Option<usize>) -> Result<()> {
        let tensors = self.checkpoints.get(checkpoint).map(|checkpoint| &checkpoint.listing().tensors);
        let info = tensors.and_then(|tensors| tensors.get(key)).ok_or_else(|| CheckpointError::no_such_tensor(key))?;
        let mut info: TensorInfo = info.clone();
        if let Some(third) = third {
            match info.shape.first_mut() {
                Some(rows) if *rows % 3 == 0 && third < 3 => *rows /= 3,
                _ => return Err(CheckpointError::damaged_tensor(key, "it is not three tensors, one above the other")),
            }
        }
        self.listing.tensors.insert(name.to_string(), info);
        self.parts.insert(name.to_string(), Part { checkpoint, key: key.to_string(), third });
        Ok(())
    }

    fn origin(&self, name: &str) -> Result<(&Part, &dyn Checkpoint)> {
        let part = self.parts.get(name).ok_or_else(|| CheckpointError::no_such_tensor(name))?;
        Ok((part, self.checkpoints[part.checkpoint].as_ref()))
    }
}

impl Checkpoint for Assembled {
    fn listing(&self) -> &Listing {
        &self.listing
    }

    fn files(&self) -> Vec<&MappedFile> {
        self.checkpoints.iter().flat_map(|checkpoint| checkpoint.files()).collect()
    }

    fn is_in_place(&self, name: &str) -> bool {
        self.origin(name).is_ok_and(|(part, checkpoint)| checkpoint.is_in_place(&part.key))
    }

    fn read(&self, name: &str) -> Result<TensorBytes<'_>> {
        let (part, checkpoint) = self.origin(name)?;
        let bytes = checkpoint.read(&part.key)?;
        let Some(third) = part.third else { return Ok(bytes) };
        let length = bytes.len() / 3;
        let part = bytes.part(third * length..(third + 1) * length);
        part.ok_or_else(|| CheckpointError::damaged_tensor(name, "it is shorter than its shape"))
    }
}

#[cfg(test)]
mod tests {
    use mert_testkit::{Tensor, write_torch_zip};

    use super::*;
    use crate::{open_plain, read_f32};

    #[test]
    fn thirds_and_whole_tensors_of_several_files() {
        let folder = tempfile::tempdir().unwrap();
        let count = |from: usize, shape: &[usize]| {
            let values = (from..from + shape.iter().product::<usize>()).map(|value| value as f32).collect();
            Tensor { shape: shape.to_vec(), values }
        };
        let mut opened = Vec::new();
        for (file, from) in [("a.bin", 0), ("b.bin", 100)] {
            let path = folder.path().join(file);
            let tensors = [("in_proj_weight".to_string(), count(from, &[6, 2])), ("other".into(), count(from, &[4]))];
            write_torch_zip(&path, &tensors).unwrap();
            opened.push(open_plain(&path).unwrap().checkpoint);
        }
        let mut assembled = Assembled::new(opened);
        for third in 0..3 {
            assembled.add(&format!("third {third}"), 1, "in_proj_weight", Some(third)).unwrap();
        }
        assembled.add("other", 0, "other", None).unwrap();
        for third in 0..3 {
            let name = format!("third {third}");
            assert_eq!(assembled.listing().tensors[&name].shape, [2, 2]);
            let first = (100 + 4 * third) as f32;
            assert_eq!(read_f32(&assembled, &name).unwrap(), [first, first + 1.0, first + 2.0, first + 3.0]);
            assert!(assembled.is_in_place(&name));
        }
        assert_eq!(read_f32(&assembled, "other").unwrap(), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(assembled.files().len(), 2);
        for (name, key, third) in [("x", "none", None), ("x", "other", Some(0)), ("x", "in_proj_weight", Some(3))] {
            assert!(assembled.add(name, 0, key, third).is_err(), "{key}");
        }
        assert!(assembled.add("x", 2, "other", None).is_err());
        assert!(assembled.read("in_proj_weight").is_err());
    }
}
