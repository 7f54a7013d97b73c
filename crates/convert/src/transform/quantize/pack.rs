//! The bits of codes in a packed weight.

/// Writes codes of `BITS` bits as a little-endian bit stream: the first code is in the lowest bits of the first byte.
///
/// Eight codes are `BITS` whole bytes, so that codes of 3, 5 and 6 bits, some of which lie across two u32 words, need no
/// treatment of their own.
#[inline(always)]
pub(super) fn pack<const BITS: usize>(codes: &[u32], packed: &mut [u8]) {
    for (codes, bytes) in codes.as_chunks::<8>().0.iter().zip(packed.as_chunks_mut::<BITS>().0) {
        let mut stream = 0u64;
        for (i, &code) in codes.iter().enumerate() {
            stream |= u64::from(code) << (i * BITS);
        }
        bytes.copy_from_slice(&stream.to_le_bytes()[..BITS]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bits of each code, one by one.
    fn stream_of_bits<const BITS: usize>(codes: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0; codes.len() * BITS / 8];
        for (i, code) in codes.iter().enumerate() {
            for bit in 0..BITS {
                let at = i * BITS + bit;
                bytes[at / 8] |= ((code >> bit & 1) as u8) << (at % 8);
            }
        }
        bytes
    }

    fn check<const BITS: usize>() {
        let codes: Vec<u32> = (0..64u32).map(|i| i.wrapping_mul(2_654_435_761) >> (32 - BITS)).collect();
        let mut packed = vec![0xff; codes.len() * BITS / 8];
        pack::<BITS>(&codes, &mut packed);
        assert_eq!(packed, stream_of_bits::<BITS>(&codes), "{BITS} bits");
    }

    #[test]
    fn little_endian_stream() {
        check::<2>();
        check::<3>();
        check::<4>();
        check::<5>();
        check::<6>();
        check::<8>();
        // The 3-bit codes 0 to 7: 10 001 000, 1 100 011 0, 111 110 10.
        let mut packed = [0; 3];
        pack::<3>(&[0, 1, 2, 3, 4, 5, 6, 7], &mut packed);
        assert_eq!(packed, [0b1000_1000, 0b1100_0110, 0b1111_1010]);
    }
}
