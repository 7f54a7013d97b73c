//! The file as a source of tensors in PyTorch's order, in any dtype and on any device.

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::Init;
use candle_nn::var_builder::SimpleBackend;
use mert_arch::Layout;

use super::ConvertedFile;
use crate::device::candle_dtype;

/// The file as the source of a candle `VarBuilder`.
pub(super) struct Backend<'a>(pub(super) &'a ConvertedFile);

impl Backend<'_> {
    /// The tensor contiguous and in PyTorch's order. A quantized one is decoded: as a whole, one at a time.
    fn load(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        let missing = || candle_core::Error::CannotFindTensor { path: name.to_string() }.bt();
        let entry = self.0.entries.get(name).ok_or_else(missing)?;
        let stored = match (entry.encoding, self.0.quantized(name)) {
            (_, Some(quantized)) => Tensor::from_vec(quantized.weight().values(), &entry.shape[..], &Device::Cpu)?,
            (encoding, None) => {
                let bytes = entry.parts.first().and_then(|part| self.0.bytes(part)).ok_or_else(missing)?;
                Tensor::from_raw_buffer(&bytes, candle_dtype(encoding.float()), &entry.shape, &Device::Cpu)?
            }
        };
        let torch_order = match (self.0.metadata.layout, entry.role.is_conv1d()) {
            // candle multiplies a non-contiguous kernel wrongly, so the copy is required.
            (Layout::Mlx, true) => stored.permute((0, 2, 1))?.contiguous()?,
            _ => stored,
        };
        torch_order.to_device(device)?.to_dtype(dtype)
    }
}

impl SimpleBackend for Backend<'_> {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        let tensor = self.load(name, dtype, device)?;
        if tensor.shape() != &shape {
            let msg = format!("tensor `{name}`");
            return Err(candle_core::Error::UnexpectedShape { msg, expected: shape, got: tensor.shape().clone() }.bt());
        }
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        self.load(name, dtype, device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.entries.contains_key(name)
    }
}
