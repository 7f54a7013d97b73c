//! The values of stored weights: floats, and affine codes as MLX's `mx.dequantize` reads them.

use half::{bf16, f16};
use mert_arch::{Dtype, Encoding, Quantization};

/// The values of a weight of rows of `columns` values, from the bytes of its stored tensors.
pub(crate) fn decode(encoding: Encoding, columns: usize, stored: &[Vec<u8>]) -> Vec<f32> {
    match (encoding, stored) {
        (Encoding::Quantized { quantization, float }, [words, scales, biases]) => {
            affine(quantization, columns, words, &floats(float, scales), &floats(float, biases))
        }
        (encoding, [values, ..]) => floats(encoding.float(), values),
        _ => Vec::new(),
    }
}

/// The values of little-endian floats.
fn floats(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    match dtype {
        Dtype::F16 => bytes.as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()).collect(),
        Dtype::Bf16 => bytes.as_chunks().0.iter().map(|&bytes| bf16::from_le_bytes(bytes).to_f32()).collect(),
        Dtype::F32 => bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
    }
}

/// The values scale · code + bias; the codes of a row are a little-endian stream of bits.
fn affine(quantization: Quantization, columns: usize, words: &[u8], scales: &[f32], biases: &[f32]) -> Vec<f32> {
    let Quantization { bits, group_size, .. } = quantization;
    let mut values = Vec::with_capacity(words.len() * 8 / bits.max(1));
    let row_bytes = quantization.packed_columns(columns) * 4;
    let groups =
        scales.chunks_exact(quantization.groups(columns)).zip(biases.chunks_exact(quantization.groups(columns)));
    for (row, (scales, biases)) in words.chunks_exact(row_bytes).zip(groups) {
        // Eight codes are `bits` whole bytes.
        let eights = row.chunks_exact(bits).enumerate();
        for (eight, bytes) in eights {
            let mut stream = [0; 8];
            stream[..bits].copy_from_slice(bytes);
            let stream = u64::from_le_bytes(stream);
            let group = eight * 8 / group_size;
            let (scale, bias) = (scales[group], biases[group]);
            values.extend((0..8).map(|i| scale * ((stream >> (i * bits)) & ((1 << bits) - 1)) as f32 + bias));
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use mert_arch::QuantizationMode;

    use super::*;

    /// Codes that are written bit by bit, two rows of two groups.
    #[test]
    fn codes_of_every_width() {
        for bits in [2, 3, 4, 5, 6, 8] {
            let quantization = Quantization::new(QuantizationMode::Affine, bits, 32).unwrap();
            let code = |i: usize| (i * 37 + i / 7) % (1 << bits);
            let mut words = vec![0u8; 128 * bits / 8];
            for i in 0..128 {
                let (row, column) = (i / 64, i % 64);
                for bit in 0..bits {
                    let at = column * bits + bit;
                    words[row * 64 * bits / 8 + at / 8] |= ((code(i) >> bit & 1) as u8) << (at % 8);
                }
            }
            let scale = |group: usize| [0.5, -2.0, 0.25, 1.0][group];
            let bias = |group: usize| [3.0, -1.0, 0.5, 100.0][group];
            let bytes = |of: &dyn Fn(usize) -> f32| -> Vec<u8> {
                (0..4).flat_map(|group| f16::from_f32(of(group)).to_le_bytes()).collect()
            };
            let encoding = Encoding::Quantized { quantization, float: Dtype::F16 };
            let values = decode(encoding, 64, &[words, bytes(&scale), bytes(&bias)]);
            let expected: Vec<f32> = (0..128).map(|i| scale(i / 32) * code(i) as f32 + bias(i / 32)).collect();
            assert_eq!(values, expected, "{bits} bits");
        }
    }
}
