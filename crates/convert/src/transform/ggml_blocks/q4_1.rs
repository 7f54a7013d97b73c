//! MLX's 4-bit codes in blocks of `Q4_1`.

use super::GgmlBlocks;
use crate::transform::QuantizedRows;

/// The number of bytes of 32 codes of 4 bits.
const CODES: usize = GgmlBlocks::LEN / 2;

/// Replaces `out` with rows of MLX's affine 4-bit codes as blocks of `Q4_1`, which hold the same values. Scales and biases are
/// f16.
///
/// Both are scale · q + bias. MLX has one pair for each `group_size` values (32 or 64), of which each block takes a copy, and
/// the codes of two consecutive values in a byte, the first in its low bits
/// (<https://github.com/ml-explore/mlx/blob/main/mlx/backend/cpu/quantized.cpp>). A block has value j in the low bits of byte
/// j, and value j + 16 in its high bits
/// (<https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c>, `dequantize_row_q4_1`).
pub(crate) fn q4_1_blocks(rows: &QuantizedRows, group_size: usize, out: &mut Vec<u8>) {
    out.clear();
    out.reserve(rows.weight.len() / CODES * GgmlBlocks::Q4_1.byte_len());
    let pairs = rows.scales.as_chunks::<2>().0.iter().zip(rows.biases.as_chunks::<2>().0);
    for (codes, (scale, bias)) in rows.weight.chunks_exact(group_size / 2).zip(pairs) {
        for codes in codes.as_chunks::<CODES>().0 {
            out.extend(scale);
            out.extend(bias);
            let (low, high) = codes.split_at(CODES / 2);
            let bytes = low.iter().zip(high).flat_map(|(low, high)| [low & 0xf | high << 4, low >> 4 | high & 0xf0]);
            out.extend(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each code is the position of its value, modulo 16, with the group added: the order of the nibbles, the use of a pair
    /// for two blocks and the order of scale and bias all show.
    #[test]
    fn a_block_by_hand() {
        for group_size in [32, 64] {
            let code = |i: usize| ((i + i / 32) % 16) as u8;
            let codes = (0..64).map(|i| code(2 * i) | code(2 * i + 1) << 4).collect();
            let groups = 128 / group_size;
            let scales = (0..groups).flat_map(|i| [i as u8, 0x11]).collect();
            let biases = (0..groups).flat_map(|i| [i as u8, 0x22]).collect();
            let mut blocks = vec![0xee];
            q4_1_blocks(&QuantizedRows { weight: codes, scales, biases }, group_size, &mut blocks);
            assert_eq!(blocks.len(), 4 * 20);
            for (i, block) in blocks.chunks(20).enumerate() {
                let group = (i * 32 / group_size) as u8;
                assert_eq!(block[..4], [group, 0x11, group, 0x22]);
                for j in 0..16 {
                    assert_eq!(block[4 + j] & 0xf, code(32 * i + j));
                    assert_eq!(block[4 + j] >> 4, code(32 * i + j + 16));
                }
            }
        }
    }
}
