//! The size of the codebooks in a Vorbis setup header. lewton 0.10.2 (`lookup_vec_val_decode` in its `header.rs`)
//! reserves the vectors of a codebook, entries times dimensions, before it has computed them, so that a changed header
//! of a few kilobytes takes gigabytes.

/// The largest number of floats in the vectors of all codebooks together. Those of the Xiph encoder have under a million.
const MOST_VALUES: u64 = 1 << 22;

/// The length of a header's packet type and its mark, `vorbis`.
const MARK: usize = 7;

/// Whether the codebooks of a setup header are of a plausible size, all of them (Vorbis I, 3.2.1).
pub(in crate::decode) fn are_plausible(setup: &[u8]) -> bool {
    let Some(body) = setup.get(MARK..) else { return false };
    total_values(&mut Bits { bytes: body, position: 0 }).is_some_and(|values| values <= MOST_VALUES)
}

/// The number of floats in the vectors of all codebooks; `None` for an invalid or incomplete header.
fn total_values(bits: &mut Bits<'_>) -> Option<u64> {
    let count = bits.read(8)? + 1;
    let mut total = 0u64;
    for _ in 0..count {
        total = total.checked_add(codebook(bits)?)?;
        if total > MOST_VALUES {
            break;
        }
    }
    Some(total)
}

/// Reads one codebook and returns the number of floats in its vectors.
fn codebook(bits: &mut Bits<'_>) -> Option<u64> {
    const SYNC: u64 = 0x56_4342;
    if bits.read(24)? != SYNC {
        return None;
    }
    let (dimensions, entries) = (bits.read(16)?, bits.read(24)?);
    let is_ordered = bits.read(1)? == 1;
    if is_ordered {
        bits.read(5)?;
        let mut current = 0;
        while current < entries {
            // As many bits as the number of entries that are left has.
            let width = u64::BITS - (entries - current).leading_zeros();
            current += bits.read(width)?;
        }
    } else {
        let is_sparse = bits.read(1)? == 1;
        for _ in 0..entries {
            if !is_sparse || bits.read(1)? == 1 {
                bits.read(5)?;
            }
        }
    }
    let lookup = bits.read(4)?;
    if lookup == 0 {
        return Some(0);
    }
    bits.skip(64)?;
    let width = bits.read(4)? + 1;
    bits.skip(1)?;
    let values = match lookup {
        1 => lattice_values(entries, dimensions)?,
        2 => entries * dimensions,
        _ => return None,
    };
    bits.skip(values.checked_mul(width)?)?;
    Some(entries * dimensions)
}

/// The largest number whose power `dimensions` is at most `entries` (`lookup1_values`, Vorbis I, 9.2.3).
fn lattice_values(entries: u64, dimensions: u64) -> Option<u64> {
    let dimensions = u32::try_from(dimensions).ok().filter(|&dimensions| dimensions > 0)?;
    let fits = |value: u64| value.checked_pow(dimensions).is_some_and(|power| power <= entries);
    let mut value = 0;
    // Three dimensions and more have few values; the loop over one dimension is bounded by the entries.
    while fits(value + 1) {
        value += 1;
    }
    Some(value)
}

/// Bits of a Vorbis packet, the lowest of each byte first (Vorbis I, 2.1).
struct Bits<'a> {
    bytes: &'a [u8],
    position: u64,
}

impl Bits<'_> {
    /// The next `count` bits, at most 32; `None` at the end.
    fn read(&mut self, count: u32) -> Option<u64> {
        let mut value = 0;
        for bit in 0..count {
            let at = self.position + u64::from(bit);
            let byte = self.bytes.get(usize::try_from(at / 8).ok()?)?;
            value |= u64::from(byte >> (at % 8) & 1) << bit;
        }
        self.position += u64::from(count);
        Some(value)
    }

    /// Skips bits; `None` beyond the end.
    fn skip(&mut self, count: u64) -> Option<()> {
        let position = self.position.checked_add(count)?;
        (position <= 8 * self.bytes.len() as u64).then(|| self.position = position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A setup header that ends after its codebooks.
    struct Writer(Vec<bool>);

    impl Writer {
        fn number(mut self, value: u64, count: u32) -> Self {
            self.0.extend((0..count).map(|bit| value >> bit & 1 == 1));
            self
        }

        fn header(self) -> Vec<u8> {
            let byte = |bits: &[bool]| bits.iter().enumerate().fold(0, |byte, (i, &bit)| byte | u8::from(bit) << i);
            [b"\x05vorbis".to_vec(), self.0.chunks(8).map(byte).collect()].concat()
        }
    }

    fn book(writer: Writer, dimensions: u64, entries: u64, lookup: u64) -> Writer {
        let mut writer = writer.number(0x56_4342, 24).number(dimensions, 16).number(entries, 24).number(0, 2);
        for _ in 0..entries {
            writer = writer.number(3, 5);
        }
        writer = writer.number(lookup, 4);
        if lookup == 0 {
            return writer;
        }
        writer = writer.number(0, 64 / 2).number(0, 64 / 2).number(7, 4).number(0, 1);
        let values = if lookup == 1 { lattice_values(entries, dimensions).unwrap() } else { entries * dimensions };
        for _ in 0..values {
            writer = writer.number(9, 8);
        }
        writer
    }

    #[test]
    fn the_codebooks_are_walked_to_their_end() {
        let two = book(book(Writer(Vec::new()).number(1, 8), 2, 81, 1), 4, 16, 2).header();
        assert!(are_plausible(&two));
        assert_eq!(total_values(&mut Bits { bytes: &two[MARK..], position: 0 }), Some(2 * 81 + 4 * 16));
        for length in 0..two.len() {
            assert!(!are_plausible(&two[..length]), "{length}");
        }
        let lengths_only = book(Writer(Vec::new()).number(0, 8), 65_535, 400, 0).header();
        assert!(are_plausible(&lengths_only));
    }

    /// A dimension of 65535 makes 26 million floats of 400 entries.
    #[test]
    fn a_codebook_of_gigabytes_is_not_plausible() {
        let mut large = book(Writer(Vec::new()).number(0, 8), 2, 400, 1);
        for bit in 0..16 {
            large.0[8 + 24 + bit] = true;
        }
        assert!(!are_plausible(&large.header()));
    }

    #[test]
    fn lattices() {
        for (entries, dimensions, values) in [(81, 2, 9), (80, 2, 8), (625, 4, 5), (7, 1, 7), (0, 3, 0), (1, 9, 1)] {
            assert_eq!(lattice_values(entries, dimensions), Some(values), "{entries} of {dimensions}");
        }
        assert_eq!(lattice_values(5, 0), None);
    }
}
