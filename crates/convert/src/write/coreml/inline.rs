//! Weights of few values, which are part of the program.

use mert_arch::Dtype;
use mert_checkpoint::Source;

use super::proto::{Bytes, Floats, ImmediateValue, TensorValue, TensorValues, ValueKind};
use crate::Result;
use crate::write::tensors::OutputTensor;

/// The number of values from which on a tensor is in the blob file. coremltools' `should_use_weight_file` has the same limit,
/// and its listing of the weights expects no smaller ones there.
pub(super) const FEWEST_IN_FILE: usize = 10;

/// A weight whose value is put into the program when the package is written.
#[derive(Debug, Clone)]
pub(super) struct InlineWeight<'p> {
    pub(super) tensor: OutputTensor<'p>,
    /// The index of its `const` operation.
    pub(super) operation: usize,
}

impl InlineWeight<'_> {
    /// The value of the `const` operation.
    pub(super) fn value(&self, source: &Source) -> Result<ValueKind> {
        let mut values = Vec::new();
        self.tensor.execute(source.checkpoint(), &mut |_, bytes| {
            values.extend_from_slice(bytes);
            Ok(())
        })?;
        let value = match self.tensor.stored {
            Dtype::F32 => {
                let values = values.as_chunks().0.iter().map(|&word| f32::from_le_bytes(word)).collect();
                TensorValues::Floats(Floats { values })
            }
            Dtype::F16 | Dtype::Bf16 => TensorValues::Bytes(Bytes { values }),
        };
        Ok(ValueKind::Immediate(ImmediateValue { tensor: Some(TensorValue { value: Some(value) }) }))
    }
}
