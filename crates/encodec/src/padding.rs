//! The rows around a signal that a convolution reads beyond its ends.

use candle_core::{D, Tensor};
use mert_arch::PadMode;

use crate::Result;

/// Rows of channels `(time, channels)` with `left` and `right` rows more.
///
/// Reflection needs more rows than it adds. Shorter signals are followed by zeros first, and as many rows are cut at the end
/// afterwards, as `EncodecConv1d._pad1d` of transformers and `pad1d` of audiocraft do.
pub(crate) fn pad(rows: &Tensor, left: usize, right: usize, mode: PadMode) -> Result<Tensor> {
    if left == 0 && right == 0 {
        return Ok(rows.clone());
    }
    match mode {
        PadMode::Constant => Ok(rows.pad_with_zeros(D::Minus2, left, right)?),
        PadMode::Reflect => {
            let length = rows.dim(D::Minus2)?;
            // Shorter signals end in zeros before they are mirrored.
            let extended = length.max(left.max(right) + 1);
            let source = match extended - length {
                0 => rows.clone(),
                zeros => rows.pad_with_zeros(D::Minus2, 0, zeros)?,
            };
            let before: Vec<u32> = (1..=left).rev().map(|row| row as u32).collect();
            let mirrored = |row: usize| if row < extended { row } else { 2 * (extended - 1) - row };
            let after: Vec<u32> = (length..length + right).map(|row| mirrored(row) as u32).collect();
            let take = |indices: Vec<u32>| {
                let count = indices.len();
                source.index_select(&Tensor::from_vec(indices, count, rows.device())?, 0)
            };
            let mut parts = Vec::with_capacity(3);
            if left > 0 {
                parts.push(take(before)?);
            }
            parts.push(rows.clone());
            if right > 0 {
                parts.push(take(after)?);
            }
            Ok(Tensor::cat(&parts, 0)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn padded(length: usize, left: usize, right: usize, mode: PadMode) -> Vec<f32> {
        let rows: Vec<f32> = (1..=length).map(|i| i as f32).collect();
        let rows = Tensor::from_vec(rows, (length, 1), &Device::Cpu).unwrap();
        pad(&rows, left, right, mode).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    /// The values of `EncodecConv1d._pad1d` of transformers for 1, 2, …
    #[test]
    fn short_signals_are_mirrored_as_transformers_does() {
        assert_eq!(padded(4, 2, 3, PadMode::Reflect), [3.0, 2.0, 1.0, 2.0, 3.0, 4.0, 3.0, 2.0, 1.0]);
        assert_eq!(padded(3, 3, 3, PadMode::Reflect), [0.0, 3.0, 2.0, 1.0, 2.0, 3.0, 0.0, 3.0, 2.0]);
        assert_eq!(padded(1, 3, 3, PadMode::Reflect), [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(padded(2, 1, 5, PadMode::Reflect), [2.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(padded(2, 1, 0, PadMode::Reflect), [2.0, 1.0, 2.0]);
        assert_eq!(padded(2, 1, 2, PadMode::Constant), [0.0, 1.0, 2.0, 0.0, 0.0]);
        assert_eq!(padded(2, 0, 0, PadMode::Reflect), [1.0, 2.0]);
    }
}
