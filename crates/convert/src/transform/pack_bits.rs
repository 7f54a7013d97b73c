//! The packing of codes of fewer bits than a byte.

/// Appends codes of `bits` bits each, as a stream that fills the bytes from the least significant bit: the order of Core ML's
/// sub-byte types and of the packed indices of its palettes. Bits of a code above `bits` are dropped, and the last byte is
/// filled with zeros.
pub(super) fn pack_bits(codes: impl IntoIterator<Item = u8>, bits: usize, out: &mut Vec<u8>) {
    if bits == 8 {
        return out.extend(codes);
    }
    let (mut word, mut filled) = (0u32, 0);
    for code in codes {
        word |= (u32::from(code) & ((1 << bits) - 1)) << filled;
        filled += bits;
        while filled >= 8 {
            out.push(word as u8);
            word >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        out.push(word as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_code_is_in_the_lowest_bits() {
        let packed = |codes: &[u8], bits| {
            let mut out = Vec::new();
            pack_bits(codes.iter().copied(), bits, &mut out);
            out
        };
        assert_eq!(packed(&[1, 2, 0xf3], 4), [0x21, 0x03]);
        // Apple's example of two bits, and codes that straddle bytes.
        assert_eq!(packed(&[0, 3, 2, 1, 3], 2), [0b0110_1100, 0b11]);
        assert_eq!(packed(&[0b10_0001, 0b11_0010, 0b01_0100, 0b10_1010], 6), [0b1010_0001, 0b0100_1100, 0b1010_1001]);
        assert_eq!(packed(&[1, 7, 0, 5], 3), [0b0011_1001, 0b1010]);
        assert_eq!(packed(&[200, 7], 8), [200, 7]);
    }
}
